package pagemap

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// MaxChunkBlocks is the largest number of 4 KiB blocks of a chunk (1 MiB).
const MaxChunkBlocks = chunk.MaxBlocks

// Extent names N consecutive 4 KiB blocks of one chunk: the part of a page of a volume that lies on one
// column, as it is under a residency.
type Extent struct {
	Vol       cluster.VolumeKey
	Page      uint64
	Residency chunk.Residency
	Column    uint8
	First     uint16 // block within the chunk
	N         uint16 // blocks, First+N <= MaxChunkBlocks
}

// Validate checks the ranges.
func (e Extent) Validate() error {
	if !e.Vol.Valid() {
		return fmt.Errorf("volume key %v out of range", e.Vol)
	}
	if e.N == 0 || int(e.First)+int(e.N) > MaxChunkBlocks {
		return fmt.Errorf("blocks %d+%d of a chunk, at most %d", e.First, e.N, MaxChunkBlocks)
	}
	if !validResidency(e.Residency) {
		return fmt.Errorf("residency %#x", uint64(e.Residency))
	}
	return nil
}

// validResidency tells whether a number is one: 56 bits, and not none.
func validResidency(r chunk.Residency) bool { return r != 0 && r>>columnShift == 0 }

func (e Extent) key() chunkKey { return chunkKey{e.Page, e.Column} }

// String gives "vol/page/column[first+n]".
func (e Extent) String() string {
	return fmt.Sprintf("%v/%d/%d[%d+%d]", e.Vol, e.Page, e.Column, e.First, e.N)
}

// State says what the map holds of a block.
type State = chunk.State

// The states of a block. Bad: a version exists but its data is lost; no older version takes its place.
const (
	Absent    = chunk.Absent
	Data      = chunk.Data
	Tombstone = chunk.Tombstone
	Bad       = chunk.Bad
	Torn      = chunk.Torn
)

// Cursor is a position in the versions of a volume, ordered by page, column, block and descending W: the
// newest version of a block comes first.
type Cursor struct {
	Page   uint64
	Column uint8
	Block  uint16
	W      cluster.Seq
}

// Columns are the data columns that a version is about, bit per column.
type Columns struct {
	Set  uint16 // write set: those that the row write changed
	Mask uint16 // present mask: those that hold data, for a version of a parity column
}

// Entry is one listed version, or with ListChunks one chunk.
type Entry struct {
	Cursor
	Residency chunk.Residency
	State     State
	CRC       uint32 // CRC32C of the 4 KiB; 0 for a tombstone
	Columns
}
