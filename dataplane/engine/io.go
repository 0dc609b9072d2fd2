package engine

import (
	"hash/crc32"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// start begins an extent that holds its locks.
func (e *Engine) start(x *extent) {
	x.phase = phaseRead
	if !x.reads() {
		x.phase = phaseWrite
	}
	e.proceed(x)
}

// reads reports whether the extent begins with a read: host reads, partial blocks and resync copies.
func (x *extent) reads() bool { return x.kind == extRead || x.kind == extCopy || x.partial }

// proceed carries an extent on when none of its requests is outstanding.
func (e *Engine) proceed(x *extent) {
	if e.mode == modeStopped {
		e.finish(x, PathGone)
		return
	}
	switch x.phase {
	case phaseRead:
		e.sendRead(x)
	case phaseRepair:
		e.stepRepair(x)
	case phaseWrite, phaseUndo:
		e.proceedWrite(x)
	case phaseCopy:
		e.proceedCopy(x)
	}
}

// extentDone takes the answer to one request of an extent.
func (e *Engine) extentDone(x *extent, d *device, r *chunk.Request) {
	x.waiting--
	switch {
	case r.Status == chunk.OK, r.Status == chunk.Fenced:
	case r.Status == chunk.Full && d.state != devResync:
		x.full = true // the device is well
	default:
		e.deviceFailed(d)
	}
	switch x.phase {
	case phaseRepair:
		e.repairDone(x, r)
	case phaseWrite, phaseUndo:
		if r.Status != chunk.OK {
			x.failed |= 1 << columnOf(x, r.Device)
		} else {
			d.stableSent = max(d.stableSent, r.Stable)
		}
	case phaseRead, phaseCopy:
		if r.Status != chunk.OK {
			x.failed = 1
		}
	}
	if x.waiting == 0 && !x.blocked {
		e.proceedAfter(x)
	}
}

// proceedAfter decides what follows once all answers are in.
func (e *Engine) proceedAfter(x *extent) {
	if e.mode == modeStopped {
		e.finish(x, PathGone)
		return
	}
	switch x.phase {
	case phaseRead:
		e.afterRead(x)
	case phaseRepair:
		e.stepRepair(x)
	case phaseWrite, phaseUndo:
		e.afterWrite(x)
	case phaseCopy:
		e.proceedCopy(x)
	}
}

func columnOf(x *extent, id cluster.DeviceID) int {
	for c, d := range x.row {
		if d == id {
			return c
		}
	}
	panic("engine: answer from a device outside the row")
}

// finish ends an extent: counts it for its operation and lets waiting extents start.
func (e *Engine) finish(x *extent, s Status) {
	if x.w != 0 && s != PathGone {
		e.win.complete(x.w.Counter())
	}
	op, kind, count := x.op, x.kind, x.count
	if op != nil && kind == extRead && x.partial && s == OK {
		copy(x.user, x.data[x.offset:])
	}
	e.release(x)
	e.freeExtent(x)
	if op != nil {
		e.partDone(op, s)
	}
	if kind == extCopy {
		e.copyFinished(count, s)
	}
}

// proceedWrite sends a write, or its undo, to every column that has not got it yet.
func (e *Engine) proceedWrite(x *extent) {
	if x.w == 0 {
		if e.lacksSpace(x) {
			e.finish(x, NoSpace)
			return
		}
		x.w = cluster.MakeSeq(e.cfg.Owner.Epoch, e.win.take())
		x.failed = 1<<len(x.row) - 1 // every column is still to be written
		if x.kind == extWrite {
			sumBlocks(x)
		}
	}
	todo := x.failed
	x.failed = 0
	for c, id := range x.row {
		if todo&(1<<c) == 0 {
			continue
		}
		switch d := e.devices[id]; d.state {
		case devIn, devResync:
			e.sendWrite(x, d)
		case devSuspect:
			x.failed |= 1 << c
		}
	}
	if x.waiting == 0 {
		e.afterWrite(x)
	}
}

// afterWrite finishes a write that has reached every device that counts, sends it again to one that answers
// again, or parks it. A write that finds no space on a device is undone on all, and only then refused.
func (e *Engine) afterWrite(x *extent) {
	if x.full {
		x.full, x.phase = false, phaseUndo
		x.failed = 1<<len(x.row) - 1
	}
	again := false
	for c, id := range x.row {
		if x.failed&(1<<c) == 0 {
			continue
		}
		switch e.devices[id].state {
		case devOut:
			x.failed &^= 1 << c // recorded out: it no longer counts
		case devIn, devResync:
			again = true
		}
	}
	switch {
	case again:
		e.proceedWrite(x)
	case x.failed != 0:
		e.block(x)
	case x.phase == phaseUndo:
		e.finish(x, NoSpace)
	default:
		e.finish(x, OK)
	}
}

func (e *Engine) sendWrite(x *extent, d *device) {
	op := chunk.OpWrite
	switch {
	case x.phase == phaseUndo:
		op = chunk.OpUndo
	case x.kind == extZero:
		op = chunk.OpTombstone
	}
	r := e.request(op, d, x)
	r.Page, r.Block, r.Count, r.W = x.page, x.first, x.count, x.w
	if op == chunk.OpWrite {
		r.Data, r.Blocks = x.data, x.blocks
	}
	x.waiting++
	e.send(r)
}

// lacksSpace refuses a write before it is sent when a device of the row is nearly full: a sent w has to be
// completed or undone. Tombstones give space back and always pass.
func (e *Engine) lacksSpace(x *extent) bool {
	if x.kind == extZero {
		return false
	}
	for _, id := range x.row {
		d := e.devices[id]
		if d.state == devIn && d.freeKnown && d.free < e.cfg.ReserveBlocks+uint64(x.count) {
			d.short = true
			return true
		}
	}
	return false
}

func sumBlocks(x *extent) {
	table := castagnoli()
	for i := range x.blocks {
		b := x.data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
		x.blocks[i] = chunk.BlockInfo{CRC: crc32.Update(0, table, b), State: chunk.Data, W: x.w}
	}
}

// castagnoli is the CRC32C table; the standard library makes it once and uses the CPU's instruction.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
