package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// moveWidth bounds the columns of pages that move at the same time; moveBatch the entries that a step of the
// cursor may leave in the journal.
const (
	moveWidth = 4
	moveBatch = 1024
)

// moveRetryTicks is the pause before a move that failed is tried again.
const moveRetryTicks = 20

// mover brings a volume from older group tables to the pool's newest, group by group:
//
//	list the pages --> move their columns, each leaving a complete entry --> the cursor passes the groups
//	  --> the entries go, for the new home is the home now
//
// The journal carries the state between two steps of the cursor, so a crash at any moment finds every column
// where the journal or the layout says. A page that is first written while the groups wait for the cursor
// joins the pages to be moved; while the cursor's step is being recorded such writes wait.
type mover struct {
	table   *placement.Table // to be added to the layout
	pages   map[uint32][]uint64
	listed  bool
	listing int
	next    uint32 // group to be looked at next; all before it are moved
	todo    []movedColumn
	moved   int // entries made since the last step of the cursor
	active  int
	retryAt uint64
	step    bool // a record with the cursor at next is wanted or under way
	round   int  // of the listing: answers to an earlier one do not count
}

// movedColumn is a column of a page on its way.
type movedColumn struct {
	colKey
	to chunk.Place
}

// SetTable tells of a newer group table of the pool: the volume moves to it.
func (e *Engine) SetTable(t *placement.Table) {
	if newest := e.newestTable(); t.Number() <= newest.Number() {
		return
	}
	e.cfg.Tables[t.Number()] = t
	e.addDevices(t)
	e.move.table = t
	e.wantRecord()
}

// wants adds the mover's part to a change of the owner record.
func (m *mover) wants(e *Engine, next *cluster.Owner) bool {
	changed := false
	if m.step {
		next.Layout = advanced(next.Layout, m.next)
		changed = true
	}
	if m.table != nil && e.mode == modeServing {
		next.Layout = append([]cluster.Boundary{{Table: m.table.Number()}}, next.Layout...)
		changed = true
	}
	return changed
}

// advanced is a layout with the first cursor further on; boundaries that it has passed go.
func advanced(layout []cluster.Boundary, cursor uint32) []cluster.Boundary {
	out := []cluster.Boundary{{Table: layout[0].Table, Cursor: cursor}}
	for _, b := range layout[1:] {
		if b.Cursor > cursor {
			out = append(out, b)
		}
	}
	return out
}

// recorded is called after every stored change of the owner record.
func (m *mover) recorded(e *Engine) {
	before := e.layout[0]
	if err := e.setLayout(e.rec.have.Layout); err != nil {
		panic("engine: " + err.Error()) // tables are known before a record names them
	}
	switch now := e.layout[0]; {
	case now.table != before.table: // a new journey
		*m = mover{table: m.table, active: m.active, round: m.round + 1}
		if m.table == now.table {
			m.table = nil
		}
	case m.step && now.cursor == m.next:
		for g := before.cursor; g < m.next; g++ {
			delete(m.pages, g)
		}
		m.step, m.moved = false, 0
	}
	e.mend.dirty = true
	e.wake()
}

// moving reports that the volume is on its way to another table.
func (e *Engine) moving() bool { return len(e.layout) > 1 }

// tickMove starts or carries on a move.
func (e *Engine) tickMove() {
	m := &e.move
	if m.table != nil {
		e.wantRecord()
	}
	if !e.moving() || m.step || m.table != nil || e.ticks < m.retryAt {
		return
	}
	switch {
	case m.listed:
		e.moveMore()
	case m.listing == 0 && e.mayList():
		m.pages = make(map[uint32][]uint64)
		m.next = e.layout[0].cursor
		m.listing = 1
		m.round++
		e.noteWrites()
		for _, k := range e.jour.keys() {
			e.notePage(k.page)
		}
		for _, d := range e.order {
			if d.state == devUp {
				m.listing++
				e.listMoving(d, m.round, chunk.Cursor{})
			}
		}
		e.pagesListed()
	}
}

