package pagemap

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// MaxChunkBlocks is the largest number of 4 KiB blocks of a chunk (1 MiB).
const MaxChunkBlocks = 256

// Extent names N consecutive 4 KiB blocks of one chunk: the part of a page of a volume that lies on one
// column.
type Extent struct {
	Vol    cluster.VolumeKey
	Page   uint64
	Column uint8
	First  uint16 // block within the chunk
	N      uint16 // blocks, First+N <= MaxChunkBlocks
}

// Validate checks the ranges.
func (e Extent) Validate() error {
	if !e.Vol.Valid() {
		return fmt.Errorf("volume key %v out of range", e.Vol)
	}
	if e.N == 0 || int(e.First)+int(e.N) > MaxChunkBlocks {
		return fmt.Errorf("blocks %d+%d of a chunk, at most %d", e.First, e.N, MaxChunkBlocks)
	}
	return nil
}

// String gives "vol/page/column[first+n]".
func (e Extent) String() string {
	return fmt.Sprintf("%v/%d/%d[%d+%d]", e.Vol, e.Page, e.Column, e.First, e.N)
}

// State says what the map holds of a block.
type State uint8

// The states of a block.
const (
	Absent    State = iota // no version
	Data                   // a version with data
	Tombstone              // a version that says: nothing here since W
	Bad                    // a version exists but its data is lost; no older version takes its place
)

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
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Cursor is a position in the versions of a volume, ordered by page, column, block and descending W: the
// newest version of a block comes first.
type Cursor struct {
	Page   uint64
	Column uint8
	Block  uint16
	W      cluster.Seq
}

// Entry is one listed version.
type Entry struct {
	Cursor
	State State
	CRC   uint32 // CRC32C of the 4 KiB; 0 for a tombstone
	Mask  uint16
}
