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
	OpTombstone Op = 0x80 // blocks become absent as of W; no data
	OpWrite     Op = 0x81 // new versions W of blocks
	OpRead      Op = 0x82 // newest versions not after W (0: newest of all)
	OpUndo      Op = 0x84 // remove version W of blocks durably
	OpList      Op = 0x86 // inventory of a volume on a device
	OpFence     Op = 0x88 // refuse smaller owner epochs from now on, durably
	OpBegin     Op = 0x8c // begin residency Residency, empty; everything held under another number is purged
	OpSettle    Op = 0x90 // versions of epochs before Epoch are resolved on this device
	OpStable    Op = 0x94 // only brings the stable mark
)

// MaxBlocks is the largest number of blocks of one read, write, tombstone or undo: a chunk of 1 MiB.
const MaxBlocks = cluster.MaxChunkSize / cluster.BlockSize

// MaxEntries bounds one reply to OpList.
const MaxEntries = 4096

// Status is the outcome of a request.
type Status uint8

// The outcomes. Only OK says anything about data; Unreachable says nothing, not even that the request was not
// carried out.
const (
	OK          Status = iota
	Fenced             // a higher owner epoch is known here: the sender is no longer the owner
	NotMine            // unknown device or another residency: this is not "absent"
	Full               // no space; nothing was changed
	IOError            // the device failed
	Invalid            // malformed request
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

// The states of a block. Data and Absent are facts. Bad means that a record exists but its data fails its
// CRC: no older version is given in its place.
const (
	Absent State = iota
	Data
	Tombstone
	Bad
)

// BlockInfo describes one block of a read or write.
type BlockInfo struct {
	W     cluster.Seq // version; 0 when absent
	CRC   uint32      // CRC32C of the 4 KiB
	Mask  uint16      // present mask (parity columns; reserved while n = 1)
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

// Entry is one version in the inventory of a volume.
type Entry struct {
	Cursor
	State State
}

// ListMode selects what OpList returns.
type ListMode uint8

// The modes.
const (
	ListAll      ListMode = iota // the newest version of every block
	ListUnstable                 // every version newer than the stable mark
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
	Epoch     uint32 // owner epoch of the sender
	Residency uint32
	Block     uint16 // first block within the chunk
	Count     uint16 // blocks; OpList: entries wanted at most
	Page      uint64
	W         cluster.Seq
	Stable    cluster.Seq // every write of the sender's epoch up to here is complete
	After     Cursor      // OpList: continue behind this position

	Data   []byte      // Count * 4 KiB: to write, or to be filled; untouched for blocks that are not Data
	Blocks []BlockInfo // Count: CRC and Mask to write, or to be filled

	Result    // filled by whoever carries it out
	Completer Completer
	Tag       any // the sender's
}

// Result is the answer to a request.
type Result struct {
	Status  Status
	Known   uint32  // Fenced, OpFence: highest owner epoch known to the device
	Free    uint64  // free blocks of the device
	Entries []Entry // OpList: filled up to its capacity or Count
	More    bool    // OpList: call again with After = the last entry
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
	case OpRead, OpWrite, OpTombstone, OpUndo:
		if r.Count == 0 || int(r.Block)+int(r.Count) > MaxBlocks {
			return fmt.Errorf("%w: blocks %d+%d", Invalid, r.Block, r.Count)
		}
		if r.Op != OpRead && (r.W == 0 || r.W.Epoch() > r.Epoch) {
			return fmt.Errorf("%w: sequence %v under epoch %d", Invalid, r.W, r.Epoch)
		}
	case OpList:
		if r.Count == 0 || r.Count > MaxEntries || r.Mode > ListUnstable {
			return fmt.Errorf("%w: list %d entries, mode %d", Invalid, r.Count, r.Mode)
		}
	case OpBegin:
		if r.Residency == 0 {
			return fmt.Errorf("%w: residency 0", Invalid)
		}
	case OpFence, OpSettle, OpStable:
	default:
		return fmt.Errorf("%w: operation %#x", Invalid, uint8(r.Op))
	}
	if (r.Op == OpRead || r.Op == OpWrite) && (len(r.Data) != r.Bytes() || len(r.Blocks) != int(r.Count)) {
		return fmt.Errorf("%w: %d blocks with %d bytes", Invalid, r.Count, len(r.Data))
	}
	return nil
}
