package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// sending is the state of one column of a batch that is being written.
type sending struct {
	todo    bool // to be written, and not yet everywhere it has to be
	waits   bool // for a journal entry or a device
	full    bool // its device has no space for what was sent: an alternate must take it
	failed  bool // a request failed
	waiting int  // requests outstanding
}

// commit takes the next w and sends the batch to all columns of its write set. From here on it is final: it
// ends when every column has it, at home or at an alternate, or is recorded stale.
func (e *Engine) commit(b *batch) {
	if e.writable(b.page) < e.cfg.MinColumns || !e.mayWrite(b.page) {
		e.parkBatch(b)
		return
	}
	if !e.cfg.Mutant.Is(mutant.SparseUnnoticed) {
		e.notePresent(b.page)
	}
	b.w = e.seq(e.win.take())
	if !e.copies && e.p > 0 {
		e.encode(b)
	}
	for c := range e.n + e.p {
		b.info[c] = grow(b.info[c], int(b.rows))
		for i := range b.plans {
			e.describe(b, c, i)
		}
		b.cols[c] = sending{todo: true}
	}
	e.sendColumns(b)
}

// describe fills in the record of one block; one that is not written has no w.
func (e *Engine) describe(b *batch, c, i int) {
	p, info := &b.plans[i], &b.info[c][i]
	*info = chunk.BlockInfo{W: b.w, Set: uint16(p.changed()), Mask: uint16(e.mask(p)), State: chunk.Tombstone}
	switch {
	case p.changed() == 0, c < e.n && !p.changed().Has(c):
		info.W = 0
	case e.void(block(b.shards[c], i)):
	case c < e.n && !p.zero.Has(c), c >= e.n && p.data() != 0:
		info.State = chunk.Data
		if c >= e.n && e.copies {
			info.CRC = b.info[0][i].CRC
		} else {
			info.CRC = sum(block(b.shards[c], i))
		}
	}
}

// writable counts the columns of a page that a write could reach now.
func (e *Engine) writable(page uint64) (n int) {
	for c := range e.n + e.p {
		at, ok := e.writePlace(page, c)
		if ok && e.devices[at.Device].usable() {
			n++
		} else if !e.stale(page, c) || ok {
			if _, ok := e.drawAlternate(page, c); ok {
				n++
			}
		}
	}
	return n
}

// sendColumns sends every column that is still to be written.
func (e *Engine) sendColumns(b *batch) {
	b.writing = true
	b.inFlight++ // until all are sent
	for c := range b.cols {
		if b.cols[c].todo {
			e.sendColumn(b, c)
		}
	}
	b.inFlight--
	e.columnsSent(b)
}

// sendColumn sends a column to where it has to be written now, or sees to it that there is such a place.
func (e *Engine) sendColumn(b *batch, c int) {
	s := &b.cols[c]
	s.failed, s.waits = false, false
	at, ok := e.writePlace(b.page, c)
	switch {
	case b.empty(c), !ok:
		s.todo = false
	case e.devices[at.Device].usable() && !s.full:
		e.sendRuns(b, c, at)
	case e.cfg.Mutant.Is(mutant.AckUncovered):
		s.todo = false
	default:
		s.waits = true
		e.keepWaiting(b)
		e.cover(b, c)
	}
}

// empty reports that a batch does not change a column.
func (b *batch) empty(c int) bool {
	for i := range b.info[c] {
		if b.info[c][i].W != 0 {
			return false
		}
	}
	return true
}

// sendRuns sends a request for every run of rows of equal kind.
func (e *Engine) sendRuns(b *batch, c int, at chunk.Place) {
	info := b.info[c]
	for i := 0; i < len(info); {
		j := i + 1
		for j < len(info) && info[j].W == info[i].W && info[j].State == info[i].State {
			j++
		}
		if info[i].W != 0 {
			op := chunk.OpWrite
			if info[i].State == chunk.Tombstone {
				op = chunk.OpTombstone
			}
			r := e.requestAt(op, at, b.page, c, b.row+uint16(i), uint16(j-i), b)
			r.W, r.Blocks = info[i].W, info[i:j]
			if op == chunk.OpWrite {
				r.Data = b.shards[c][i*cluster.BlockSize : j*cluster.BlockSize]
			}
			b.cols[c].waiting++
			b.inFlight++
			e.send(r)
		}
		i = j
	}
}

// columnAnswered takes the answer to one write of a column.
func (e *Engine) columnAnswered(b *batch, d *device, r *chunk.Request, failed bool) {
	s := &b.cols[r.Column]
	s.waiting--
	if failed {
		s.failed = true
		s.full = s.full || r.Status == chunk.Full
	} else {
		d.mark.sent = max(d.mark.sent, r.Stable)
		if at := (chunk.Place{Device: d.id, Residency: r.Residency}); !e.current(r.Page, int(r.Column), at) {
			d.sweep = true // the place was given up, perhaps emptied, while the write was on its way
		}
	}
	if s.waiting > 0 || e.mode == modeStopped {
		e.columnsSent(b)
		return
	}
	if s.failed {
		e.sendColumn(b, int(r.Column))
	} else {
		s.todo = false
	}
	e.columnsSent(b)
}

// columnsSent ends the batch when no column is left.
func (e *Engine) columnsSent(b *batch) {
	if b.inFlight > 0 {
		return
	}
	if e.mode == modeStopped || b.given && e.mode == modeOpening && e.open.failed {
		e.endBatch(b, PathGone)
		return
	}
	for c := range b.cols {
		if b.cols[c].todo {
			return
		}
	}
	if !b.given {
		e.win.complete(b.w.Counter())
	}
	e.endBatch(b, OK)
}

// keepWaiting lists a batch as sent and waiting for a journal entry or a device, until it ends.
func (e *Engine) keepWaiting(b *batch) {
	if !slices.Contains(e.stuck, b) {
		e.stuck = append(e.stuck, b)
	}
}

// isStuck reports that a row write of a page waits for a device: who wants the whole page now would make all
// other rows wait, too.
func (e *Engine) isStuck(page uint64) bool {
	return slices.ContainsFunc(e.stuck, func(b *batch) bool { return b.page == page })
}

// retryBatches sends the columns again that wait.
func (e *Engine) retryBatches() {
	for _, b := range slices.Clone(e.stuck) {
		if !slices.Contains(e.stuck, b) {
			continue // ended meanwhile
		}
		b.inFlight++
		for c := range b.cols {
			if s := &b.cols[c]; s.todo && s.waits && e.mode != modeStopped {
				e.sendColumn(b, c)
			}
		}
		for _, x := range b.members {
			e.resume(x)
		}
		b.inFlight--
		e.columnsSent(b)
	}
}

// complete writes a version that is given to columns of one row: the forward of an open.
func (e *Engine) complete(page uint64, row uint16, cols stripe.Cols, g *gather, then func(ok bool)) {
	b := e.newBatch(page, row, 1)
	b.given, b.then = true, then
	for c := range e.n + e.p {
		b.info[c] = grow(b.info[c], 1)
		b.info[c][0] = chunk.BlockInfo{}
		if cols.Has(c) {
			x := g.cell(c, row)
			b.w, b.shards[c], b.info[c][0] = x.info.W, x.data, x.info
			if x.info.State != chunk.Data {
				b.info[c][0].State = chunk.Tombstone
			}
			b.cols[c] = sending{todo: true}
		}
	}
	e.sendColumns(b)
}
