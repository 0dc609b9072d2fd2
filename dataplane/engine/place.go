package engine

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// boundary: groups below cursor, and not below that of the boundary before, are placed by table.
type boundary struct {
	table  *placement.Table
	cursor uint32
}

// takeLayout reads the owner record's layout and knows all devices that may hold something of the volume.
func (e *Engine) takeLayout() error {
	if len(e.cfg.Owner.Layout) == 0 {
		newest := e.newestTable()
		if newest == nil {
			return fmt.Errorf("no group table")
		}
		e.rec.have.Layout = []cluster.Boundary{{Table: newest.Number(), Cursor: placement.Groups}}
	}
	if newest := e.newestTable(); newest != nil && newest.Number() > e.rec.have.Layout[0].Table {
		e.addDevices(newest)
		e.move.table = newest
	}
	return e.setLayout(e.rec.have.Layout)
}

func (e *Engine) setLayout(layout []cluster.Boundary) error {
	e.layout = e.layout[:0]
	for _, b := range layout {
		t := e.cfg.Tables[b.Table]
		if t == nil || t.Width() != e.n+e.p {
			return fmt.Errorf("group table %d is missing or does not fit", b.Table)
		}
		e.layout = append(e.layout, boundary{t, b.Cursor})
		e.addDevices(t)
	}
	if n := len(e.layout); n == 0 || e.layout[n-1].cursor != placement.Groups {
		return fmt.Errorf("layout %v does not cover all groups", layout)
	}
	return nil
}

func (e *Engine) newestTable() *placement.Table {
	var newest *placement.Table
	for _, t := range e.cfg.Tables {
		if newest == nil || t.Number() > newest.Number() {
			newest = t
		}
	}
	return newest
}

// tableOf is the table that places a group now.
func (e *Engine) tableOf(group int) *placement.Table {
	for i := range e.layout {
		if uint32(group) < e.layout[i].cursor {
			return e.layout[i].table
		}
	}
	panic("engine: a group behind the last boundary")
}

func (e *Engine) group(page uint64) int { return placement.Group(e.cfg.Vol, page) }

// home is where a column of a page lies when the journal says nothing else.
func (e *Engine) home(page uint64, c int) chunk.Place {
	g := e.group(page)
	return homeIn(e.tableOf(g), g, c)
}

func homeIn(t *placement.Table, group, c int) chunk.Place {
	return chunk.Place{Device: t.Row(group)[c], Residency: chunk.Home(t.Since(group, c))}
}

// plain reports that a column lies at its home alone, and that this can be asked.
func (e *Engine) plain(page uint64, c int) bool {
	if e.entry(page, c) != nil && !e.cfg.Mutant.Is(mutant.EntryUnread) {
		return false
	}
	at := e.home(page, c)
	return e.devices[at.Device].usable() && !e.pageInQuestion(at, page, c)
}

// entry is the durable journal entry of a column of a page; nil when there is none.
func (e *Engine) entry(page uint64, c int) *chunk.JournalEntry {
	if len(e.jour.pages) == 0 {
		return nil
	}
	if p := e.jour.pages[page]; p != nil {
		return p[c]
	}
	return nil
}

// chain is the order in which a column is read: the places of the journal entry from the last to the first,
// then the base, unless that is stale. absent says that a block which all of them lack is absent, not
// missing.
type chain struct {
	places []chunk.Place
	absent bool
}

func (e *Engine) chain(page uint64, c int) chain {
	x := e.entry(page, c)
	if x == nil {
		return chain{[]chunk.Place{e.home(page, c)}, true}
	}
	ch := chain{slices.Clone(over(x)), !x.Stale}
	slices.Reverse(ch.places)
	if !x.Stale {
		ch.places = append(ch.places, e.base(x))
	}
	return ch
}

// base is where a column belongs: its home, or the place that a move has made its home. A stale home that the
// newest table gives a higher number is filled under that at once: the mover may have begun to.
func (e *Engine) base(x *chunk.JournalEntry) chunk.Place {
	if x.Complete {
		return x.Places[0]
	}
	home := e.home(x.Page, int(x.Column))
	next := homeIn(e.layout[0].table, e.group(x.Page), int(x.Column))
	if x.Stale && next.Device == home.Device {
		return next
	}
	return home
}

// over lists the places that lie over the base.
func over(x *chunk.JournalEntry) []chunk.Place { return x.Places[based(x):] }

// based counts the places of an entry that are not over the base, but the base.
func based(x *chunk.JournalEntry) int {
	if x.Complete {
		return 1
	}
	return 0
}

// writePlace is where writes of a column go; false when the journal says that they go nowhere.
func (e *Engine) writePlace(page uint64, c int) (chunk.Place, bool) {
	x := e.entry(page, c)
	if x == nil {
		return e.home(page, c), true
	}
	if o := over(x); len(o) > 0 {
		return o[len(o)-1], true
	}
	return e.base(x), !x.Stale
}

// stale reports that a column of a page has missed a write that is nowhere: it does not count.
func (e *Engine) stale(page uint64, c int) bool {
	x := e.entry(page, c)
	return x != nil && x.Stale
}

// looksAt reports whether a read of a column of a page asks a place.
func (e *Engine) looksAt(page uint64, c int, at chunk.Place) bool {
	return c < e.n+e.p && slices.Contains(e.chain(page, c).places, at)
}

// current reports whether a place is one where the volume looks for a column of a page, or soon will.
func (e *Engine) current(page uint64, c int, at chunk.Place) bool {
	if c >= e.n+e.p {
		return false
	}
	g := e.group(page)
	x := e.entry(page, c)
	if x != nil && slices.Contains(x.Places, at) || at == homeIn(e.layout[0].table, g, c) {
		return true
	}
	if at == homeIn(e.tableOf(g), g, c) && (x == nil || !x.Complete) ||
		x != nil && x.Renumber && x.Places[0].Device == at.Device && x.Places[0].Residency > at.Residency &&
			!e.cfg.Mutant.Is(mutant.SweepUnnumbered) {
		return true
	}
	u := e.jour.pending[colKey{page, c}]
	return u != nil && slices.Contains(u.entry.Places, at)
}
