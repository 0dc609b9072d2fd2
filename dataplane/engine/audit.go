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
	rows := min(auditRows, uint16(e.geo.ChunkBlocks)-row)
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
	var lost stripe.Cols
	for c := range e.n + e.p {
		x := &g.cols[c].cells[i]
		if x.state != cellFact || x.decoded { // was bad: repaired, or it cannot be
			next()
			return
		}
		if !g.valid(c, x, h) {
			lost |= stripe.ColsOf(c)
		}
	}
	switch {
	case h.w == 0:
		next()
	case lost != 0:
		e.restore(g, i, lost, next)
	case !e.copies && e.p > 0 && !e.agree(g, i):
		e.Counters.Disagreed++
		e.rewrite(g, i, next)
	default:
		next()
	}
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

// agree reports that the parities of a row are what its data makes, and in a clone know who has a part in it:
// one that forgot a tombstone has the right content.
func (e *Engine) agree(g *gather, i int) bool {
	shards := make([][]byte, e.n+e.p)
	var mask stripe.Cols
	for c := range shards {
		x := &g.cols[c].cells[i]
		if shards[c] = x.data; c >= e.n {
			shards[c] = make([]byte, len(shards[0]))
		} else if e.masked(x.info.State) {
			mask |= stripe.ColsOf(c)
		}
	}
	e.codec.Encode(shards)
	for c := e.n; c < e.n+e.p; c++ {
		x := &g.cols[c].cells[i]
		if !bytes.Equal(shards[c], x.data) ||
			e.cloned() && stripe.Cols(x.info.Mask) != mask && !e.cfg.Mutant.Is(mutant.MaskUncompared) {
			return false
		}
	}
	return true
}

// rewrite writes the data of a row again, as a row write of its own, so that the parities are made anew.
func (e *Engine) rewrite(g *gather, i int, done func()) {
	b := e.newBatch(g.page, g.first+uint16(i), 1)
	b.then = func(ok bool) {
		if ok {
			e.Counters.Repaired++
		}
		done()
	}
	b.plans = grow(b.plans, 1)
	b.plans[0] = rowPlan{}
	b.buf = grow(b.buf, (e.n+e.p)*len(g.cols[0].cells[i].data))
	for c := range e.n + e.p {
		b.shards[c] = block(b.buf, c)
		clear(b.shards[c])
		x, bit := &g.cols[c].cells[i], stripe.ColsOf(c)
		switch {
		case c >= e.n || !e.masked(x.info.State):
			continue
		case x.info.State == chunk.Tombstone:
			b.plans[0].zero |= bit
		}
		copy(b.shards[c], x.data)
		b.plans[0].full |= bit
	}
	if b.plans[0].full == 0 && e.cloned() { // whatever was written would hide the parent
		e.endBatch(b, Media)
		return
	}
	if b.plans[0].full == 0 { // no data, but a parity that says otherwise
		b.plans[0].full, b.plans[0].zero = stripe.ColsOf(0), stripe.ColsOf(0)
	}
	e.claim(b)
}
