package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// A snapshot is a pin: a sequence number. Devices free an old version once a newer one is stable, unless the
// view list says that a pin sees it; so from the pin on the stable mark is held back until every device that
// serves has the list that names it. Devices that come back get the list before anything else. Nobody has to
// name the list in each request, and no write waits.

// Pin takes the next sequence number as a pin: reads as of it see every write completed before, and none that
// begins after. The caller puts it into a view list and calls SetView; until then nothing that the pin may
// see is freed.
func (e *Engine) Pin() cluster.Seq {
	w := e.freshSeq()
	if e.win.cap == 0 {
		e.win.cap = w.Counter()
	}
	e.win.pinned = append(e.win.pinned, w)
	return w
}

// Unpin gives a pin up that no view list names, and none will.
func (e *Engine) Unpin(w cluster.Seq) {
	e.win.pinned = slices.DeleteFunc(e.win.pinned, func(x cluster.Seq) bool { return x == w })
	e.spreadView()
}

// pins are all that have to be kept, oldest first: of the view list, and those that it does not name yet.
func (e *Engine) pins() []cluster.Seq {
	if e.cfg.Mutant.Is(mutant.PinUncopied) {
		return slices.Clone(e.cfg.View.Pins)
	}
	return slices.Sorted(slices.Values(slices.Concat(e.cfg.View.Pins, e.win.pinned)))
}

// Pinned reports that the view list names a pin: reads as of it see what they have always seen.
func (e *Engine) Pinned(w cluster.Seq) bool {
	_, found := slices.BinarySearch(e.cfg.View.Pins, w)
	return found
}

// SetView hands in a newer view list, as recorded. Pins taken since that it does not name go on being kept,
// until a later list names them or they are given up. A list that hides anything more needs a Hold; it ends
// when all devices that serve have the list.
func (e *Engine) SetView(v chunk.View) {
	if v.Version <= e.cfg.View.Version {
		return
	}
	e.reflatten(e.cfg.View.Hidden, v.Hidden)
	if e.lock.hold != holdNone && reverted(v) > reverted(e.cfg.View) {
		e.lock.hold = holdSpread
	}
	e.cfg.View = v
	e.win.pinned = slices.DeleteFunc(e.win.pinned, func(w cluster.Seq) bool {
		return w == reverted(v) || slices.Contains(v.Pins, w)
	})
	e.spreadView()
	if e.cfg.Mutant.Is(mutant.HoldUnspread) {
		e.Resume()
	}
}

// reverted is when the volume was reverted last; 0: never.
func reverted(v chunk.View) cluster.Seq {
	if len(v.Hidden) == 0 {
		return 0
	}
	return v.Hidden[len(v.Hidden)-1].To
}

// spreadView brings the view list to all devices that serve and lack it, then lets the stable mark go on, and
// what a Hold keeps waiting.
func (e *Engine) spreadView() {
	missing := false
	for _, d := range e.order {
		if d.state != devUp || d.viewed >= e.cfg.View.Version {
			continue
		}
		missing = true
		if !d.viewBusy {
			d.viewBusy = true
			e.bringView(d, e.spreadView)
		}
	}
	if !missing && e.lock.hold == holdSpread {
		e.Resume()
	}
	if !missing && e.win.cap != 0 {
		e.win.cap = 0
		if len(e.win.pinned) > 0 {
			e.win.cap = e.win.pinned[0].Counter()
		}
	}
}

// freshSeq is a sequence number that counts as complete at once.
func (e *Engine) freshSeq() cluster.Seq {
	c := e.win.take()
	e.win.complete(c)
	return e.seq(c)
}
