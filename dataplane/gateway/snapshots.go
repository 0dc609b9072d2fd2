package gateway

import (
	"errors"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// maxSettled bounds the snapshots that one transaction settles.
const maxSettled = 32

// errMoved says that a snapshot's record is not what it was, and that this gateway still owns the volume.
var errMoved = errors.New("a snapshot was changed by somebody else")

// errOvertaken says that somebody else has changed the owner record, in this gateway's epoch.
var errOvertaken = errors.New("the owner record was changed for a group snapshot")

// settling is what a session does for the snapshots of its volume: one transaction after the other.
type settling struct {
	group grouping
	busy  atomic.Bool
	// Of the worker alone: pins that were taken and are not recorded yet, and the revisions of records that were
	// dealt with, for news of that may be late.
	pins  map[cluster.UUID]cluster.Seq
	done  map[cluster.UUID]int64
	later putOff // of a revert

	held chan struct{} // closed when the volume is quiet; nil: nobody waits for that. Guarded by session.mu
}

// followSnapshots tells every volume which of its snapshots are to be settled. g.mu is held.
func (g *Gateway) followSnapshots(was, s *cluster.State) (concerned []*session) {
	lists := make(map[cluster.VolumeKey][]cluster.SnapshotAt)
	for _, x := range s.Snapshots {
		if x.Unsettled() {
			lists[x.Key] = append(lists[x.Key], *x)
		}
	}
	sets := gatherSets(s)
	for _, x := range was.Snapshots { // of what has none now there were some before
		if v := g.mu.volumes[x.Key]; v != nil && lists[x.Key] == nil {
			v.asked.unsettled.Store(nil)
			v.asked.sets.Store(nil)
		}
	}
	for key, list := range lists {
		v := g.mu.volumes[key]
		if v == nil {
			continue
		}
		v.asked.unsettled.Store(&list)
		if together := sets[key]; together != nil {
			v.asked.sets.Store(&together)
		} else {
			v.asked.sets.Store(nil)
		}
		if ses := v.session.Load(); ses != nil {
			concerned = append(concerned, ses)
		}
	}
	return concerned
}

// settleSnapshots brings snapshots on their way to another state there, in the background.
func (s *session) settleSnapshots() {
	if s.v.asked.unsettled.Load() == nil || !s.serving.Load() || s.settling.busy.Swap(true) {
		return
	}
	go func() {
		for again := true; again; {
			list := s.v.asked.unsettled.Load()
			for list != nil && (s.settle(*list) || s.revert(*list)) {
			}
			s.settling.busy.Store(false)
			again = s.v.asked.unsettled.Load() != list && s.ctx.Err() == nil && !s.settling.busy.Swap(true)
		}
	}()
}

// settle does one transaction's worth of a list; false: there was nothing to do, or it is to be tried again
// when there is news.
func (s *session) settle(list []cluster.SnapshotAt) bool {
	s.forget(list)
	owner, _ := s.snapshot()
	room := cluster.MaxPins - len(owner.View.Pins)
	var with []cluster.SnapshotAt
	var add, remove []cluster.Seq
	for _, x := range list {
		if s.settling.done[x.UUID] >= x.Revision || len(with) == maxSettled {
			continue
		}
		switch {
		case x.State == cluster.SnapshotCreating && x.Set == nil && len(add) < room:
			x.State, x.Pin = cluster.SnapshotAvailable, s.pin(x.UUID)
			add = append(add, x.Pin)
		case x.State == cluster.SnapshotDeleting:
			s.unpin(x.UUID)
			remove = append(remove, x.Pin) // 0 of one that was never pinned
			x.State = cluster.SnapshotGone
		default:
			continue
		}
		with = append(with, x)
	}
	if len(with) == 0 {
		return false
	}
	err := s.store(func(o *cluster.Owner) { o.View = o.View.WithPins(add, remove) }, with...)
	switch {
	case errors.Is(err, errMoved):
		return false // its new record is on the way
	case err != nil:
		s.end("the owner record names another owner or is gone")
		return false
	}
	for _, x := range with {
		s.settling.done[x.UUID] = x.Revision
		delete(s.settling.pins, x.UUID)
	}
	return true
}

// forget drops what was remembered of snapshots that are not on the list any more.
func (s *session) forget(list []cluster.SnapshotAt) {
	listed := make(map[cluster.UUID]bool, len(list))
	for _, x := range list {
		listed[x.UUID] = true
	}
	for id := range s.settling.done {
		if !listed[id] {
			delete(s.settling.done, id)
		}
	}
	for id := range s.settling.pins {
		if !listed[id] {
			s.unpin(id)
		}
	}
}

// pin takes the pin of a snapshot, once.
func (s *session) pin(id cluster.UUID) cluster.Seq {
	w, ok := s.settling.pins[id]
	if !ok {
		s.withEngine(func(e *engine.Engine) { w = e.Pin() })
		s.settling.pins[id] = w
	}
	return w
}

// unpin gives a pin up that will not be recorded.
func (s *session) unpin(id cluster.UUID) {
	if w, ok := s.settling.pins[id]; ok {
		s.withEngine(func(e *engine.Engine) { e.Unpin(w) })
		delete(s.settling.pins, id)
	}
}

// withEngine does something with the engine, and then what the engine wants done.
func (s *session) withEngine(do func(*engine.Engine)) {
	rd := s.v.g.pools.ready.Get().(*engine.Ready)
	s.mu.Lock()
	do(s.eng)
	s.drain(rd)
	s.mu.Unlock()
	s.carryOut(rd)
}
