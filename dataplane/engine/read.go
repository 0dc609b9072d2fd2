package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// sendRead asks one device of the row that is in: a near one first, else spread over the columns by page.
// Devices that failed this read are not in any more, so the next choice is another one.
func (e *Engine) sendRead(x *extent) {
	c := e.chooseColumn(x, 0)
	if c < 0 {
		e.block(x)
		return
	}
	x.column = int8(c)
	e.sendReadOf(x, c, x.first, x.count, x.data, x.blocks)
}

func (e *Engine) sendReadOf(x *extent, c int, first, count uint16, data []byte, info []chunk.BlockInfo) {
	r := e.request(chunk.OpRead, e.devices[x.row[c]], x)
	r.Page, r.Block, r.Count, r.Data, r.Blocks = x.page, first, count, data, info
	x.waiting++
	e.send(r)
}

// chooseColumn picks a column that is in and not in the mask; -1 when there is none.
func (e *Engine) chooseColumn(x *extent, not uint32) int {
	best := -1
	for i := range x.row {
		c := (i + int(x.page)) % len(x.row)
		d := e.devices[x.row[c]]
		if d.state != devIn || not&(1<<c) != 0 {
			continue
		}
		if d.near {
			return c
		}
		if best < 0 {
			best = c
		}
	}
	return best
}

// afterRead looks at what a read brought.
func (e *Engine) afterRead(x *extent) {
	if x.failed != 0 {
		x.failed = 0
		e.Counters.Degraded++
		e.sendRead(x)
		return
	}
	for i := range x.blocks {
		switch x.blocks[i].State {
		case chunk.Bad:
			x.phase = phaseRepair
			x.repair = &repair{from: x.column}
			e.stepRepair(x)
			return
		case chunk.Absent, chunk.Tombstone:
			clear(blockOf(x, i))
		}
	}
	e.haveData(x)
}

// haveData carries on once every block of the extent is in x.data.
func (e *Engine) haveData(x *extent) {
	switch {
	case x.kind == extRead:
		e.finish(x, OK)
	case x.kind == extCopy:
		x.phase = phaseCopy
		e.proceedCopy(x)
	default: // a partial write: merge, then write the whole block
		copy(x.data[x.offset:], x.user)
		x.phase = phaseWrite
		e.proceedWrite(x)
	}
}

func blockOf(x *extent, i int) []byte {
	return x.data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
}

// repair walks over the bad blocks of a read, one at a time: read the block from another column until one has
// it, then write it again, same w, to the columns where it was bad. The extent's lock keeps writers away, so
// every column that is in holds the same version.
type repair struct {
	from    int8        // column of the first read
	w       cluster.Seq // version of this block: an older one in another column is no replacement
	index   int         // block being repaired; all before it are good
	bad     uint32      // columns where this block is bad
	writing bool
	reading bool
	again   bool // every column has been asked a second time
	ok      bool // the last request succeeded
}

func (e *Engine) repairDone(x *extent, r *chunk.Request) {
	p := x.repair
	p.ok = r.Status == chunk.OK
	if p.writing && p.ok {
		e.Counters.Repaired++
	}
}

// stepRepair is called whenever no request of the extent is outstanding.
func (e *Engine) stepRepair(x *extent) {
	p := x.repair
	if p.writing { // rewritten, or its device has failed and is dealt with as such
		p.writing = false
		p.index++
		p.bad, p.again = 0, false
	}
	if p.reading {
		p.reading = false
		e.repairRead(x)
		return
	}
	for p.index < len(x.blocks) && x.blocks[p.index].State != chunk.Bad {
		if x.blocks[p.index].State != chunk.Data {
			clear(blockOf(x, p.index))
		}
		p.index++
	}
	if p.index == len(x.blocks) {
		x.repair = nil
		e.haveData(x)
		return
	}
	if p.bad == 0 && !p.again {
		p.bad, p.w = 1<<p.from, x.blocks[p.index].W
	}
	e.readForRepair(x)
}

// readForRepair asks the next column for the block under repair.
func (e *Engine) readForRepair(x *extent) {
	p := x.repair
	c := e.chooseColumn(x, p.bad)
	if c < 0 {
		if e.mayComeBack(x, p.bad) {
			e.block(x)
			return
		}
		if p.again {
			e.finish(x, Media)
			return
		}
		// Another read may have repaired a column since: ask all of them once more before giving up.
		p.again, p.bad = true, 0
		if c = e.chooseColumn(x, 0); c < 0 {
			e.block(x)
			return
		}
	}
	x.column, p.reading = int8(c), true
	i := p.index
	e.sendReadOf(x, c, x.first+uint16(i), 1, blockOf(x, i), x.blocks[i:i+1])
}

// mayComeBack reports whether a column that has not been asked is only out of reach: then the read waits for
// it.
func (e *Engine) mayComeBack(x *extent, asked uint32) bool {
	for c, id := range x.row {
		if asked&(1<<c) == 0 && e.devices[id].state == devSuspect {
			return true
		}
	}
	return false
}

// repairRead looks at the answer to readForRepair.
func (e *Engine) repairRead(x *extent) {
	p := x.repair
	info := &x.blocks[p.index]
	switch {
	case !p.ok:
		info.State = chunk.Bad
		e.readForRepair(x)
	case info.State == chunk.Bad, info.W < p.w:
		info.State = chunk.Bad
		p.bad |= 1 << x.column
		e.readForRepair(x)
	default:
		e.rewrite(x)
	}
}

// rewrite puts the good block where it was bad.
func (e *Engine) rewrite(x *extent) {
	p := x.repair
	info := x.blocks[p.index : p.index+1]
	p.writing = true
	if info[0].State != chunk.Data {
		clear(blockOf(x, p.index))
	}
	for c, id := range x.row {
		d := e.devices[id]
		if p.bad&(1<<c) == 0 || d.state != devIn || info[0].W == 0 {
			continue
		}
		op := chunk.OpWrite
		if info[0].State == chunk.Tombstone {
			op = chunk.OpTombstone
		}
		r := e.request(op, d, x)
		r.Page, r.Block, r.Count, r.W = x.page, x.first+uint16(p.index), 1, info[0].W
		if op == chunk.OpWrite {
			r.Data, r.Blocks = blockOf(x, p.index), info
		}
		x.waiting++
		e.send(r)
	}
	if x.waiting == 0 {
		e.stepRepair(x)
	}
}