// mayList: what is up must name every page. A write set has at least p + 1 columns, so any n devices of a row
// hold something of its pages, or the journal names them.
func (e *Engine) mayList() bool {
	for i := range e.layout {
		for _, row := range e.layout[i].table.Rows() {
			up := 0
			for _, id := range row {
				if e.devices[id].state == devUp {
					up++
				}
			}
			if up < e.n {
				return false
			}
		}
	}
	return true
}

func (e *Engine) listMoving(d *device, round int, after chunk.Cursor) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		m := &e.move
		failed := e.lost(d, r)
		if m.round != round {
			return
		}
		if failed {
			m.retryAt = e.ticks + moveRetryTicks
			m.pages = nil // begin again
			e.pagesListed()
			return
		}
		for _, x := range r.Entries {
			e.notePage(x.Page)
		}
		if n := len(r.Entries); r.More && n > 0 {
			e.listMoving(d, round, r.Entries[n-1].Cursor)
			return
		}
		e.pagesListed()
	}))
	r.Mode, r.Count, r.After = chunk.ListChunks, chunk.MaxEntries, after
	e.send(r)
}

func (e *Engine) pagesListed() {
	m := &e.move
	if m.listing--; m.listing == 0 {
		m.listed = m.pages != nil
	}
}

// notePage adds a page to those that have to move before the cursor passes its group.
func (e *Engine) notePage(page uint64) {
	m := &e.move
	if e.cfg.Mutant.Is(mutant.MoveUnnoticed) && m.listed {
		return
	}
	g := uint32(e.group(page))
	if m.pages != nil && g >= e.layout[0].cursor && !slices.Contains(m.pages[g], page) {
		m.pages[g] = append(m.pages[g], page)
		m.next = min(m.next, g)
	}
}

// noteWrites adds the pages that are being written: an inventory may come too early for them.
func (e *Engine) noteWrites() {
	for i := range e.lock.buckets {
		for _, x := range e.lock.buckets[i] {
			if x.kind == extWrite && x.started {
				e.notePage(x.page)
			}
		}
	}
}

// mayWrite is asked before a write is sent: false while the cursor is about to pass a page that has not
// moved.
func (e *Engine) mayWrite(page uint64) bool {
	m := &e.move
	if !e.moving() || m.pages == nil {
		return true
	}
	g := uint32(e.group(page))
	if g < e.layout[0].cursor || len(e.unmoved(page)) == 0 {
		return true
	}
	if m.step && g < m.next {
		return false
	}
	e.notePage(page)
	return true
}

// unmoved lists the columns of a page that do not lie yet where the newest table says.
func (e *Engine) unmoved(page uint64) (out []movedColumn) {
	g := e.group(page)
	was, now := e.tableOf(g), e.layout[0].table
	for c := range e.n + e.p {
		to := homeIn(now, g, c)
		x := e.entry(page, c)
		if x != nil && x.Complete && x.Places[0] == to || (x == nil || !x.Complete) && homeIn(was, g, c) == to {
			continue
		}
		out = append(out, movedColumn{colKey{page, c}, to})
	}
	return out
}

