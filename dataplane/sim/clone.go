package sim

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
)

// lendLimit is how long the owner of a clone waits for what it asks another node for.
const lendLimit = 500 * millisecond

// firstVUID is that of the first volume.
const firstVUID = 7

// origin is what a volume is a clone of.
type origin struct {
	of     *volume
	pin    *pin
	blocks uint64 // that show
	// flatten: the clone is being made independent of it.
	flatten bool
}

// inherits is how many blocks of a parent a volume shows at first.
func (v *volume) inherits() uint64 {
	if v.origin == nil {
		return 0
	}
	return v.origin.blocks
}

// sectors is how many sectors show.
func (o *origin) sectors() int { return int(o.blocks * sectorsPerBlock) }

// bear makes a clone of the last volume, as it is now that all is well, and lets hosts work on it. What it
// begins as a host has read: from then on its history is one of its own.
func (w *World) bear() {
	of := w.volumes[len(w.volumes)-1]
	p := w.basePin(of)
	blocks := of.bounds.sectors / sectorsPerBlock
	v := w.addVolume()
	v.origin = &origin{of: of, pin: p, blocks: 1 + w.load.Uint64N(blocks)}
	v.view = v.view.OfClone()
	v.packed = v.packed && w.load.IntN(4) > 0
	begins, err := stamps(w.readAll(of, p), of, 0)
	if err != nil {
		w.failf("the pin of a clone: %v", err)
	}
	for i := range begins {
		if begins[i] = v.inherited(of, begins[i]); i >= v.origin.sectors() {
			begins[i] = 0
		}
	}
	if err := v.hist.Restore(begins).Done(nil); err != nil {
		w.failf("the beginning of a clone: %v", err)
	}
	w.logf("volume %d is a clone of volume %d as of %v, %d blocks", v.index, of.index, p.w, v.origin.blocks)
	if w.plan.Flatten {
		w.after(w.load.between(0, w.plan.Length/2), func() { v.origin.flatten = true })
	}
	for i := range w.plan.Hosts {
		w.startHost(v, w.plan.Readers && i%2 == 0)
	}
}

// basePin takes a pin of a volume at rest that is kept, and waits until it is recorded.
func (w *World) basePin(v *volume) (p *pin) {
	var s *session
	w.until(v, func() error {
		if p != nil && s.ended && !slices.Contains(v.pins, p) { // never recorded
			p.kept, p = false, nil
		}
		if p == nil {
			if s = w.session(v); s == nil || s.pinning {
				return fmt.Errorf("nobody takes a pin of it%s", w.stateText(v))
			}
			s.pinning = true
			p = &pin{w: s.eng.Pin(), at: v.hist.Pin(), kept: true, base: true}
			v.taken = append(v.taken, p)
			s.carryOut()
			s.pinned(p)
		}
		if !slices.Contains(v.pins, p) {
			return fmt.Errorf("pin %v is not recorded", p.w)
		}
		return nil
	})
	return p
}

// addVolume makes one more volume, which all nodes know of.
func (w *World) addVolume() *volume {
	i := len(w.volumes)
	v := &volume{index: i, packed: w.shape.Packed,
		key:     cluster.VolumeKey{VUID: uint32(firstVUID + i), Generation: 1},
		sectors: w.shape.Pages * w.shape.geometry().PageBlocks() * sectorsPerBlock}
	v.bounds = bounds{sectors: v.sectors, parent: v.sectors / sectorsPerBlock}
	v.hist, v.home = history.New(int(v.sectors)), w.homeOf(v)
	w.volumes = append(w.volumes, v)
	w.etcd.revision++
	owner := cluster.Owner{Gateway: w.nodes[i%w.shape.Gateways].id}
	w.etcd.records = append(w.etcd.records, record{owner, w.etcd.revision})
	for _, n := range w.nodes {
		if n.gw != nil {
			n.gw.makeRoom()
		}
	}
	return v
}

// loan is a read as of a pin for a clone.
type loan struct {
	op   engine.Op
	done func(engine.Status, []byte)
}

// lend reads blocks as of a pin for a clone, into the buffer that done gets.
func (s *session) lend(p cluster.Seq, block uint64, data []byte, done func(engine.Status, []byte)) {
	if !s.eng.Pinned(p) {
		done(engine.PathGone, nil)
		return
	}
	l := &loan{done: done}
	l.op = engine.Op{Kind: engine.Read, LBA: block * sectorsPerBlock, AsOf: p, Data: data, Tag: l,
		Sectors: uint32(len(data) / cluster.LBASize)}
	s.eng.Submit(&l.op)
	s.carryOut()
}

