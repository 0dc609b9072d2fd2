package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// startRead reads the cells of an extent from the columns that hold them, one request per column. Anything
// out of the ordinary turns it into a read of whole rows.
func (e *Engine) startRead(x *extent) {
	if e.mode == modeStopped {
		e.finish(x, PathGone)
		return
	}
	if e.bare(x.page) {
		e.showParent(x)
		return
	}
	if e.packs() {
		e.readUnits(x)
		return
	}
	if e.copies {
		e.readCopy(x)
		return
	}
	if !e.healthy(x) {
		e.degrade(x)
		return
	}
	x.bounce, x.info = grow(x.bounce, e.n), grow(x.info, int(x.count))
	info := x.info
	for c := range e.n {
		first, rows := e.geo.ColumnSpan(c, uint64(x.off), uint64(x.count))
		if rows == 0 {
			continue
		}
		e.sendRead(x, c, first, rows, e.readBuffer(x, c, first, rows), info[:rows:rows])
		info = info[rows:]
	}
}

// healthy reports that the columns of a read can be asked as they are.
func (e *Engine) healthy(x *extent) bool {
	for c := range e.n {
		if _, rows := e.geo.ColumnSpan(c, uint64(x.off), uint64(x.count)); rows > 0 && !e.plain(x.page, c) {
			return false
		}
	}
	return true
}

// readBuffer is where a column's part is read to: the host's buffer where that is in one piece, else a bounce
// buffer.
func (e *Engine) readBuffer(x *extent, c int, first, rows uint16) []byte {
	bytes := int(rows) * cluster.BlockSize
	if !x.partial && e.inOneUnit(first, rows) {
		at := (int(e.geo.Offset(c, first)) - int(x.off)) * cluster.BlockSize
		return x.data[at : at+bytes : at+bytes]
	}
	x.bounce[c] = grow(x.bounce[c], bytes)
	return x.bounce[c]
}

func (e *Engine) inOneUnit(first, rows uint16) bool {
	return e.n == 1 || uint64(first)/e.geo.UnitBlocks == uint64(first+rows-1)/e.geo.UnitBlocks
}

// bestCopy is the copy of a page to read: the nearest one; those that are equally near are spread over the
// columns by page; -1 if none is healthy.
func (e *Engine) bestCopy(page uint64) int {
	best, most := -1, -1
	for i := range e.p + 1 {
		c := (i + int(page)) % (e.p + 1)
		if near := e.devices[e.home(page, c).Device].near; near > most && e.plain(page, c) {
			best, most = c, near
		}
	}
	return best
}

// readCopy reads from one of the copies.
func (e *Engine) readCopy(x *extent) {
	best := e.bestCopy(x.page)
	if best < 0 {
		e.degrade(x)
		return
	}
	x.bounce, x.info = grow(x.bounce, 1), grow(x.info, int(x.count))
	e.sendRead(x, best, x.off, x.count, e.readBuffer(x, 0, x.off, x.count), x.info)
}

func (e *Engine) sendRead(x *extent, c int, first, rows uint16, data []byte, info []chunk.BlockInfo) {
	r := e.requestAt(chunk.OpRead, e.home(x.page, c), x.page, c, first, rows, x)
	r.W, r.Data, r.Blocks = x.op.AsOf, data, info
	x.waiting++
	e.send(r)
}

// readDone takes the answer of one column.
func (e *Engine) readDone(x *extent, d *device, r *chunk.Request) {
	x.waiting--
	if e.failed(d, r) {
		x.failed = true
	} else {
		for i := range r.Blocks {
			switch r.Blocks[i].State {
			case chunk.Absent:
				clear(block(r.Data, i))
				if !e.packs() {
					e.lacks(x, uint16(e.geo.Offset(int(r.Column), r.Block+uint16(i))))
				}
			case chunk.Tombstone:
				clear(block(r.Data, i))
			case chunk.Bad, chunk.Torn:
				x.failed = true
			}
		}
	}
	switch {
	case x.waiting > 0:
	case e.mode == modeStopped:
		e.finish(x, PathGone)
	case x.failed:
		e.degrade(x)
	case e.packs():
		e.finishUnits(x, e.unpackRead(x))
	default:
		if !x.partial || len(x.absent) == 0 {
			e.unbounce(x)
		}
		if !e.fromParent(x) {
			e.finish(x, OK)
		}
	}
}

// unbounce copies what did not go to the host's buffer right away.
func (e *Engine) unbounce(x *extent) {
	if x.partial {
		c, _ := e.geo.Cell(uint64(x.off))
		copy(x.data, x.bounce[c][x.inBlock:])
		return
	}
	for c := range e.n {
		first, rows := e.geo.ColumnSpan(c, uint64(x.off), uint64(x.count))
		if rows == 0 || e.inOneUnit(first, rows) {
			continue
		}
		for i := range rows {
			at := int(e.geo.Offset(c, first+i)) - int(x.off)
			copy(block(x.data, at), block(x.bounce[c], int(i)))
		}
	}
}

// degrade starts a read again, of whole rows: a column is missing, bad or under a journal entry.
func (e *Engine) degrade(x *extent) {
	e.Counters.Degraded++
	x.kind, x.failed, x.absent = extRows, false, x.absent[:0]
	e.unlock(x)
	e.enqueue(x)
	e.startWaiting(x.page)
}

func (e *Engine) startRowRead(x *extent) {
	if e.mode == modeStopped {
		e.finish(x, PathGone)
		return
	}
	g := &gather{page: x.page, first: x.row, count: x.rows, asOf: x.op.AsOf}
	for c := range e.n {
		if _, rows := e.geo.ColumnSpan(c, uint64(x.off), uint64(x.count)); rows > 0 {
			g.want |= stripe.ColsOf(c)
		}
	}
	if e.copies { // still the nearest: a bad block, which is repaired
		g.copied = max(0, e.bestCopy(x.page))
		g.want = stripe.ColsOf(g.copied)
	}
	e.gather(g, func() { e.rowsRead(x, g) })
}

// rowsRead hands the cells of a gathered read to the host.
func (e *Engine) rowsRead(x *extent, g *gather) {
	if e.mode == modeStopped {
		e.finish(x, PathGone)
		return
	}
	worst := cellFact
	for off, end := x.cells(); off < end; off++ {
		worst = max(worst, g.cellAt(off).state)
	}
	switch worst {
	case cellFact:
	case cellLost:
		e.finish(x, Media)
		return
	default:
		x.kind = extRead
		e.park(x)
		return
	}
	if e.packs() {
		e.finishUnits(x, e.unpackRows(x, g))
		return
	}
	for i := range x.count {
		at := g.cellAt(x.off + i)
		if x.partial {
			copy(x.data, at.data[x.inBlock:])
		} else {
			copy(block(x.data, int(i)), at.data)
		}
		if at.info.State == chunk.Absent && !e.cfg.Mutant.Is(mutant.MaskUnasked) {
			e.lacks(x, x.off+i)
		}
	}
	if !e.fromParent(x) {
		e.finish(x, OK)
	}
}

// block is the i-th block of a buffer.
func block(b []byte, i int) []byte {
	return b[i*cluster.BlockSize : (i+1)*cluster.BlockSize : (i+1)*cluster.BlockSize]
}