// moveMore moves columns of the next groups, and asks for a step of the cursor when a batch is done.
func (e *Engine) moveMore() {
	m := &e.move
	if !m.listed { // what ended belongs to an earlier journey
		return
	}
	for m.active < moveWidth && !m.step && m.table == nil && m.moved < moveBatch && e.mode == modeServing &&
		e.ticks >= m.retryAt {
		if len(m.todo) == 0 {
			if m.active > 0 || m.next == placement.Groups {
				break
			}
			if e.cfg.Mutant.Is(mutant.CursorEarly) {
				clear(m.pages)
			}
			for _, page := range m.pages[m.next] {
				m.todo = append(m.todo, e.unmoved(page)...)
			}
			if len(m.todo) == 0 {
				m.next++
				continue
			}
		}
		k := m.todo[0]
		if e.isStuck(k.page) {
			m.retryAt = e.ticks + moveRetryTicks
			break
		}
		m.todo = m.todo[1:]
		m.active++
		e.whileLocked(k.page, 0, uint16(e.geo.ChunkBlocks), func(x *extent) {
			e.moveColumn(k, func(ok bool) {
				e.unlockInternal(x)
				m.active--
				if m.moved++; !ok {
					m.retryAt = e.ticks + moveRetryTicks
				}
				e.moveMore()
			})
		})
	}
	if m.active == 0 && len(m.todo) == 0 && m.next > e.layout[0].cursor && m.table == nil &&
		(m.next == placement.Groups || m.moved >= moveBatch) {
		m.step = true
		e.wantRecord()
	}
}

// moveColumn copies one column of a page, whose rows are locked, to its new home, which is empty at first. If
// it is there already, under an older number, that is all that changes.
func (e *Engine) moveColumn(k movedColumn, done func(ok bool)) {
	if e.mode != modeServing || e.jour.pending[k.colKey] != nil || !e.devices[k.to.Device].usable() ||
		k.to != homeIn(e.layout[0].table, e.group(k.page), k.c) {
		done(false)
		return
	}
	if at, ok := e.alone(k.page, k.c); ok && at.Device == k.to.Device && at.Residency <= k.to.Residency {
		e.renumberColumn(k, at, done)
		return
	}
	e.gatherColumn(k.colKey, 0, 0, func(now []cell, ok bool) {
		if !ok {
			done(false)
			return
		}
		e.moveCells(k, now, done)
	})
}

// moveCells writes a column to its new home. A device keeps one residency of a column: when the new home
// already has an older one, beside other places that count, emptying it is right only once nobody looks
// there.
// So the column is declared stale before, or, when it cannot be spared, moves by way of another device.
func (e *Engine) moveCells(k movedColumn, now []cell, done func(ok bool)) {
	read := func(asOf cluster.Seq, done func(cells []cell, ok bool)) {
		if asOf == 0 {
			done(now, true)
			return
		}
		e.gatherColumn(k.colKey, asOf, 0, done)
	}
	fill := func(to chunk.Place) func(ok bool) {
		return func(ok bool) {
			if !ok {
				done(false)
				return
			}
			e.refill(&copying{colKey: k.colKey, to: to, read: read}, func(ok bool) {
				if !ok {
					done(false)
					return
				}
				e.handOver(k.colKey, to, done)
			})
		}
	}
	same := func(at chunk.Place) bool { return at.Device == k.to.Device }
	if !slices.ContainsFunc(e.chain(k.page, k.c).places, same) {
		fill(k.to)(true)
		return
	}
	if e.others(k.page, k.c) >= e.n {
		x := chunk.JournalEntry{Page: k.page, Column: uint8(k.c)}
		if old := e.entry(k.page, k.c); old != nil {
			x = *old
		}
		x.Stale, x.Places = true, x.Places[:based(&x):based(&x)]
		e.putEntry(x, fill(k.to))
		return
	}
	by, ok := e.drawAlternate(k.page, k.c)
	if !ok {
		done(false)
		return
	}
	e.move.todo = append(e.move.todo, k) // the second half of the way
	fill(by)(true)
}

// handOver makes the new home count, then frees the old places.
func (e *Engine) handOver(k colKey, to chunk.Place, done func(ok bool)) {
	old := e.chain(k.page, k.c).places
	if x := e.entry(k.page, k.c); x != nil && x.Stale && e.base(x) != to { // not asked, but it holds something
		old = append(old, e.base(x))
	}
	x := chunk.JournalEntry{Page: k.page, Column: uint8(k.c), Complete: true, Places: []chunk.Place{to}}
	e.putEntry(x, func(ok bool) {
		if !ok {
			done(false)
			return
		}
		e.dropAll(old, k, false, done)
	})
}
