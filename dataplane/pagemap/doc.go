// Package pagemap is the pure core of the page store: the map of one device from (volume, page, column,
// block) to the versions held of that block, and from there to free space. It does no I/O and has no lock:
// its caller serialises.
//
// # A state machine over records
//
// The map changes only by Apply(Record), and what Apply does depends on nothing but the map and the record.
// The store writes a record to its log, applies it when the log is durable, and applies the same records in
// the same order after a crash: both give the same map. Three things stand beside the records: space is
// allocated before a Put is logged (Alloc, Release; Claim in recovery), Purge gives back the space of dropped
// volumes and of pins in pieces (recovery lets it end after every record, so that all is free that was when
// the next one was written), and MarkBad notes what a read found. A bad version is only ever replaced by a
// record that says so (Record.Replace), so the note need not be logged.
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
// goes when it is stable. sight decides this for one block, in one walk. When a pin goes, the chunks are told
// in pieces (sweep.go).
//
// A newest stable tombstone with nothing under it is dropped, unless its residency lies over another device's
// (chunk.Residency.Overlay), or the volume is a clone: there it hides what is below. Nothing older can come
// after it: a row write that is not complete, a hole, holds its row against newer ones.
//
// # Space
//
// Of the data blocks of a volume most answer reads at present; the pinned ones answer reads as of pins only;
// the reclaimable ones answer nobody, and are kept until what lies above them is stable, settled or repaired.
// VolumeState counts them (census). A write after a snapshot takes the blocks that it writes and no more. How
// much each pin holds, alone or with others, is counted when somebody asks, in pieces (Survey).
//
// Every block of the device is free, live (referenced by exactly one version) or pending (allocated by a
// write in flight, or of a dropped volume not yet purged); free + live + pending = total. Check proves it by
// walking the map.
//
// # Snapshots of the map
//
// BeginSnapshot, Snapshot.Changes and Snapshot.Round walk the map in bounded pieces for a checkpoint, while
// it goes on changing. What they emit is the state at BeginSnapshot: a chunk about to change that was not
// emitted yet is emitted first.
//
// # Images
//
// An image is one version of each of some blocks of a chunk as bytes, little-endian: what is kept of a chunk
// that is at rest, in memory and in checkpoints. It has no checksum and no version of its own; what it is
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
// The i-th block of a run has the sequence W, with step 0, or W + i>>(step-1): writes of 1, 2, 4 ... 128
// blocks each. It lies at loc + i. Runs are ascending.
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
// # Memory
//
// Nearly every block of a device has one version that nobody has to think about. So the oldest version of a
// block is at rest, packed with those of its chunk, as soon as it is data, stable and not bad; what is
// newer than that, or is not like that, is in flux: a node of 32 bytes in a list. A stable version that
// replaces one at rest is written over it, in constant time. A read looks at the list, then at what is at
// rest.
//
//	     page --- hash, leaves ---> chunk (32 bytes)
//	                                  |        |
//	                      packed blob v        v flux blob: bitmap, heads
//	oldest version of each block              block -> node -> node ->   (older ones, down to the packed)
//
// What depends on the size of the device lies in memory that the caller gives (NewIn), outside the Go heap,
// in bytes per block of 4 KiB of chunks of 64:
//
//	                        in order   at random
//	packed                  4.5        14.0        288 and 896 bytes
//	chunk, hash, leaves     0.8        0.8         32, 9 to 18, 4 to 8 bytes
//	free blocks             0.1        0.1
//
// A version in flux adds 36 bytes and a bit. On the Go heap are: directories of the hash and the leaves
// (about 0.3 bytes per chunk), 8 bytes for each slab of 64 KiB, and queues: of what is not stable, by
// extent, and of blocks that wait for a settlement.
//
// Nothing is moved in bulk, so no operation stops for long: the hash splits a page of 2 KiB at a time, and
// the leaves likewise. Fragmentation is bounded: blobs of one size (16 to 128 bytes apart, 80 sizes) fill
// their slabs without gaps, as the last one moves into a gap; of their slabs 10 % at worst are too short
// for another blob, and one per size is not full. A packed blob is at most a third longer than needed after
// blocks were trimmed, and a dictionary twice as long. Nodes, chunks and pages stay where they are: their
// slabs are kept for their like, so of these the map holds the largest number that there ever was at a
// time. Blobs of more than 64 GiB are not foreseen: 8 TiB of which every block is alone in its chunk.
package pagemap
