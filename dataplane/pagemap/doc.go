// Package pagemap is the pure core of the page store: the map of one device from (volume, page, column,
// block) to the versions held of that block, and from there to free space. It does no I/O and has no lock:
// its caller serialises.
//
// # A state machine over records
//
// The map changes only by Apply(Record), and what Apply does depends on nothing but the map and the record.
// The store writes a record to its log, applies it when the log is durable, and applies the same records in
// the same order after a crash: both give the same map, and space is free in one exactly when it is free in
// the other. Three things stand beside the records: space is allocated before a Put is logged (Alloc,
// Release; Claim in recovery), Purge gives back the space of dropped volumes in pieces, and MarkBad notes
// what a read found. A bad version is only ever replaced by a record that says so (Record.Replace), so the
// note need not be logged.
//
// # Versions
//
// A block has a list of versions, newest (largest W) first. A version is data in one 4 KiB block of the
// device, or a tombstone, and may be marked bad: it exists, its data is lost, and no older version takes its
// place. It keeps the write set of its row write and the present mask of the row (Columns).
//
// All that is held of a chunk, a (page, column), is held under one residency (chunk.Residency). A Put under a
// higher number frees all of it first; DropChunk frees it, and then no number is remembered; Renumber takes
// all of it along. Whoever names a lower number is to be refused (Superseded), a higher one sees nothing.
//
// W is stable when it is not above the stable mark of its own epoch and not one of its holes, or its epoch is
// below the volume's settled epoch. A mark says nothing about other epochs. Marks only grow (Mark.Merge).
//
// A version is freed when nobody needs it: neither the present nor any pin of the view list sees it, or those
// who do see a newer version of the block too that is stable and not bad, and of the same epoch unless this
// version's epoch is settled (superseded). A version that nobody sees at all, because a revert has hidden it,
// goes when it is stable. sight decides this for one block, in one walk.
//
// A newest stable tombstone with nothing under it is dropped, unless its residency lies over another device's
// (chunk.Residency.Overlay): there it hides what is below. Nothing older can come after it: a row write that
// is not complete, a hole, holds its row against newer ones.
//
// # Space
//
// Every block of the device is free, live (referenced by exactly one version) or pending (allocated by a
// write in flight, or of a dropped volume not yet purged); free + live + pending = total. Check proves it by
// walking the map.
//
// # Snapshots of the map
//
// BeginSnapshot and Snapshot.Next walk the map in bounded pieces for a checkpoint, while it goes on changing.
// What they emit is the state at BeginSnapshot: a chunk about to change that was not emitted yet is emitted
// first.
//
// # Images
//
// An image is some versions of one chunk as bytes, little-endian: what is kept in memory of a chunk that is
// at rest, and what a checkpoint keeps of any chunk. It has no checksum and no version of its own; what it is
// embedded in has. The first byte is the form.
//
// Runs: blocks that were written one after the other, as after a sequential fill. 280 bytes for 64 blocks.
//
//	 0   1      2     3      4
//	+---+------+-----+------+-------------+-----------+----------+
//	| 1 | D-1  | n-1 | R-1  | D * entry   | R * run   | n * CRC  |  CRC32C of the blocks, u32,
//	+---+------+-----+------+-------------+-----------+----------+  by descending block
//
//	entry: | upper half of W u32 | set u16 | mask u16 |   of a dictionary: few are shared by many blocks
//	run:   | first block u8 | its number among the n u8 | entry u8 | step u8 | lower half of W u32 | loc u32 |
//
// The i-th block of a run has the sequence W + i * step, step 0 (one write) or 1 (a write each), and lies at
// loc + i. Runs are ascending.
//
// Array: any blocks. 852 bytes for 64 blocks with one entry. It needs no other form beside it: with as many
// entries as blocks it holds whatever those say.
//
//	 0   1      2     3    4
//	+---+------+-----+----+----------+-------------+-------------------------------------------------+
//	| 2 | D-1  | n-1 | B  | B * u64  | D * entry   | n * { lower half of W u32, loc u32, CRC u32,    |
//	+---+------+-----+----+----------+-------------+       entry u8 }, by descending block           |
//	                       bitmap of the blocks    +-------------------------------------------------+
//
// In memory both have room before what there is of each block. That part grows backwards from the end and the
// rest forwards, so neither is in the way of the other; and where a block of a full chunk lies does not
// depend on what the front says.
//
// Versions: anything, several versions of a block, tombstones and bad ones included, by block and descending
// W.
//
//	 0   1   2     4
//	+---+---+-----+------------------------------------------------------------------------------------+
//	| 3 | 0 | n-1 | n * { W u64, loc u32, CRC u32, set u16, mask u16, block u8, flags u8 }              |
//	+---+---+-----+------------------------------------------------------------------------------------+
//
// flags: 1 tombstone (loc and CRC are 0), 2 bad.
//
// # Memory
//
// A version takes 32 bytes in slabs without pointers, a block of a chunk 4 bytes (the head of its list), a
// chunk about 160: 39 bytes per 4 KiB of a filled 256 KiB chunk.
package pagemap
