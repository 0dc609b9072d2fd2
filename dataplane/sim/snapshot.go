package sim

import (
	"errors"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
)

// maxPins bounds the pins of a volume.
const maxPins = 4

// pin is a snapshot of a volume. What it shows is the volume at the moment when it was taken.
type pin struct {
	w    cluster.Seq
	at   *history.Op
	kept bool
	base bool // of a clone: it is never given up
}

// pinned tells whether a pin was taken between two versions. It might see a tombstone that is between them,
// too.
func (v *volume) pinned(old, now cluster.Seq) bool {
	return slices.ContainsFunc(v.taken, func(p *pin) bool { return old < p.w && p.w < now })
}

// shows tells whether hosts read as of a pin, or will once it is recorded: only the owner that took it may
// record it.
func (w *World) shows(v *volume, p *pin) bool {
	return p.kept && (p.w.Epoch() == w.etcd.records[v.index].Epoch || slices.Contains(v.pins, p))
}

// snapshot takes a pin, or gives one up when there are many.
func (w *World) snapshot(f Fault) bool {
	v := w.volumes[f.A%uint64(len(w.volumes))]
	if v.bounds.cut.To > 0 {
		return false
	}
	for _, n := range w.nodes {
		if n.gw == nil || w.now < n.thaw || n.gw.serving(v.index) == nil || n.gw.serving(v.index).pinning {
			continue
		}
		s := n.gw.serving(v.index)
		s.pinning = true
		if loose := v.loosePins(); len(loose) >= maxPins || len(loose) > 0 && f.B%4 == 0 {
			p := loose[f.C%uint64(len(loose))]
			v.pins = slices.DeleteFunc(v.pins, func(x *pin) bool { return x == p })
			p.kept = false
			p.at.Abandon()
			s.pinned(p)
			return true
		}
		p := &pin{w: s.eng.Pin(), at: v.hist.Pin(), kept: true}
		v.taken = append(v.taken, p)
		w.logf("pin %v of volume %d", p.w, v.index)
		s.carryOut()
		s.pinned(p)
		return true
	}
	return false
}

// loosePins are those that may be given up.
func (v *volume) loosePins() []*pin {
	return slices.DeleteFunc(slices.Clone(v.pins), func(p *pin) bool { return p.base })
}

// pinned brings the view list of a volume to what a pin says, if this session still owns the volume: who
// owns it next begins with that list. Without an answer it is tried again.
func (s *session) pinned(p *pin) {
	w := s.g.n.w
	s.g.ask(func() (record, error) {
		r := w.etcd.records[s.v.index]
		if r.Epoch != s.epoch {
			return record{}, cluster.ErrConflict
		}
		if has := slices.Contains(s.v.view.Pins, p.w); has != p.kept {
			s.v.setPin(p)
		}
		return r, nil
	}, func(_ record, err error) {
		switch {
		case s.ended, errors.Is(err, cluster.ErrConflict):
		case err != nil:
			s.g.n.later(again, func() { s.pinned(p) })
		default:
			s.pinning = false
			s.eng.SetView(s.v.view)
			s.carryOut()
		}
	})
}

// setPin records a pin, or that there is none any more.
func (v *volume) setPin(p *pin) {
	view := v.view
	view.Version++
	if p.kept {
		view.Pins = append(slices.Clone(view.Pins), p.w)
		slices.Sort(view.Pins)
		v.pins = append(v.pins, p)
	} else {
		view.Pins = slices.DeleteFunc(slices.Clone(view.Pins), func(x cluster.Seq) bool { return x == p.w })
	}
	v.view = view
}
