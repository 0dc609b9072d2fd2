package chunk

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Op is what a request asks for. The values are the NVMe opcodes of the vendor commands: bits 1:0 give the
// direction of the data (NVMe base specification, Opcode field: 00 none, 01 host to controller, 10 back).
type Op uint8

// The operations. See the package documentation for the layout of each command.
const (
	OpWrite       Op = 0x81 // new versions W of blocks, with data
	OpTombstone   Op = 0x85 // blocks hold nothing as of W; records, no data
	OpRead        Op = 0x82 // newest versions not after W (0: newest of all)
	OpHead        Op = 0x86 // the records of OpRead without the data
	OpUndo        Op = 0x84 // remove version W of blocks durably
	OpDrop        Op = 0x88 // free all that is held of (page, column) under Residency and older numbers
	OpRenumber    Op = 0xa8 // what is held of (page, column) under an older number is held under Residency
	OpList        Op = 0x8a // inventory of a volume on a device
	OpFence       Op = 0x8e // refuse smaller owner epochs from now on, durably; a new request session begins
	OpSettle      Op = 0x8c // versions of epochs before Epoch are resolved on this device
	OpStable      Op = 0x8d // the stable mark W with its holes; Want blocks of credit
	OpJournalPut  Op = 0x91 // entries of the placement journal
	OpJournalList Op = 0x92 // the entries of the placement journal behind After
	OpJournalTrim Op = 0x94 // forget the entries that are gone and not newer than W
	OpJournalWipe Op = 0x98 // forget all entries: the device becomes a member of the journal
	OpView        Op = 0x95 // the view list
	OpInherit     Op = 0x9a // to the owner of a volume, for a clone: blocks from Page on as of the pin W
)

// MaxBlocks is the largest number of blocks of one read, write, tombstone or undo: a chunk of 1 MiB.
const MaxBlocks = cluster.MaxChunkSize / cluster.BlockSize

// MaxEntries bounds one reply to OpList, and the entries of one OpJournalPut or OpJournalList.
const (
	MaxEntries        = 4096
	MaxJournalEntries = 512
)

// MaxHoles bounds the writes that one stable mark may except.
const MaxHoles = 64

// Status is the outcome of a request.
type Status uint8

// The outcomes. Only OK says anything about data; Unreachable says nothing, not even that the request was not
// carried out.
const (
	OK          Status = iota
	Fenced             // a higher owner epoch is known here: the sender is no longer the owner
	NotMine            // unknown device, no session, or a newer residency is here: this is not "absent"
	Full               // no space; nothing was changed
	IOError            // the device failed
	Invalid            // malformed request
	Passed             // OpInherit: nothing of those pages is held here, ask the parent
	Unreachable        // no answer; made by the sender's side, never sent
)

// String names the status.
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Fenced:
		return "fenced"
	case NotMine:
		return "not mine"
	case Full:
		return "full"
	case IOError:
		return "io error"
	case Passed:
		return "passed"
	case Invalid:
		return "invalid"
	case Unreachable:
		return "unreachable"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Error implements error, so that a status can be wrapped.
func (s Status) Error() string { return "chunk: " + s.String() }

// State says what a device holds of a block.
type State uint8

// The states of a block. Data, Absent and Tombstone are facts. Bad means that a record exists but its data
// fails its CRC: no older version is given in its place. Torn is the same, of a write that failed, or
// that was under way at a power failure as far as the device can tell: it never said that the block is there.
// (Of a block among the very last it cannot tell whether it rotted since.)
const (
	Absent State = iota
	Data
	Tombstone
	Bad
	Torn
)

// Spoiled reports whether a record exists whose data is lost.
func (s State) Spoiled() bool { return s == Bad || s == Torn }

// String names the state.
func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Data:
		return "data"
	case Tombstone:
		return "tombstone"
	case Bad:
		return "bad"
	case Torn:
		return "torn"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// BlockInfo describes one block of a read or write.
