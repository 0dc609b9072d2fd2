package sim

import (
	"errors"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
)

// holdLimit is how long hosts are kept waiting for a volume to be quiet; then the revert is given up.
const holdLimit = second

// reverting is a revert under way.
type reverting struct {
	pin    *pin
	op     *history.Op
	now    cluster.Seq // 0 until nothing is under way
	stored bool        // the arbiter has it
}

// revert makes a volume what it was at a pin. What that is, a host reads first.
func (w *World) revert(f Fault) bool {
	v := w.volumes[f.A%uint64(len(w.volumes))]
	if len(v.pins) == 0 || v.bounds.cut.To > 0 {
		return false
	}
	p := v.pins[f.B%uint64(len(v.pins))]
	for _, n := range w.nodes {
		if n.gw == nil || w.now < n.thaw || n.gw.serving(v.index) == nil || n.gw.serving(v.index).busy() {
			continue
		}
		s := n.gw.serving(v.index)
		s.pinning = true
		h := &hostOp{w: w, v: v, kind: engine.Read, sectors: uint32(v.bounds.sectors), pin: p}
		was := make([]uint64, v.sectors)
		read := false
		h.seen = func(data []byte) {
			found, _ := stamps(data, v, 0)
			copy(was, found)
			read = found != nil
		}
		h.begin(func(bool) {
			s.g.n.at(s.g.n.life, func() {
				if s.pinning = false; read && p.kept && s.serving && !s.ended && s.g.alive() {
					s.revert(p, was)
				}
			})
		})
		return true
	}
	return false
}

// revert begins a revert to a pin, of which it is known what it shows.
func (s *session) revert(p *pin, was []uint64) {
	w := s.g.n.w
	r := &reverting{pin: p, op: s.v.hist.Restore(was)}
	s.reverting, s.pinning = r, true
	w.logf("gateway %d: reverts volume %d to pin %v", s.g.n.id, s.v.index, p.w)
	s.eng.Hold()
	s.g.n.later(holdLimit, func() {
		if s.reverting == r && r.now == 0 && !s.ended {
			s.endRevert()
			s.eng.Resume()
			s.carryOut()
		}
	})
	s.carryOut()
}

// busy tells whether its view list is being changed, or may be any moment.
func (s *session) busy() bool { return s.pinning || s.lending.round != nil || len(s.lending.lent) > 0 }

// endRevert ends one that has not been recorded, and will not be.
func (s *session) endRevert() {
	if r := s.reverting; r != nil && !r.stored {
		r.op.Expire()
	}
	s.reverting, s.pinning = nil, false
}

// quiet records a revert: nothing is under way.
func (s *session) quiet() {
	r := s.reverting
	r.now = s.eng.Pin()
	s.storeRevert(r, s.v.view.Reverted(r.pin.w, r.now))
}

// storeRevert records the view list of a revert. Without an answer it is tried again: it may have been
// stored.
func (s *session) storeRevert(r *reverting, view chunk.View) {
	w := s.g.n.w
	s.g.ask(func() (record, error) {
		now := w.etcd.records[s.v.index]
		if now.Epoch != s.epoch {
			return record{}, cluster.ErrConflict
		}
		if !r.stored { // an earlier try may be late: the record has a newer revision then
			s.v.view, s.v.flat, r.stored = view, cluster.Flattened{}, true
		}
		return now, nil
	}, func(_ record, err error) {
		switch {
		case s.ended:
		case errors.Is(err, cluster.ErrConflict):
			s.endRevert()
		case err != nil:
			s.g.n.later(again, func() { s.storeRevert(r, view) })
		default:
			w.logf("gateway %d: volume %d is reverted", s.g.n.id, s.v.index)
			_ = r.op.Done(nil) // of a write it says nothing
			s.endRevert()
			s.eng.SetView(view)
			s.carryOut()
		}
	})
}
