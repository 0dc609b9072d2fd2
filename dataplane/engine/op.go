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
	Media           // every copy of a block is unreadable
)

// Op is one host operation. The submitter keeps it alive and leaves Data alone until it comes back in
// Ready.Done; then it may be reused.
type Op struct {
	Kind    Kind
	LBA     uint64 // in units of 512 B
	Sectors uint32 // length in units of 512 B, at least 1
	Data    []byte // Sectors * 512; nil for Zero
	Status  Status
	Tag     any // the submitter's

	parts int // extents not finished
}

const sectorsPerBlock = cluster.BlockSize / cluster.LBASize

type extKind uint8

const (
	extRead extKind = iota
	extWrite
	extZero
	extCopy // resync: read here, write to one device
)

type phase uint8

const (
	phaseQueued phase = iota // waits for an earlier conflicting extent
	phaseRead                // read sent
	phaseWrite               // writes sent, or some of them to be sent again
	phaseUndo                // the same with the removal of a write that found no space
	phaseRepair              // reading and rewriting bad blocks one by one
	phaseCopy                // resync: writing to the target
)

// extent is the part of an operation within one page: the unit of locking and of chunk requests.
type extent struct {
	kind    extKind
	phase   phase
	partial bool // covers less than a block: merged into bounce under the lock
	blocked bool // in Engine.blocked: waits for a device or a record
	full    bool // write: a device has no space for it
	column  int8 // read: column asked last
	first   uint16
	count   uint16
	page    uint64
	row     []cluster.DeviceID
	w       cluster.Seq
	op      *Op
	data    []byte // count blocks: the host's buffer, or bounce
	user    []byte // partial: the host's bytes
	offset  int    // partial: where user begins in the block
	blocks  []chunk.BlockInfo
	waiting uint32 // requests outstanding
	failed  uint32 // write: bit per column that has not got it, and counts; else not 0 when the request failed
	copied  int    // extCopy: blocks dealt with
	repair  *repair
}

// conflicts reports whether two extents of one bucket may not run at the same time.
func (x *extent) conflicts(y *extent) bool {
	return x.page == y.page && (x.kind != extRead || y.kind != extRead) &&
		x.first < y.first+y.count && y.first < x.first+x.count
}

// split cuts an operation into extents, in order of address, and gives each to f. A piece that covers less
// than one block becomes an extent of its own.
func (e *Engine) split(op *Op) {
	lba, left := op.LBA, uint64(op.Sectors)
	data := op.Data
	for left > 0 {
		block, inBlock := lba/sectorsPerBlock, lba%sectorsPerBlock
		page, offset := e.geo.Locate(block)
		n := min(left, sectorsPerBlock-inBlock)
		partial := n < sectorsPerBlock
		if !partial {
			blocks := min(left/sectorsPerBlock, e.geo.PageBlocks()-offset, chunk.MaxBlocks)
			n = blocks * sectorsPerBlock
		}
		var piece []byte
		if data != nil {
			piece, data = data[:n*cluster.LBASize:n*cluster.LBASize], data[n*cluster.LBASize:]
		}
		x := e.newExtent(page, uint16(offset), uint16(max(n/sectorsPerBlock, 1)))
		x.op, x.kind = op, kindOf(op.Kind)
		if partial {
			x.partial, x.user, x.offset = true, piece, int(inBlock)*cluster.LBASize
			x.data = e.newBounce()
			if x.kind == extZero { // part of a block: written as data
				x.kind, x.user = extWrite, e.zeroes[:n*cluster.LBASize]
			}
		} else {
			x.data = piece
		}
		op.parts++
		e.enqueue(x)
		lba, left = lba+n, left-n
	}
}

func kindOf(k Kind) extKind {
	switch k {
	case Write:
		return extWrite
	case Zero:
		return extZero
	}
	return extRead
}
