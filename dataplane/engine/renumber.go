package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// A new table may give a column to the device that it is on already, under a higher number: it had left, or
// was to leave, and comes back before the volume has moved. Then nothing is copied. The journal entry goes
// first, and says that the device may still know the older number:
//
//	entry {complete, renumber, device@new} counts --> OpRenumber to the device --> the rows are free
//
// Whoever finds such an entry sends OpRenumber to the device before anything else about the column: the mover
// under the rows' lock, an open before it looks at rows, and a device that comes back before it is judged. So
// where the device is asked at all it holds the new number, and while it is away it counts as missing under
// either. Sending it again changes nothing, so the entry keeps the flag until it goes.

// alone gives the place that has all of a column, if no other one counts.
func (e *Engine) alone(page uint64, c int) (chunk.Place, bool) {
	x := e.entry(page, c)
	switch {
	case x == nil:
		return e.home(page, c), true
	case x.Complete && !x.Stale && len(x.Places) == 1:
		return x.Places[0], true
	}
	return chunk.Place{}, false
}

// renumberColumn moves a column of a page, whose rows are locked, to another number on its device.
func (e *Engine) renumberColumn(k movedColumn, at chunk.Place, done func(ok bool)) {
	if e.pageInQuestion(at, k.page, k.c) { // a judgement under way knows the older number
		done(false)
		return
	}
	x := chunk.JournalEntry{Page: k.page, Column: uint8(k.c), Complete: true, Renumber: true,
		Places: []chunk.Place{k.to}}
	e.putEntry(x, func(ok bool) {
		if !ok || e.devices[k.to.Device].state == devDown { // it is renumbered when it is back
			done(false)
			return
		}
		e.renumber(k.to, k.colKey, func(ok bool) { done(ok && e.mode == modeServing) })
	})
}

// renumberAll brings a device to the numbers that the journal wants there. If it fails meanwhile then is not
// called.
func (e *Engine) renumberAll(d *device, then func()) {
	var keys []colKey
	for _, k := range e.jour.keys() {
		if x := e.entry(k.page, k.c); x.Renumber && x.Places[0].Device == d.id && !e.unnumbered() {
			keys = append(keys, k)
		}
	}
	e.renumberNext(d, keys, then)
}

// unnumbered drops the rule for a planted bug: at an open, or afterwards.
func (e *Engine) unnumbered() bool {
	return e.mode == modeOpening && e.cfg.Mutant.Is(mutant.OpenUnnumbered) ||
		e.mode == modeServing && e.cfg.Mutant.Is(mutant.ReturnUnnumbered)
}

func (e *Engine) renumberNext(d *device, keys []colKey, then func()) {
	if len(keys) == 0 {
		then()
		return
	}
	k := keys[0]
	x := e.entry(k.page, k.c)
	if x == nil || !x.Renumber || x.Places[0].Device != d.id { // replaced meanwhile
		e.renumberNext(d, keys[1:], then)
		return
	}
	e.renumber(x.Places[0], k, func(ok bool) {
		if ok {
			e.renumberNext(d, keys[1:], then)
		}
	})
}

// renumber tells a device the number of a column. What it has listed is under that, too.
func (e *Engine) renumber(at chunk.Place, k colKey, done func(ok bool)) {
	e.send(e.requestAt(chunk.OpRenumber, at, k.page, k.c, 0, 0, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) {
			done(false)
			return
		}
		for _, listed := range [...][]chunk.Entry{d.unstable, d.doubts} {
			for i := range listed {
				if x := &listed[i]; x.Page == k.page && int(x.Column) == k.c {
					x.Residency = max(x.Residency, at.Residency)
				}
			}
		}
		e.Counters.Renumbered++
		done(true)
	})))
}
