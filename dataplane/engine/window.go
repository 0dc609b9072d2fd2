package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// window tracks the counters of writes that are not complete. Invariant: base <= next; every counter below
// base is complete; done[c % len] tells it for base <= c < next.
type window struct {
	base, next uint64
	done       []bool // ring, length a power of two, at least next-base
}

// take gives out the next counter.
func (w *window) take() uint64 {
	if n := uint64(len(w.done)); w.next-w.base == n {
		grown := make([]bool, max(64, 2*n))
		for c := w.base; c < w.next; c++ {
			grown[c%uint64(len(grown))] = w.done[c%n]
		}
		w.done = grown
	}
	c := w.next
	w.next++
	w.done[c%uint64(len(w.done))] = false
	return c
}

// complete marks a counter and moves base over all that are complete.
func (w *window) complete(c uint64) {
	n := uint64(len(w.done))
	w.done[c%n] = true
	for w.base < w.next && w.done[w.base%n] {
		w.base++
	}
}

// stable is the mark that requests carry: every write of this epoch up to it is complete on all devices that
// count.
func (e *Engine) stable() cluster.Seq { return cluster.MakeSeq(e.cfg.Owner.Epoch, e.win.base-1) }

// sendStable brings the mark to devices that have seen no request since it moved: otherwise an idle volume
// would keep old versions for ever. Devices that writes were refused for are asked, too: nothing else might
// tell that they have space again.
func (e *Engine) sendStable() {
	s := e.stable()
	for _, d := range e.order {
		if d.state == devIn && (d.stableSent < s || d.short) && !d.stableBusy {
			d.stableBusy, d.short = true, false
			e.send(e.request(chunk.OpStable, d, control(e.stableDone)))
		}
	}
}

func (e *Engine) stableDone(d *device, r *chunk.Request) {
	d.stableBusy = false
	if r.Status == chunk.OK {
		d.stableSent = max(d.stableSent, r.Stable)
	} else if r.Status != chunk.Fenced {
		e.deviceFailed(d)
	}
}