type BlockInfo struct {
	W     cluster.Seq // version; 0 when absent
	CRC   uint32      // CRC32C of the 4 KiB; 0 for a tombstone
	Set   uint16      // write set of W: the data columns that it changed, bit per column
	Mask  uint16      // parity columns, present mask: the data columns that hold data as of W
	State State
}

// Cursor is a position in the inventory of a volume, ordered by page, column, block, and descending W within
// a block. The zero Cursor is before everything.
type Cursor struct {
	Page   uint64
	W      cluster.Seq
	Block  uint16
	Column uint8
}

// Entry is one version in the inventory of a volume, or with ListChunks one (page, column).
type Entry struct {
	Cursor
	Residency Residency
	Set       uint16
	State     State
}

// ListMode selects what OpList returns.
type ListMode uint8

// The modes.
const (
	ListAll      ListMode = iota // the newest version of every block
	ListUnstable                 // every version that is not stable
	ListChunks                   // one entry for every (page, column): the last cursor of it, and Residency
	ListBad                      // every version that is known to be bad
)

// Completer gets a request back when it is done: exactly once, from any goroutine, perhaps before Submit
// returns. Afterwards nobody but the receiver touches the request or its buffers.
type Completer interface {
	ChunkDone(*Request)
}

// Request is one chunk request, in both directions: the sender fills the first part, whoever carries it out
// the second. It is reused by its owner; buffers must stay untouched until it is done.
type Request struct {
	Op        Op
	Column    uint8
	Mode      ListMode
	Device    cluster.DeviceID
	Vol       cluster.VolumeKey
	Epoch     uint32    // owner epoch of the sender
	Residency Residency // OpWrite, OpTombstone, OpRead, OpHead, OpUndo, OpDrop, OpRenumber
	Block     uint16    // first block within the chunk
	Count     uint16    // blocks; OpList, OpJournalList: entries wanted at most
	Page      uint64
	W         cluster.Seq
	Stable    cluster.Seq // every write of the sender's epoch up to here is complete
	After     Cursor      // OpList, OpJournalList (see JournalEntry.Cursor): continue behind this position
	Want      uint32      // OpStable: blocks of credit that the sender would like to have

	Data   []byte      // OpWrite, OpRead: Count * 4 KiB; untouched for blocks that are not Data
	Blocks []BlockInfo // OpWrite, OpTombstone, OpRead, OpHead: Count, to write or to be filled
	Control

	Result    // filled by whoever carries it out
	Completer Completer
	Tag       any // the sender's
}

// Control is what requests about a volume as a whole carry.
type Control struct {
	// Holes are writes up to W that are not complete, ascending, at most MaxHoles (OpStable); filled by OpFence:
	// those up to Mark.
	Holes   []cluster.Seq
	Journal []JournalEntry // OpJournalPut: to store; OpJournalList: filled, at most Count
	View    View           // OpView
}

// Result is the answer to a request.
type Result struct {
	Status  Status
	Known   uint32 // Fenced, OpFence: highest owner epoch known to the device
	Settled uint32 // OpFence: the last epoch that settled this device for the volume
	Viewed  uint32 // OpFence: version of the view list that the device has
	Granted uint32 // credit, in blocks, granted since the request session began, modulo 2^32
	Free    uint64 // OpFence: free blocks of the device
	// Mark is the newest stable mark that the device has of the volume (OpFence): of that epoch, every write up
	// to it but Holes is complete.
	Mark    cluster.Seq
	Entries []Entry // OpList: filled up to its capacity or Count
	More    bool    // OpList, OpJournalList: call again with After = the last entry
}

// Complete hands the request back with a status.
func (r *Request) Complete(s Status) {
	r.Status = s
	r.Completer.ChunkDone(r)
}

// Bytes is the length of the data of Count blocks.
func (r *Request) Bytes() int { return int(r.Count) * cluster.BlockSize }

