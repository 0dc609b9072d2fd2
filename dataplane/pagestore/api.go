package pagestore

import (
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// BlockSize is the unit of versions, checksums and allocation, in bytes.
const BlockSize = cluster.BlockSize

// Limits of metadata records, in bytes.
const (
	MaxMetaKey   = 255
	MaxMetaValue = 2048
)

// The errors of a Store. Test with errors.Is.
var (
	// ErrFull means that there is no room for new versions (or, for PutMeta, for more metadata). Nothing was
	// changed. Reads, Undo, DropVolume and stable marks still work, and bring space back.
	ErrFull = errors.New("device full")
	// ErrIO means that the device failed the operation. Whether a write that got it exists is unknown until it
	// is read: it may be absent, Data or Bad. When a log write or a flush fails the store stops writing for
	// good: all later changes get ErrIO, reads go on.
	ErrIO = errors.New("device I/O error")
	// ErrDamaged means that what is on the device contradicts what was promised durable there: a lost log
	// block, a broken checkpoint, two versions in one place. The device must be resynchronised as a lost one.
	ErrDamaged = errors.New("device damaged")
	// ErrForeign means that the device holds no page store, or one of another cluster, or another device.
	ErrForeign = errors.New("device is not this cluster's")
	// ErrVersion means that the device holds a page store in a format that this release does not read.
	ErrVersion = errors.New("unknown format")
	// ErrWrongDevice, which is an ErrForeign, means that the device is one of this cluster's, but another: disks
	// have changed their paths.
	ErrWrongDevice = fmt.Errorf("%w: a wrong device", ErrForeign)
	// ErrInvalid means that the request itself is wrong.
	ErrInvalid = errors.New("invalid request")
	// ErrConflict means that (block, W) exists with other content. One W is one content, for ever: the caller
	// has a bug or a fence was missed. Nothing was changed.
	ErrConflict = errors.New("sequence already holds other content")
	// ErrNotMine means that the chunk is held under a newer residency than the request names. Nothing was
	// changed.
	ErrNotMine = errors.New("a newer residency is held")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("page store closed")
)

// Write stores one version of consecutive blocks. The caller fills the exported fields, calls Store.Write and
// must leave the struct, Columns, CRC and Data alone until Done. The struct can be used again then, which
// saves allocations; a zero Write is ready for use.
type Write struct {
	pagemap.Extent
	W         cluster.Seq       // > 0; (block, W) already held with the same CRC: nothing to do, success
	Stable    cluster.Seq       // stable mark known to the owner, 0 for none. A hint: it may be lost, in a crash
	Tombstone bool              // the blocks hold nothing from W on; no CRC, no Data
	Columns   []pagemap.Columns // N, kept and returned by Read
	CRC       []uint32          // N: CRC32C (Castagnoli) of each 4 KiB, verified before anything is written
	Data      []byte            // N * 4 KiB
	// Done is called exactly once, from any goroutine, perhaps before Store.Write returns. nil: every block of
	// the version is durable.
	Done func(*Write, error)

	writeState
}

// BlockInfo is what Read found for one block.
type BlockInfo struct {
	State pagemap.State
	W     cluster.Seq // 0 when Absent
	CRC   uint32      // of the data, as it was written; also for Bad and Torn
	pagemap.Columns
}

// Read fetches the version of consecutive blocks that the present sees, or the view as of AsOf. The same
// ownership rules as for Write.
type Read struct {
	pagemap.Extent
	AsOf cluster.Seq // 0: the present
	Head bool        // fill Info only; what is not known to be bad is Data then
	// Data has N * 4 KiB, or nothing for Head. Blocks in state Data are filled and have passed their CRC; Bad
	// blocks are zeroed; the others are untouched.
	Data []byte
	Info []BlockInfo // N, filled
	// Done is called exactly once, from any goroutine, perhaps before Store.Read returns. A block that cannot be
	// read is Bad in Info, not an error: errors are ErrInvalid, ErrNotMine
	// and ErrClosed.
	Done func(*Read, error)

	readState
}

// ListKind selects what List returns.
type ListKind = pagemap.ListKind

// The kinds of lists.
const (
	ListAll      = pagemap.ListAll      // the newest version of every block
	ListUnstable = pagemap.ListUnstable // every version that is not stable
	ListVersions = pagemap.ListVersions // every version
	ListChunks   = pagemap.ListChunks   // every chunk
)

// VolumeInfo is what the store knows about a volume.
type VolumeInfo struct {
	Settled  uint32         // versions of epochs below are stable
	Marks    []pagemap.Mark // stable, ascending, one per epoch >= Settled, or the last one before
	View     chunk.View
	Versions uint64 // versions held, tombstones included
	Blocks   uint64 // 4 KiB of the device in use
	Unstable uint64 // versions that are not stable
	Sweeping bool   // not all has come back that only pins saw which are gone
}

// Stats are gauges and counters of a store.
type Stats struct {
	TotalBlocks   uint64 // 4 KiB data blocks of the device: Free + Live + Pending
	FreeBlocks    uint64
	LiveBlocks    uint64 // referenced by a version
	PendingBlocks uint64 // allocated by writes in flight, or of dropped volumes not yet purged
	DroppedBlocks uint64 // of PendingBlocks, the latter
	Tombstones    uint64
	BadVersions   uint64

	Incarnation uint64 // counts mounts of this device
	DurableLog  uint64 // position up to which the log is durable; it only ever grows
	Repaired    uint64 // checkpoint segments that one copy had lost, restored by Open from the other

	RAM     pagemap.RAM // what the map holds outside the Go heap
	Traffic Traffic
	Log     RingStats // the metadata log
	Ring    RingStats // the checkpoint ring, one copy
}

// Traffic counts what went to the device since Open, in bytes where not said otherwise.
type Traffic struct {
	DataBytes       uint64 // blocks written for Write
	LogBytes        uint64
	CheckpointBytes uint64 // both copies, superblocks included
	Commits         uint64 // groups
	Records         uint64 // log records
	Flushes         uint64
	Checkpoints     uint64
	CRCErrors       uint64 // blocks found Bad by Read
}

// RingStats describes a region that is written round and round, in bytes.
type RingStats struct {
	Bytes uint64
	Used  uint64 // what recovery would read; for the log: not yet covered by a durable checkpoint
}
