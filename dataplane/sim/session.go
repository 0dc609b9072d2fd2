package sim

import (
	"errors"
	"maps"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// again is the pause before another attempt at the arbiter or at voters.
const again = 100 * millisecond

// session is one period of ownership: the engine of one owner epoch.
type session struct {
	g         *gateway
	v         *volume
	epoch     uint32
	eng       *engine.Engine
	cleared   bool // no other gateway can be answering hosts any more
	ready     bool // the engine serves
	served    bool // recorded, or being recorded, in the owner record
	serving   bool // hosts are let in
	ended     bool
	reverting *reverting
	pinning   bool         // the view list is being changed: one at a time, for a list names all pins that count
	held      []*attempt   // answers that wait for the lease
	clearing  cluster.UUID // the cut that it clears
	lending   lending
	noting    bool // how far the cut is, is being recorded
	rec       struct {
		record
		changes []change
		busy    bool
	}
}

// change of the owner record, with what to do afterwards.
type change struct {
	apply func(*cluster.Owner)
	done  func(ok bool)
	asked int64 // when, by the gateway's clock
}

func newSession(g *gateway, vol int, r record) *session {
	s := &session{g: g, v: g.n.w.volumes[vol], epoch: r.Epoch}
	s.rec.record = r
	w := g.n.w
	for _, b := range r.Layout {
		g.know(b.Table)
	}
	awaited, doubted, patience := g.outlook()
	size := s.bounds()
	eng, err := engine.New(engine.Config{Vol: s.v.key, Owner: r.Owner.Clone(), Geometry: w.shape.geometry(),
		Code: w.shape.Code, Tables: w.tables(g.table), View: s.v.view, Parent: size.shows(s.v), Flattened: s.v.flat,
		Cut: s.cut(), Packer: s.v.packer(w.shape), MinColumns: w.shape.MinColumns, Near: g.near(), Awaited: awaited,
		Doubted: doubted, Patience: patience, Mutant: w.mutant})
	if err != nil {
		w.failf("gateway %d cannot open volume %v: %v", g.n.id, s.v.key, err)
	}
	s.eng = eng
	s.clears()
	w.engines = append(w.engines, eng)
	w.logf("gateway %d: opens volume %v under epoch %d", g.n.id, s.v.key, s.epoch)
	return s
}

// begin opens the volume: the engine fences the devices, this the voters.
func (s *session) begin(prev record) {
	s.fenceVoters(prev.Gateway, map[cluster.NodeID]int64{}, func(heard []int64) {
		s.awaitPredecessors(prev, heard)
	})
	s.tick()
}

// fenceVoters has a majority of voters store the fence, however long that takes, and tells when each of them
// had last heard of a gateway, on this one's clock and not too early. stored are those that have it already.
func (s *session) fenceVoters(about cluster.NodeID, stored map[cluster.NodeID]int64, done func([]int64)) {
	g := s.g
	need := len(g.n.w.voters())/2 + 1
	if g.n.w.mutant.Is(mutant.FenceOneVoter) {
		need = 1
	}
	for _, id := range g.n.w.voters() {
		if _, ok := stored[id]; ok {
			continue
		}
		g.fenceVoter(id, lease.Fence{Vol: s.v.key, Epoch: s.epoch}, about, func(f lease.Fenced) {
			_, known := stored[id]
			switch {
			case s.ended || known || len(stored) >= need:
			case f.Known > s.epoch:
				s.end("a voter knows a newer owner")
			default:
				stored[id] = g.n.local() - f.Silent
				if len(stored) == need {
					done(slices.Sorted(maps.Values(stored)))
				}
			}
		})
	}
	g.n.later(2*again, func() {
		if len(stored) < need && !s.ended {
			s.fenceVoters(about, stored, done)
		}
	})
}

func (g *gateway) fenceVoter(id cluster.NodeID, f lease.Fence, about cluster.NodeID,
	done func(lease.Fenced)) {
	w, v := g.n.w, g.n.w.node(id)
	w.message(g.n, v, func() {
		v.storeFence(f, about, func(answer lease.Fenced) {
			w.message(v, g.n, func() {
				if g.alive() {
					done(answer)
				}
			})
		})
	})
}

// awaitPredecessors clears the session when no earlier owner can be answering hosts any more. When the one
// before has served, all before that one had stopped: it is the only one to wait for.
func (s *session) awaitPredecessors(prev record, heard []int64) {
	sole := prev.Served == prev.Epoch
	wait := lease.Duration
	switch {
	case prev.Epoch == 0, // nobody ever answered for this volume
		sole && prev.Released,
		sole && prev.Gateway == s.g.n.id, // an earlier process or an ended session of this very node
		s.g.n.w.mutant.Is(mutant.ServeUncleared):
		wait = 0
	case sole:
		wait = lease.Clear(heard) - s.g.n.local()
	}
	s.g.n.later(max(wait, 0), s.clear)
	if sole && wait > 0 {
		s.probe(s.g.n.w.node(prev.Gateway))
	}
}

// probe asks the former owner's node whether its process has ended or gives the volume up.
func (s *session) probe(former *node) {
	if s.cleared || s.ended {
		return
	}
	w, g := s.g.n.w, s.g
	if w.reach(g.n, former) && former.powered && !former.up {
		w.message(former, g.n, func() {
			if g.alive() {
				s.clear()
			}
		})
	}
	w.message(g.n, former, func() {
		if o := former.gw; o != nil {
			for _, x := range o.sessions {
				if x != nil && x.v == s.v && x.epoch < s.epoch {
					x.end("asked to yield")
				}
			}
		}
		w.message(former, g.n, func() {
			if g.alive() {
				s.clear()
			}
		})
	})
	g.n.later(again*5, func() { s.probe(former) })
}

func (s *session) clear() {
	s.cleared = true
	s.serve()
}

// serve lets hosts in once the engine is ready, no other gateway can be answering, and the owner record says
// so.
func (s *session) serve() {
	if !s.ready || !s.cleared || s.served || s.ended {
		return
	}
	s.served = true
	s.serving = s.g.n.w.mutant.Is(mutant.ServeUnrecorded)
	s.store(func(o *cluster.Owner) { o.Served = s.epoch }, func(ok bool) {
		if !ok {
			s.end("the owner record names another owner")
			return
		}
		s.serving = true
		s.eng.Served()
		s.g.n.w.logf("gateway %d: serves volume %v under epoch %d", s.g.n.id, s.v.key, s.epoch)
	})
}

// store changes the owner record of this session, however long the arbiter is away. Not ok: somebody else
// owns the volume.
func (s *session) store(apply func(*cluster.Owner), done func(ok bool)) {
	s.rec.changes = append(s.rec.changes, change{apply, done, s.g.n.local()})
	for _, v := range s.g.holder.Voters() {
		s.g.renewOnce(v)
	}
	s.storeNext()
}

func (s *session) storeNext() {
	if s.rec.busy || len(s.rec.changes) == 0 || s.ended {
		return
	}
	s.rec.busy = true
	x := s.rec.changes[0]
	next := s.rec.Owner.Clone()
	x.apply(&next)
	end := func(ok bool, r record) {
		s.rec.busy = false
		if s.ended {
			return
		}
		s.rec.changes = s.rec.changes[1:]
		if ok {
			s.rec.record = r
			s.settleLent()
		}
		x.done(ok)
		s.storeNext()
	}
	retry := func() {
		s.g.n.later(again, func() {
			s.rec.busy = false
			s.storeNext()
		})
	}
	if next.Journal.Version != s.rec.Journal.Version && !s.g.confirmed(x.asked) {
		retry()
		return
	}
	s.g.swap(s.v.index, s.rec.revision, next, func(r record, err error) {
		switch {
		case err == nil:
			end(true, r)
		case !errors.Is(err, cluster.ErrConflict):
			retry()
		default: // perhaps our own earlier attempt, whose answer was lost: the record tells
			s.g.owner(s.v.index, func(r record, err error) {
				if err == nil && (r.Gateway != s.g.n.id || r.Epoch != s.epoch || r.Released) {
					end(false, r)
					return
				}
				if err == nil {
					s.rec.revision = r.revision
				}
				retry()
			})
		}
	})
}

// submit hands a host's operation to the engine.
func (s *session) submit(a *attempt) {
	last := a.h.lba + uint64(a.h.sectors)
	a.beyond = !s.bounds().lets(a.h.kind, last)
	switch {
	case a.h.kind != engine.Read && last > s.bounds().sectors: // it was there when the command came
		a.refuse()
		return
	case a.outdated():
		a.op.Status = engine.PathGone
		a.answer()
		return
	}
	s.eng.Submit(&a.op)
	s.carryOut()
}

func (s *session) chunkDone(r *chunk.Request) {
	if s.g.n.w.tracing {
		s.g.n.w.logf("gateway %d: %s", s.g.n.id, requestText(r))
	}
	if r.Status != chunk.OK && r.Status != chunk.Full && r.Status != chunk.Fenced {
		s.g.n.w.devices[r.Device].missed = true
	}
	s.eng.ChunkDone(r)
	s.carryOut()
}

func (s *session) tick() {
	s.compare()
	s.flatten()
	s.clearSome()
	s.recallLent()
	quiet := s.eng.Quiet()
	s.eng.Tick()
	if s.carryOut(); quiet && !s.eng.Quiet() {
		s.g.n.w.failf("a tick made the quiet engine of volume %v do something", s.v.key)
	}
	s.releaseHeld()
}

// carryOut does what the engine wants done.
func (s *session) carryOut() {
	var rd engine.Ready
	s.eng.Drain(&rd)
	for _, r := range rd.Sends {
		s.g.submit(s, r)
	}
	for _, op := range rd.Done {
		switch t := op.Tag.(type) {
		case *attempt:
			s.finish(t)
		case *loan:
			t.done(op.Status, op.Data)
		}
	}
	for _, r := range rd.Parent {
		s.inherit(r)
	}
	if next := rd.Record; next != nil {
		s.store(func(o *cluster.Owner) { o.Journal, o.Layout = next.Journal, next.Layout }, func(ok bool) {
			s.eng.Recorded(ok)
			s.carryOut()
		})
	}
	if rd.Held && s.reverting != nil && s.reverting.now == 0 {
		s.quiet()
	}
	if rd.Serving && !s.ready {
		s.ready = true
		s.serve()
	}
	if rd.Fenced {
		s.end("a device or the owner record knows a newer owner")
	} else if rd.Exhausted {
		s.end("the sequence numbers of this owner epoch run out")
	}
}

// finish answers a host if the lease allows it, else keeps the answer back.
func (s *session) finish(a *attempt) {
	switch {
	case a.op.Status == engine.PathGone || !s.ended && s.g.leased():
		a.answer()
	case s.ended:
		a.op.Status = engine.PathGone
		a.answer()
	default:
		s.held = append(s.held, a)
	}
}

// releaseHeld answers what was kept back: as it is while the lease is valid, with a path error once the
// session is over.
func (s *session) releaseHeld() {
	if !s.ended && !s.g.leased() {
		return
	}
	held := s.held
	s.held = nil
	for _, a := range held {
		s.finish(a)
	}
}

// end stops the session for good.
func (s *session) end(why string) {
	if s.ended {
		return
	}
	s.g.n.w.logf("gateway %d: epoch %d of volume %v is over: %s", s.g.n.id, s.epoch, s.v.key, why)
	s.ended, s.serving = true, false
	s.g.sessions[s.v.index] = nil
	s.eng.Stop()
	s.carryOut()
	s.releaseHeld()
}

// release hands the volume over to another gateway: when all that was under way has ended, the record says
// that the next owner need not wait for the lease.
func (s *session) release(successor cluster.NodeID) {
	if !s.serving {
		return
	}
	owner, revision := s.rec.Owner.Clone(), s.rec.revision
	busy := s.rec.busy
	if !s.g.n.w.mutant.Is(mutant.ReleaseServing) {
		s.end("handed over")
	}
	owner.Released, owner.Gateway = true, successor
	s.whenIdle(50, func() {
		if !busy {
			s.g.swap(s.v.index, revision, owner, func(record, error) {})
		}
	})
}

// whenIdle waits until the engine has nothing under way, for at most so many looks.
func (s *session) whenIdle(looks int, do func()) {
	switch {
	case s.eng.Idle():
		do()
	case looks > 0:
		s.g.n.later(5*millisecond, func() { s.whenIdle(looks-1, do) })
	}
}