// inherit asks the owner of the first ancestor that may hold what a clone shows: an engine of the same
// process, or another node, which nobody waits for any longer than it should need.
func (s *session) inherit(r *engine.ParentRead) {
	o := s.v.origin
	page := r.Block / s.g.n.w.shape.geometry().PageBlocks()
	b := &borrowing{s: s, r: r, page: page}
	b.at = s.g.levels[s.v.index].First(page, o.ancestor())
	b.ask()
}

// ancestor is what a clone is one of.
func (o *origin) ancestor() engine.Ancestor { return engine.Ancestor{Vol: o.of.key, Pin: o.pin.w} }

// borrowing is a read for a clone that is under way.
type borrowing struct {
	s    *session
	r    *engine.ParentRead
	page uint64
	at   engine.Ancestor
}

func (b *borrowing) ask() {
	g := b.s.g
	for {
		v := g.n.w.volumes[b.at.Vol.VUID-firstVUID]
		x, known := g.serving(v.index), g.known[v.index]
		switch {
		case x != nil && x.passes(b.at.Pin, b.r.Block, len(b.r.Data)):
			b.pass(v)
			continue
		case x != nil:
			x.lend(b.at.Pin, b.r.Block, b.r.Data, func(st engine.Status, _ []byte) { b.end(st, nil) })
		case known.revision == 0 || known.Gateway == g.n.id:
			b.end(engine.PathGone, nil)
		default:
			b.askThere(v, g.n.w.node(known.Gateway))
		}
		return
	}
}

// askThere asks another node, and takes its answer unless that comes too late.
func (b *borrowing) askThere(v *volume, owner *node) {
	n, w := b.s.g.n, b.s.g.n.w
	at, block, size, over := b.at, b.r.Block, len(b.r.Data), false
	once := func(do func()) {
		if !over && b.s.g.alive() {
			over = true
			do()
		}
	}
	n.later(lendLimit, func() { once(func() { b.end(engine.PathGone, nil) }) })
	w.message(n, owner, func() {
		answer := func(st engine.Status, data []byte) {
			w.message(owner, n, func() { once(func() { b.end(st, data) }) })
		}
		switch x := owner.gw.lender(v); {
		case x == nil:
			answer(engine.PathGone, nil)
		case x.passes(at.Pin, block, size):
			w.message(owner, n, func() { once(func() { b.pass(v); b.ask() }) })
		default:
			x.lend(at.Pin, block, make([]byte, size), answer)
		}
	})
}

// lender is the session of a volume, if it is served here.
func (g *gateway) lender(v *volume) *session {
	if g == nil {
		return nil
	}
	return g.serving(v.index)
}

// passes reports that the volume, a clone, holds nothing where another clone reads.
func (s *session) passes(p cluster.Seq, block uint64, size int) bool {
	return s.v.origin != nil && s.eng.Pinned(p) && s.eng.Passes(block, uint64(size/cluster.BlockSize))
}

func (b *borrowing) pass(by *volume) {
	b.at = by.origin.ancestor()
	b.s.g.levels[b.s.v.index].Pass(b.page, b.at)
}

func (b *borrowing) end(st engine.Status, data []byte) {
	if !b.s.g.alive() {
		return
	}
	if st == engine.PathGone {
		b.s.g.levels[b.s.v.index].Forget(b.page)
	}
	copy(b.r.Data, data)
	b.s.eng.ParentDone(b.r, st)
	b.s.carryOut()
}

const (
	flattenEvery  = 16 // rows that an owner may copy per tick
	flattenRecord = 24 // rows that may have to be looked at again by the next owner
)

// flatten goes on with a flatten, if there is one, records how far it is, and lets the parent go when nobody
// needs it: other owners hear of that at their next tick, as they would of a changed record.
func (s *session) flatten() {
	o := s.v.origin
	if o == nil || !o.flatten {
		return
	}
	if s.eng.SetParent(s.bounds().shows(s.v)); o.blocks == 0 {
		return
	}
	s.eng.Flatten(flattenEvery)
	f, version := s.eng.Flattened()
	known := f.Rows < s.v.flat.Rows+flattenRecord && f.At == s.v.flat.At
	if known && f.At == 0 || !s.serving {
		return
	}
	w := s.g.n.w
	s.g.ask(func() (record, error) {
		r := w.etcd.records[s.v.index]
		if r.Epoch != s.epoch {
			return record{}, cluster.ErrConflict
		}
		if s.v.view.Version == version {
			s.v.flat = f
		}
		r.View, r.Flattened = s.v.view, s.v.flat
		if r.Independent() && o.blocks > 0 {
			w.logf("volume %d needs its parent no more", s.v.index)
			o.blocks, o.pin.base = 0, false
		}
		return r, nil
	}, func(record, error) {})
}
