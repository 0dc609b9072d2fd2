package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// mendWidth bounds the columns of pages that are brought home at the same time.
const mendWidth = 4

// mender brings columns home: once the device of a column that has a journal entry is back, what the column
// has elsewhere is copied to it, or, if that cannot be had or the column is stale, the whole chunk is decoded
// from the other columns; then the entry goes. One (page, column) at a time holds all rows of its page.
type mender struct {
	dirty  bool // an entry or a device has changed: look through the entries again
	todo   []colKey
	active int
	failed bool // something could not be mended now: try again later
	again  uint64
}

// mendRetryTicks is the pause before entries that could not be mended are tried again.
const mendRetryTicks = 20

func (e *Engine) tickMend() {
	m := &e.mend
	if m.failed && e.ticks >= m.again {
		m.failed, m.dirty = false, true
	}
	if m.dirty {
		m.dirty = false
		m.todo = m.todo[:0]
		for _, k := range e.jour.keys() {
			if e.mendable(k) {
				m.todo = append(m.todo, k)
			}
		}
	}
	e.mendMore()
}

func (e *Engine) mendable(k colKey) bool {
	x := e.entry(k.page, k.c)
	return x != nil && e.jour.pending[k] == nil && e.devices[e.base(x).Device].usable() &&
		(!x.Complete || x.Stale || len(x.Places) > 1 || e.arrived(x))
}

// arrived reports that the place that a move made complete is the home now: the entry is not needed any more.
func (e *Engine) arrived(x *chunk.JournalEntry) bool {
	return x.Complete && x.Places[0] == e.home(x.Page, int(x.Column))
}

func (e *Engine) mendMore() {
	m := &e.mend
	for m.active < mendWidth && len(m.todo) > 0 && e.mode == modeServing {
		k := m.todo[0]
		m.todo = m.todo[1:]
		if e.isStuck(k.page) {
			m.failed, m.again = true, e.ticks+mendRetryTicks
			continue
		}
		m.active++
		e.whileLocked(k.page, 0, uint16(e.geo.ChunkBlocks), func(x *extent) {
			e.mendColumn(k, func(ok bool) {
				e.unlockInternal(x)
				m.active--
				if !ok {
					m.failed, m.again = true, e.ticks+mendRetryTicks
				}
				e.mendMore()
			})
		})
	}
}

// mendColumn mends one column of a page whose rows are locked.
func (e *Engine) mendColumn(k colKey, done func(ok bool)) {
	if e.mode != modeServing || !e.mendable(k) {
		done(true)
		return
	}
	x := *e.entry(k.page, k.c)
	if e.arrived(&x) {
		next := chunk.JournalEntry{Page: k.page, Column: uint8(k.c), Stale: x.Stale, Places: over(&x)}
		next.Gone = !next.Stale && len(next.Places) == 0
		e.putEntry(next, done)
		return
	}
	usable := func(at chunk.Place) bool { return e.devices[at.Device].usable() }
	if x.Stale || slices.ContainsFunc(over(&x), func(at chunk.Place) bool { return !usable(at) }) {
		e.rebuild(k, x, done)
		return
	}
	read := func(asOf cluster.Seq, done func(cells []cell, ok bool)) {
		cells := make([]cell, e.geo.ChunkBlocks)
		e.collect(k, over(&x), asOf, cells, func(ok bool) {
			if e.cfg.Mutant.Is(mutant.MendUncopied) {
				clear(cells)
			}
			done(cells, ok)
		})
	}
	c := &copying{colKey: k, to: e.base(&x), read: read, tombstones: true}
	e.copyViews(c, func(ok bool) {
		switch {
		case ok:
			e.conclude(k, x, c.to, done)
		case c.unread: // a place failed or holds a bad block: decode it all
			e.rebuild(k, x, done)
		default:
			done(false)
		}
	})
}