// Validate checks a request that came from another node: ranges and buffer lengths.
func (r *Request) Validate() error {
	if !r.Vol.Valid() {
		return fmt.Errorf("%w: volume %v", Invalid, r.Vol)
	}
	if r.Epoch == 0 || r.Epoch > cluster.MaxOwnerEpoch {
		return fmt.Errorf("%w: owner epoch %d", Invalid, r.Epoch)
	}
	switch r.Op {
	case OpWrite, OpTombstone, OpRead, OpHead, OpUndo:
		return r.validateBlocks()
	case OpDrop, OpRenumber:
		if r.Residency == 0 {
			return fmt.Errorf("%w: operation %#x of residency 0", Invalid, uint8(r.Op))
		}
	case OpList:
		if r.Count == 0 || r.Count > MaxEntries || r.Mode > ListBad {
			return fmt.Errorf("%w: list of %d entries, mode %d", Invalid, r.Count, r.Mode)
		}
	case OpJournalList:
		if r.Count == 0 || r.Count > MaxJournalEntries {
			return fmt.Errorf("%w: list of %d journal entries", Invalid, r.Count)
		}
	case OpJournalPut:
		return validateJournal(r.Journal, r.Epoch)
	case OpStable:
		return r.validateStable()
	case OpView:
		return validateView(&r.View)
	case OpFence, OpSettle, OpJournalTrim, OpJournalWipe:
	default:
		return fmt.Errorf("%w: operation %#x", Invalid, uint8(r.Op))
	}
	return nil
}

func (r *Request) validateBlocks() error {
	if r.Count == 0 || int(r.Block)+int(r.Count) > MaxBlocks {
		return fmt.Errorf("%w: blocks %d+%d", Invalid, r.Block, r.Count)
	}
	if r.Residency == 0 {
		return fmt.Errorf("%w: residency 0", Invalid)
	}
	if r.Op != OpRead && r.Op != OpHead && (r.W.Counter() == 0 || r.W.Epoch() > r.Epoch) {
		return fmt.Errorf("%w: sequence %v under epoch %d", Invalid, r.W, r.Epoch)
	}
	if (r.Op == OpRead || r.Op == OpWrite) && len(r.Data) != r.Bytes() {
		return fmt.Errorf("%w: %d blocks with %d bytes", Invalid, r.Count, len(r.Data))
	}
	if r.Op != OpUndo && len(r.Blocks) != int(r.Count) {
		return fmt.Errorf("%w: %d blocks with %d records", Invalid, r.Count, len(r.Blocks))
	}
	return nil
}

// MayPass in the residency of an OpInherit says that the sender knows the parent of the volume.
const MayPass Residency = 1

// ValidateInherit checks a request to the owner of a volume: a read for one of its clones. To devices it is
// no valid request.
func (r *Request) ValidateInherit() error {
	if r.Op != OpInherit || !r.Vol.Valid() || r.W.Counter() == 0 {
		return fmt.Errorf("%w: operation %#x of volume %v as of %v", Invalid, uint8(r.Op), r.Vol, r.W)
	}
	if r.Count == 0 || r.Count > MaxBlocks || r.Page > maxPage-uint64(r.Count) {
		return fmt.Errorf("%w: blocks %d+%d", Invalid, r.Page, r.Count)
	}
	if len(r.Data) != r.Bytes() || len(r.Blocks) != int(r.Count) {
		return fmt.Errorf("%w: %d blocks with %d bytes and %d records", Invalid, r.Count, len(r.Data),
			len(r.Blocks))
	}
	return nil
}

// Moves reports that 4 KiB blocks travel with an operation, either way.
func (o Op) Moves() bool { return o == OpWrite || o == OpRead || o == OpInherit }

func (r *Request) validateStable() error {
	if r.W.Epoch() != r.Epoch || len(r.Holes) > MaxHoles {
		return fmt.Errorf("%w: stable mark %v of epoch %d with %d holes", Invalid, r.W, r.Epoch, len(r.Holes))
	}
	return validateMark(r.W, r.Holes)
}

func validateMark(mark cluster.Seq, holes []cluster.Seq) error {
	for i, h := range holes {
		if h.Epoch() != mark.Epoch() || h > mark || i > 0 && h <= holes[i-1] {
			return fmt.Errorf("%w: hole %v of stable mark %v", Invalid, h, mark)
		}
	}
	return nil
}
