package engine

import (
	"bytes"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// A device that scrubs finds blocks that cannot be read. What it cannot find is a block that is whole and
// wrong: a device that forgot an acknowledged write has the version before, with a good checksum. The owner
// finds that by reading whole rows. Page by page it looks whether every column has the version that it must
// have, and whether the parities are what the data makes; a column that lost a write gets it again, under its
// w.
//
// A parity that once forgot a write, and was then the base of the next one, has the right version and wrong
// content. Such a row is written anew, under a new w, from its data: what hosts read stays as it is. (Data
// that is wrong while its parities are right is not told from the opposite, so data is never changed.)
//
// It reads only as many rows as it was allowed to (Audit), a few at a time, and leaves alone pages that are
// being healed: when they are whole it will come by again.

const (
	auditRows  = 8  // of a page that are read, and locked, at the same time
	auditPages = 64 // listed of each device at a time
	auditMost  = 1 << 12
)

// auditor goes through the pages of the volume, in order, over and over.
type auditor struct {
	allowed int // rows that may be read
	busy    bool
	after   chunk.Cursor // the pages up to here were listed
	last    chunk.Cursor // all of what was listed now
	end     bool         // nothing is behind last
	pages   []uint64
	row     uint16 // of the first page
	waiting int    // lists
	failed  bool
}

// Audit allows so many more block rows to be read and compared.
func (e *Engine) Audit(rows int) { e.audit.allowed = min(e.audit.allowed+rows, auditMost) }

func (e *Engine) tickAudit() {
	a := &e.audit
	if a.busy || a.allowed <= 0 {
		return
	}
	a.busy = true
	e.auditMore()
}

// auditMore goes on until nothing is allowed any more.
func (e *Engine) auditMore() {
	a := &e.audit
	for a.allowed > 0 && e.mode == modeServing {
		switch {
		case len(a.pages) == 0 && a.end:
			*a = auditor{} // what was allowed was for this pass
			e.Counters.AuditPasses++
			return
		case len(a.pages) == 0:
			e.auditList()
			return
		case !e.sound(a.pages[0]):
			a.pages, a.row = a.pages[1:], 0
		default:
			e.auditSlice()
			return
		}
	}
	a.busy = false
}

// sound reports that every column of a page lies at its home alone, whole, and that no write waits there.
func (e *Engine) sound(page uint64) bool {
	for c := range e.n + e.p {
		if !e.plain(page, c) || e.jour.pending[colKey{page, c}] != nil {
			return false
		}
	}
	return !e.isStuck(page)
}

// auditList asks the devices for the next pages. What one of them has not listed yet is for the next time.
func (e *Engine) auditList() {
	a := &e.audit
	a.last, a.end, a.failed = chunk.Cursor{Page: ^uint64(0)}, true, false
	a.waiting = 1
	for _, d := range e.order {
		if d.state != devUp {
			continue
		}
		r := e.request(chunk.OpList, d, control(e.auditListed))
		r.Mode, r.Count, r.After = chunk.ListChunks, auditPages, a.after
		a.waiting++
		e.send(r)
	}
	e.auditReady()
}

func (e *Engine) auditListed(d *device, r *chunk.Request) {
	a := &e.audit
	if e.lost(d, r) {
		a.failed = true
	}
	for _, x := range r.Entries {
		a.pages = append(a.pages, x.Page)
	}
	if n := len(r.Entries); r.More && n > 0 {
		a.end = false
		if last := r.Entries[n-1].Cursor; last.Page < a.last.Page || last.Page == a.last.Page &&
			last.Column < a.last.Column {
			a.last = last
		}
	}
	e.auditReady()
}

// auditReady goes on when all devices have listed what they have.
func (e *Engine) auditReady() {
	a := &e.audit
	if a.waiting--; a.waiting > 0 {
		return
	}
	if a.failed || e.mode != modeServing { // perhaps with the next tick
		a.pages, a.busy, a.end = nil, false, false
		return
	}
	a.pages = slices.DeleteFunc(a.pages, func(p uint64) bool { return p > a.last.Page })
	slices.Sort(a.pages)
	a.pages, a.after = slices.Compact(a.pages), a.last
	e.auditMore()
}

// auditSlice reads some rows of the first page, under their lock.
func (e *Engine) auditSlice() {
	a := &e.audit
	page, row := a.pages[0], a.row
	rows := min(max(auditRows, e.unit), uint16(e.geo.ChunkBlocks)-row) // whole units
	a.allowed -= int(rows)
	if a.row += rows; uint64(a.row) == e.geo.ChunkBlocks {
		a.pages, a.row = a.pages[1:], 0
	}
	e.whileLocked(page, row, rows, func(x *extent) {
		done := func() {
			e.unlockInternal(x)
			e.auditMore()
		}
		if e.mode != modeServing || !e.sound(page) {
			done()
			return
		}
		g := &gather{page: page, first: row, count: rows, want: stripe.FirstCols(e.n + e.p)}
		e.gather(g, func() { e.auditRow(g, 0, done) })
	})
}

// auditRow looks at one row after the other.
func (e *Engine) auditRow(g *gather, i int, done func()) {
	if i == int(g.count) || e.mode != modeServing {
		done()
		return
	}
	next := func() { e.auditRow(g, i+1, done) }
	h := g.headOf(i)
	lost, known := g.lost(i, h)
	switch {
	case !known, h.w == 0:
		next()
	case lost != 0:
		e.restore(g, i, lost, next)
	case !e.copies && e.p > 0 && !e.agree(g, i):
		e.Counters.Disagreed++
		e.auditUnit(g, i, done)
	default:
		next()
	}
}

// lost are the columns of a row that have lost a write. Not known: one was bad; it was repaired, or it cannot
// be.
func (g *gather) lost(i int, h head) (lost stripe.Cols, known bool) {
	for c := range g.cols {
		x := &g.cols[c].cells[i]
		if x.state != cellFact || x.decoded {
			return 0, false
		}
		if !g.valid(c, x, h) {
			lost |= stripe.ColsOf(c)
		}
	}
	return lost, true
}

// auditUnit writes a row anew, with the rows that belong together with it: under one w there is nothing less.
// It leaves them alone while one of them was not read as it should be: that is another pass's.
func (e *Engine) auditUnit(g *gather, i int, done func()) {
	unit := int(e.unit)
	if e.cfg.Mutant.Is(mutant.UnitsRemadeRow) {
		unit = 1
	}
	first := i - i%unit
	next := func() { e.auditRow(g, first+unit, done) }
	for j := first; j < first+unit; j++ {
		if lost, known := g.lost(j, g.headOf(j)); lost != 0 || !known {
			next()
			return
		}
	}
	e.rewrite(g, first, unit, next)
}

// restore gives columns that have lost a write that version again, decoded from the others.
func (e *Engine) restore(g *gather, i int, lost stripe.Cols, done func()) {
	row := g.first + uint16(i)
	o := &gather{page: g.page, first: row, count: 1, want: lost, not: lost}
	e.gather(o, func() {
		waiting := 1
		end := func() {
			if waiting--; waiting == 0 {
				done()
			}
		}
		for c := range lost.All() {
			x, at := o.cell(c, row), g.cols[c].cells[i].at
			if x.state != cellFact || x.info.W == 0 || e.mode != modeServing || !e.devices[at.Device].usable() {
				continue
			}
			waiting++
			e.writeCell(at, g.page, c, row, x, func(ok bool) {
				if ok {
					e.Counters.Repaired++
				}
				end()
			})
		}
		end()
	})
}

// agree reports that the parities of a row are what its data makes and, where that says more, know who has a
// part in it: in a clone one that forgot a tombstone has the right content, in a packed volume one that
// forgot a block of zeroes.
func (e *Engine) agree(g *gather, i int) bool {
	shards := make([][]byte, e.n+e.p)
	var mask stripe.Cols
	for c := range shards {
		x := &g.cols[c].cells[i]
		if shards[c] = x.data; c >= e.n {
			shards[c] = make([]byte, len(shards[0]))
		} else if e.masked(c, &x.info) {
			mask |= stripe.ColsOf(c)
		}
	}
	e.codec.Encode(shards)
	for c := e.n; c < e.n+e.p; c++ {
		x := &g.cols[c].cells[i]
		known := stripe.Cols(x.info.Mask) == mask || !e.cloned() && !e.packs() ||
			e.cfg.Mutant.Is(mutant.MaskUncompared)
		if !known || !bytes.Equal(shards[c], x.data) {
			return false
		}
	}
	return true
}

// rewrite writes the data of some rows again, as a row write of its own, so that the parities are made anew.
func (e *Engine) rewrite(g *gather, first, rows int, done func()) {
	b := e.newBatch(g.page, g.first+uint16(first), uint16(rows))
	b.then = func(ok bool) {
		if ok {
			e.Counters.Repaired += uint64(rows)
		}
		done()
	}
	b.plans = grow(b.plans, rows)
	clear(b.plans)
	e.giveShards(b)
	var all stripe.Cols
	for i := range b.plans {
		p := &b.plans[i]
		for c := range e.n + e.p {
			clear(block(b.shards[c], i))
			x, bit := &g.cols[c].cells[first+i], stripe.ColsOf(c)
			switch {
			case c >= e.n || !e.masked(c, &x.info):
				continue
			case x.info.State == chunk.Tombstone:
				p.zero |= bit
			}
			copy(block(b.shards[c], i), x.data)
			p.full |= bit
		}
		all |= p.full
	}
	if all == 0 && e.cloned() { // whatever was written would hide the parent
		e.endBatch(b, Media)
		return
	}
	if all == 0 { // no data, but a parity that says otherwise
		all = stripe.ColsOf(0)
	}
	for i := range b.plans { // a unit has one write set
		p := &b.plans[i]
		p.tail = all &^ p.full
		p.zero, p.full = p.zero|p.tail, all
	}
	e.claim(b)
}