// rebuild decodes a whole chunk from the other columns and writes it to its base from scratch. Before that is
// emptied the entry says that the column is stale, so nobody takes what is missing there for absent. Like any
// other it may become so only while n are not.
func (e *Engine) rebuild(k colKey, x chunk.JournalEntry, done func(ok bool)) {
	bit := stripe.ColsOf(k.c)
	e.gatherColumn(k, 0, bit, func(now []cell, ok bool) {
		if !ok {
			done(false)
			return
		}
		read := func(asOf cluster.Seq, done func(cells []cell, ok bool)) {
			if asOf == 0 {
				done(now, true)
				return
			}
			e.gatherColumn(k, asOf, bit, done)
		}
		fill := func(ok bool) {
			if !ok {
				done(false)
				return
			}
			c := &copying{colKey: k, to: e.base(&x), read: read}
			e.refill(c, func(ok bool) {
				if !ok {
					done(false)
					return
				}
				e.conclude(k, x, c.to, done)
			})
		}
		if x.Stale {
			fill(true)
			return
		}
		if e.others(k.page, k.c) < e.n { // a pin may need what it has: repair what is bad where it lies
			e.gatherColumn(k, 0, 0, func([]cell, bool) { done(false) })
			return
		}
		stale := x
		stale.Stale = true
		e.putEntry(stale, fill)
	})
}

// conclude frees the places over a base that has all now, then ends the entry. Until that is durable a later
// owner asks the places, the newest first: so the oldest is freed first, and none before one that is older,
// or what it hid would count. Of a column that is stale nobody asks.
func (e *Engine) conclude(k colKey, x chunk.JournalEntry, base chunk.Place, done func(ok bool)) {
	asked := !e.stale(k.page, k.c)
	e.dropAll(over(&x), k, asked && !e.cfg.Mutant.Is(mutant.DropUnordered), func(ok bool) {
		if !ok {
			done(false)
			return
		}
		next := chunk.JournalEntry{Page: k.page, Column: uint8(k.c), Gone: true}
		if base != e.home(k.page, k.c) {
			next = chunk.JournalEntry{Page: k.page, Column: uint8(k.c), Complete: true, Places: []chunk.Place{base}}
		}
		e.putEntry(next, done)
	})
}

// dropAll frees places, one after the other. One that is away keeps what it has: that is swept when it is
// back. With inOrder it is over at the first that is not freed.
func (e *Engine) dropAll(places []chunk.Place, k colKey, inOrder bool, done func(ok bool)) {
	if len(places) == 0 {
		done(e.mode == modeServing)
		return
	}
	next := func(ok bool) {
		if inOrder && !ok {
			done(false)
			return
		}
		e.dropAll(places[1:], k, inOrder, done)
	}
	if d := e.devices[places[0].Device]; !d.usable() {
		d.sweep = true
		next(false)
		return
	}
	e.drop(places[0], k, next)
}

// drop frees what a place holds of a column of a page.
func (e *Engine) drop(at chunk.Place, k colKey, done func(ok bool)) {
	e.send(e.requestAt(chunk.OpDrop, at, k.page, k.c, 0, 0, control(func(d *device, r *chunk.Request) {
		ok := !e.lost(d, r)
		if ok {
			d.emptied(k)
		}
		done(ok && e.mode == modeServing)
	})))
}

// sweepDevice looks once, after a device has come (back), for chunks under residencies that are over, and
// frees them.
func (e *Engine) sweepDevice(d *device) {
	if !d.sweep || d.sweeping {
		return
	}
	d.sweep, d.sweeping = false, true
	e.sweepFrom(d, chunk.Cursor{})
}

func (e *Engine) sweepFrom(d *device, after chunk.Cursor) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) || e.mode != modeServing {
			d.sweeping, d.sweep = false, true
			return
		}
		var dead []chunk.Entry
		for _, x := range r.Entries {
			if !e.current(x.Page, int(x.Column), chunk.Place{Device: d.id, Residency: x.Residency}) {
				dead = append(dead, x)
			}
		}
		n := len(r.Entries)
		more := r.More && n > 0
		next := after
		if more {
			next = r.Entries[n-1].Cursor
		}
		e.sweepAway(d, dead, func() {
			if more {
				e.sweepFrom(d, next)
				return
			}
			d.sweeping = false
		})
	}))
	r.Mode, r.Count, r.After = chunk.ListChunks, chunk.MaxEntries, after
	e.send(r)
}

func (e *Engine) sweepAway(d *device, dead []chunk.Entry, then func()) {
	if len(dead) == 0 {
		then()
		return
	}
	x := dead[0]
	e.drop(chunk.Place{Device: d.id, Residency: x.Residency}, colKey{x.Page, int(x.Column)}, func(ok bool) {
		if !ok {
			d.sweeping, d.sweep = false, true
			return
		}
		e.sweepAway(d, dead[1:], then)
	})
}
