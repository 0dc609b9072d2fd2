package sim

import (
	"encoding/binary"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// Volumes become smaller and larger: this is what the manager does of it, and what a gateway does. In
// production hosts have to let go of a volume before; here they go on, at gateways that have heard of the cut
// and at others, for what a host sent may be held up anywhere.
//
// Once the record has no cut any more the rest is zeroes, and nothing that was under way comes after that.
// Before that every owner that clears counts as one more write of zeroes, for it begins where its predecessor
// had recorded. Who looks and finds nothing has read zeroes at the moment when the volume becomes smaller;
// who finds something has done nothing.

// bounds is what the record of a volume says of its size.
type bounds struct {
	sectors uint64     // that hosts see
	parent  uint64     // blocks of its parent that show, at most
	cut     engine.Cut // To 0: none
}

// shows is how many blocks of its parent a volume shows.
func (b *bounds) shows(v *volume) uint64 { return min(b.parent, v.inherits()) }

// lets tells whether hosts may change, or read, up to a sector.
func (b *bounds) lets(k engine.Kind, sector uint64) bool {
	return sector <= b.sectors && (k == engine.Read || b.cut.To == 0 || sector <= b.cut.From*sectorsPerBlock)
}

// resize makes a volume larger, or asks for a smaller one.
func (w *World) resize(f Fault) bool {
	v := w.volumes[f.A%uint64(len(w.volumes))]
	b := &v.bounds
	if w.now < w.etcd.downUntil || b.cut.To != 0 {
		return false
	}
	blocks := b.sectors / sectorsPerBlock
	if b.sectors < v.sectors && (f.B%2 == 0 || blocks == 1) {
		w.grow(v, f.C)
		return true
	}
	pinned := slices.ContainsFunc(v.taken, func(p *pin) bool { return w.shows(v, p) })
	if blocks == 1 || pinned || w.now < v.joins || len(v.view.Pins) > 0 {
		return false
	}
	w.etcd.revision++
	b.cut = engine.Cut{From: 1 + f.C%(blocks-1), To: blocks}
	b.cut.Look = f.B%3 > 0 && b.cut.From >= b.shows(v)
	binary.BigEndian.PutUint64(b.cut.ID[:], uint64(w.etcd.revision))
	w.logf("volume %d is to be cut from %d to %d blocks, if there is nothing: %v", v.index, blocks, b.cut.From,
		b.cut.Look)
	if !b.cut.Look {
		b.shrink()
	}
	w.advance(v, b.cut.ID)
	return true
}

func (w *World) grow(v *volume, by uint64) {
	v.bounds.sectors += (1 + by%((v.sectors-v.bounds.sectors)/sectorsPerBlock)) * sectorsPerBlock
	w.logf("volume %d grows to %d blocks", v.index, v.bounds.sectors/sectorsPerBlock)
}

// shrink notes that it is decided.
func (b *bounds) shrink() {
	b.sectors, b.cut.Look = b.cut.From*sectorsPerBlock, false
	b.parent = min(b.parent, b.cut.From)
}

// advance draws the conclusions from what owners have recorded of a cut, whoever looks next. Every other time
// somebody has waited for the end, and wants the volume larger again.
func (w *World) advance(v *volume, id cluster.UUID) {
	b := &v.bounds
	w.after(w.between(10*millisecond, [...]int64{20, 100, 800}[w.rng.IntN(3)]*millisecond), func() {
		done := w.etcd.records[v.index].Cleared
		from, to := int(b.cut.From*sectorsPerBlock), int(b.cut.To*sectorsPerBlock)
		switch {
		case w.now < w.etcd.downUntil, done.Cut != id, done.Look != b.cut.Look:
		case b.cut.Look && done.End:
			w.logf("there is nothing in volume %d from block %d on", v.index, b.cut.From)
			if err := v.hist.Read(from, to).Done(make([]uint64, to-from)); err != nil {
				w.failf("volume %d is cut though it holds something: %v", v.index, err)
			}
			b.shrink()
		case b.cut.Look && (done.Found || w.rng.IntN(8) == 0): // or given up
			w.logf("volume %d is not cut, found something: %v", v.index, done.Found)
			b.cut = engine.Cut{}
			return
		case done.End:
			w.logf("volume %d is cut", v.index)
			for _, x := range v.clears {
				x.Expire()
			}
			v.clears = nil
			v.hist.Cut(from, to)
			w.stats.Cuts++
			if b.cut = (engine.Cut{}); w.rng.IntN(2) == 0 {
				w.grow(v, w.rng.Uint64())
			}
			return
		}
		w.advance(v, id)
	})
}

// learnBounds hears of the record of a volume, which is as of the same moment as that of its owner.
func (g *gateway) learnBounds(vol int) {
	was, is := g.bounds[vol], g.n.w.volumes[vol].bounds
	if was == is {
		return
	}
	if is.sectors < was.sectors || is.cut.To > 0 && is.cut.ID != was.cut.ID {
		g.shrinks[vol]++
	}
	g.bounds[vol] = is
	if s := g.sessions[vol]; s != nil {
		s.followBounds()
		s.carryOut()
	}
}

// followBounds tells the engine what shows of the parent and what is cut off.
func (s *session) followBounds() {
	s.eng.SetParent(s.bounds().shows(s.v))
	s.eng.SetCut(s.cut())
	s.clears()
}

func (s *session) bounds() *bounds { return &s.g.bounds[s.v.index] }

// cut is what the engine is to cut off, from where it was recorded that it is done.
func (s *session) cut() engine.Cut {
	c := s.bounds().cut
	if done := &s.rec.Cleared; c.To > 0 && done.Cut == c.ID && done.Look == c.Look {
		c.Done = done.Until / cluster.BlockSize
	}
	return c
}

// clears notes that this owner begins to clear.
func (s *session) clears() {
	if c := s.eng.Cut(); c.To > 0 && !c.Look && s.clearing != c.ID {
		s.clearing = c.ID
		s.v.clears = append(s.v.clears, s.v.hist.Zero(int(c.From*sectorsPerBlock), int(c.To*sectorsPerBlock)))
	}
}

// clearSome lets the cut of a volume go on, and has it recorded how far it is, now and then.
func (s *session) clearSome() {
	w := s.g.n.w
	c := s.eng.Cut()
	if c.To == 0 || !s.serving {
		return
	}
	s.eng.AllowCut(w.rng.IntN(2) * w.rng.IntN(64))
	st := s.eng.CutState()
	is := cluster.Cleared{Cut: c.ID, Look: c.Look, Until: st.Until * cluster.BlockSize, Found: st.Found,
		End: st.End}
	if is == s.rec.Cleared || s.noting || !st.End && !st.Found && w.rng.IntN(4) > 0 {
		return
	}
	s.noting = true
	s.store(func(o *cluster.Owner) { o.Cleared = is }, func(ok bool) {
		if s.noting = false; !ok {
			s.end("the owner record names another owner")
		}
	})
}

// arrive takes a command of a host in, which may be held up before the engine gets it.
func (s *session) arrive(a *attempt) {
	g, vol := s.g, s.v.index
	a.shrinks = g.shrinks[vol]
	if a.beyond = !s.bounds().lets(engine.Read, a.h.lba+uint64(a.h.sectors)); a.beyond {
		a.refuse()
		return
	}
	if !g.n.w.plan.Resizes || g.n.w.rng.IntN(8) > 0 {
		s.submit(a)
		return
	}
	g.n.later(g.n.w.between(0, 2*second), func() { s.submit(a) })
}

// outdated tells whether a command came before the last shrink, and would change something.
func (a *attempt) outdated() bool {
	return a.h.kind != engine.Read && a.shrinks != a.s.g.shrinks[a.h.v.index] &&
		!a.h.w.mutant.Is(mutant.LateUnmarked)
}

// refuse answers a command that is out of range.
func (a *attempt) refuse() {
	a.op.Status = engine.OutOfRange
	a.s.finish(a)
}
