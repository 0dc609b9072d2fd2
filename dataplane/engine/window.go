package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// window tracks the counters of row writes that are not complete. Invariant: base <= next; every counter
// below base is complete; done[c % len] tells it for base <= c < next.
type window struct {
	base, next uint64
	cap        uint64        // first pin that not all devices know, which the mark may not pass; 0: none
	pinned     []cluster.Seq // pins that the view list does not name yet
	served     bool          // the owner record says that this owner serves
	done       []bool        // ring, length a power of two, at least next-base
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

// mark is the highest complete counter up to which at most chunk.MaxHoles are not complete, and these.
func (w *window) mark(epoch uint32) (mark uint64, holes []cluster.Seq) {
	mark = w.base - 1
	for c := w.base; c < w.next; c++ {
		if w.done[c%uint64(len(w.done))] {
			mark = c
			continue
		}
		if len(holes) == chunk.MaxHoles {
			break
		}
		holes = append(holes, cluster.MakeSeq(epoch, c))
	}
	for n := len(holes); n > 0 && holes[n-1].Counter() > mark; n-- {
		holes = holes[:n-1]
	}
	return mark, holes
}

// seq is the sequence number of a counter of this epoch.
func (e *Engine) seq(c uint64) cluster.Seq { return cluster.MakeSeq(e.cfg.Owner.Epoch, c) }

// stable is the mark that every request carries: every write of this epoch up to it is complete.
func (e *Engine) stable() cluster.Seq {
	if e.cfg.Mutant.Is(mutant.StableEarly) {
		return e.seq(e.win.next - 1)
	}
	return e.capped(e.win.base - 1)
}

// Served says that the owner record names this owner as one that has served. Until then its marks stay here:
// a device forgets the mark of an owner before for the first one of a newer, and an open that does not count
// this owner may need the older one.
func (e *Engine) Served() { e.win.served = true }

// capped holds a mark back until the owner has served, and while a pin is not known to all devices.
func (e *Engine) capped(mark uint64) cluster.Seq {
	if !e.win.served {
		return e.seq(0)
	}
	if e.win.cap != 0 && !e.cfg.Mutant.Is(mutant.PinUnprotected) {
		mark = min(mark, e.win.cap)
	}
	return e.seq(mark)
}

// sendStable brings the mark, with its holes, to devices that do not know it: otherwise an idle volume would
// keep old versions for ever, and so would one with a single row that cannot be completed.
func (e *Engine) sendStable() {
	mark, holes := e.lasting()
	for _, d := range e.order {
		if d.state != devUp || d.mark.busy || d.viewed < e.cfg.View.Version {
			continue
		}
		if !d.lacks(mark, holes) {
			continue
		}
		d.mark.busy = true
		r := e.request(chunk.OpStable, d, control(e.stableDone))
		r.W, r.Holes = mark, holes
		e.send(r)
	}
}

// lasting is the mark that devices may know now, with its holes.
func (e *Engine) lasting() (mark cluster.Seq, holes []cluster.Seq) {
	counter, holes := e.win.mark(e.cfg.Owner.Epoch)
	mark = e.capped(counter)
	for n := len(holes); n > 0 && holes[n-1] > mark; n-- {
		holes = holes[:n-1]
	}
	return mark, holes
}

// lacks reports that a mark is news to the device.
func (d *device) lacks(mark cluster.Seq, holes []cluster.Seq) bool {
	return mark > d.mark.sent || len(holes) == 0 && d.mark.holes
}

func (e *Engine) stableDone(d *device, r *chunk.Request) {
	d.mark.busy = false
	if !e.lost(d, r) {
		d.mark.sent, d.mark.holes = max(d.mark.sent, r.W), len(r.Holes) > 0
	}
}
