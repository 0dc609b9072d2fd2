package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Kind is what a host operation does.
type Kind uint8

// The host operations.
const (
	Read Kind = iota
	Write
	Zero // write zeroes or deallocate: the range reads as zeroes afterwards
)

// Status is the outcome of a host operation.
type Status uint8

// The outcomes.
const (
	OK       Status = iota
	PathGone        // this engine no longer serves; the host must use another path
	NoSpace         // capacity exceeded, nothing was written
	Media           // a block cannot be had from any n columns
	// OutOfRange: a shrink has cut off what was to be changed.
	OutOfRange
)

// Op is one host operation. The submitter keeps it alive and leaves Data alone until it comes back in
// Ready.Done; then it may be reused.
type Op struct {
	Kind    Kind
	LBA     uint64      // in units of 512 B
	Sectors uint32      // length in units of 512 B, at least 1
	Data    []byte      // Sectors * 512; nil for Zero
	AsOf    cluster.Seq // Read: as of this pin of the view list; 0 for the present
	Status  Status
	Tag     any // the submitter's

	parts int    // extents not finished
	then  func() // of the engine's own operations: called at the end, instead of Ready.Done
}

const sectorsPerBlock = cluster.BlockSize / cluster.LBASize

type extKind uint8

const (
	extRead     extKind = iota // host read of cells: shared with everything but a change of these very cells
	extRows                    // host read that needs whole rows: shared with reads
	extWrite                   // host write or zero: alone on its rows
	extInternal                // work of the engine's own, alone on its rows
)

// extent is the part of an operation within one page: the unit of locking.
type extent struct {
	kind    extKind
	started bool
	partial bool // covers a part of one block
	failed  bool // read: a column did not give what was asked
	page    uint64
	off     uint16 // first block within the page
	count   uint16 // blocks
	row     uint16 // first block row
	rows    uint16
	inBlock uint16 // partial: where data begins in its block
	unit    uint16 // of a host: blocks that are read and written as one, see [Packer]; 1: each alone
	waiting uint32 // requests outstanding
	op      *Op
	data    []byte   // the host's: count blocks, or a part of one; nil for Zero
	bounce  [][]byte // read: where columns are read to
	info    []chunk.BlockInfo
	absent  []uint16 // read of a clone: blocks that the parent shows, by their place in the page
	parent  Status   // read of a clone: the worst answer of the parent
	run     func()   // extInternal: called when the lock is held
}

// conflicts reports whether two extents of one page may not run at the same time.
func (x *extent) conflicts(y *extent) bool {
	if x.page != y.page || x.kind <= extRows && y.kind <= extRows {
		return false
	}
	if x.kind == extRead && y.kind == extWrite || x.kind == extWrite && y.kind == extRead {
		first, end := x.cells()
		other, otherEnd := y.cells()
		return first < otherEnd && other < end
	}
	return x.row < y.row+y.rows && y.row < x.row+x.rows
}

// cells are the blocks [first, end) of the page that an extent of a host reads or writes: its own, and what
// lies in one unit with them.
func (x *extent) cells() (first, end uint16) {
	return x.off &^ (x.unit - 1), (x.off + x.count + x.unit - 1) &^ (x.unit - 1)
}

// split cuts an operation into extents, in order of address, and enqueues them. A piece that covers less than
// one block becomes an extent of its own.
func (e *Engine) split(op *Op) {
	lba, left := op.LBA, uint64(op.Sectors)
	data := op.Data
	for left > 0 {
		block, inBlock := lba/sectorsPerBlock, lba%sectorsPerBlock
		page, offset := e.geo.Locate(block)
		n := min(left, sectorsPerBlock-inBlock)
		partial := n < sectorsPerBlock
		if !partial {
			n = min(left/sectorsPerBlock, e.geo.PageBlocks()-offset) * sectorsPerBlock
		}
		x := e.newExtent(kindOf(op.Kind), page, offset, max(n/sectorsPerBlock, 1))
		x.op, x.partial, x.inBlock = op, partial, uint16(inBlock*cluster.LBASize)
		if data != nil {
			x.data, data = data[:n*cluster.LBASize:n*cluster.LBASize], data[n*cluster.LBASize:]
		} else if partial { // part of a block: written as data
			x.data = e.zeroes[:n*cluster.LBASize]
		}
		op.parts++
		e.enqueue(x)
		lba, left = lba+n, left-n
	}
}

func kindOf(k Kind) extKind {
	if k == Read {
		return extRead
	}
	return extWrite
}

// newExtent makes an extent of blocks of a page.
func (e *Engine) newExtent(kind extKind, page, offset, count uint64) *extent {
	x := e.pools.extent()
	x.kind, x.page, x.off, x.count, x.unit = kind, page, uint16(offset), uint16(count), e.unit
	first, end := x.cells()
	x.row, x.rows = e.geo.RowSpan(uint64(first), uint64(end-first))
	return x
}

// finish ends an extent of a host and lets waiting extents start.
func (e *Engine) finish(x *extent, s Status) {
	op := x.op
	e.release(x)
	e.freeExtent(x)
	e.partDone(op, s)
}
