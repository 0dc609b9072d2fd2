// Package pagestore keeps versions of 4 KiB blocks on one device, durably. A write is acknowledged when its
// data and its log record would survive power loss; nothing is overwritten in place; every block read has
// passed its CRC32C or is reported as bad.
//
// # Contract
//
//   - A version is (volume, page, column, block, W). Write adds one, and is idempotent: one W is one content.
//   - A (page, column) is held under one residency. A Write under a higher one frees what is held of it, in
//     the same step as it becomes visible; whoever names a lower one gets ErrNotMine.
//   - After any power cut, every acknowledged version that a newer stable one has not superseded is there,
//     bit for bit. A version that was not acknowledged is there, absent, or bad: it exists, its data does
//     not.
//   - A bad version stays, hides what is older, and is replaced by writing it again or removed by Undo.
//   - Space comes back when a newer version is stable (SetStable, Write.Stable, Settle), by Undo, DropChunk,
//     DropVolume, and when SetView takes pins away. Who needs a version is decided by package pagemap.
//   - Full means ErrFull, for writes. Tombstones, Undo, DropVolume and metadata have room of their own.
//   - When the device fails the log, a checkpoint or a flush, the store stops changing: nothing can be
//     promised any more. Reads go on. A device whose content contradicts what was durable is refused with
//     ErrDamaged.
//
// How changes become durable is told at the top of log.go, how checkpoints are taken in checkpoint.go, what
// bounds them in room.go, how a store comes back in recover.go and load.go.
//
// # Layout, in blocks of 4 KiB
//
//	+------------+----------+--------------+-------------+--------------+------------+
//	| superblock | log ring | checkpoint   | data blocks | checkpoint   | superblock |
//	| 0          |          | ring, copy 0 |             | ring, copy 1 | the last   |
//	+------------+----------+--------------+-------------+--------------+------------+
//
// The log is 1/256 of the device by default, 1/64 where the logical block is 4 KiB. A checkpoint ring has
// room for two checkpoints of the largest map, at 36 bytes per data block, and of at most 256 MiB of
// metadata: both copies together take 3.6 % of a large device. They lie far apart and are never written at
// the same time, so that no one write, torn or gone astray, spoils both.
//
// Both rings are written in blocks as long as they need to be, of whole units: a unit is the logical block of
// the device when it was formatted. A position counts units since the ring was new, and lies at position
// modulo length; a block may go on at the start of the ring. Everything is little-endian. All metadata blocks
// begin with the same header:
//
//	 0        4      6      7      8        12     16          32          48     56     64     72
//	+--------+------+------+------+--------+------+-----------+-----------+------+------+------+---------
//	| magic  | fmt  | kind | 0    | CRC32C | used | cluster   | device id | inc  | seq  | aux  | payload,
//	| "ASHL" | 4    | u8   | u8   | u32    | u32  | UUID      | UUID      | u64  | u64  | u64  | used B
//	+--------+------+------+------+--------+------+-----------+-----------+------+------+------+---------
//
// CRC32C is that of the whole block, its padding included, with this field as zero. inc is the incarnation:
// it counts mounts. The ids are there because a block of another device, or of this one before it was
// formatted, must never be taken for ours. fmt is the version of every structure; a reader refuses what it
// does not know.
//
// Superblock (kind 1; 4 KiB, but less than a sector is used; seq counts updates): where the regions are, and
// which checkpoints to begin with. Both copies are written, one after the other, with a flush behind each.
//
//	+-------+------+-----------+------------+--------+--------+-------------+------------+-------------+
//	| total | unit | log start | log blocks | copy 0 | copy 1 | ring blocks | data start | data blocks |
//	+-------+------+-----------+------------+--------+--------+-------------+------------+-------------+
//	| number of the last checkpoint | tail | head | log next | round start |  all of them u64
//	+-------------------------------+------+------+----------+-------------+
//	| last segment: units, CRC32C |  u32 each
//	+-----------------------------+
//
// The checkpoints lie between tail and head of the ring; "log next" is the first log position that they do
// not contain; what lies before "round start" is told again before the tail gets there (checkpoint.go).
//
// # Records
//
// Numbers are unsigned varints of 7 bits a byte; one marked with a delta is the zigzag difference to the same
// number in the record before, a block beginning with zeros. The first byte of a record has the kind in its
// low half and flags in its high half: 16 tombstone, 32 replaces a bad version, 64 columns of each block, 128
// same volume as the record before.
//
//	+-------+------------------+------------------------------------------------------------------------
//	| first | VUID, generation | unless flag 128; then, by kind (pagemap.RecordKind):
//	+-------+------------------+------------------------------------------------------------------------
//
//	 1 put         place, block u8, n-1 u8, dW, { set, mask } unless flag 64; unless flag 16: dloc, n * CRC32C
//	               u32; with flag 64 n * { set u16, mask u16 }
//	 2 stable      dW, count of holes, holes: each the distance from the one above, the first from W
//	 3 settle      epoch
//	 4 undo        place, block u8, n-1 u8, dW
//	 5 drop        nothing
//	 6 drop chunk, 8 renumber    place
//	 7 view        length, the view list in the form of the vendor command (package chunk)
//
//	place          dpage, column u8, table*2 (of the residency; +1: an alternate, whose low 40 bits follow)
//
//	15 metadata    no volume; order, key length, value length, key, value; flag 16: deleted
//
// A metadata record whose order is below that of the record held is void.
//
// Log block (kind 2; seq is its position; aux is the position up to which the log was durable, data included,
// when it was made): records. A group of 32 writes of 4 KiB takes about 900 bytes.
//
// Segment (kind 3; seq is its position, aux the number of the checkpoint): the units u32 and the CRC32C u32
// of the segment before, so that the superblock vouches for all of them; then records, and
//
//	14 image       VUID and generation unless flag 128; dpage, column u8, table*2 (as above), count, versions
//	               (W, location and place as differences to the image before); flag 16: no more than the place:
//	               the chunk is gone
//	version        flags u8: 1 tombstone, 2 bad, 4 columns as before, 8 next block, 16 next location, 32 same
//	               W, 64 torn (beside 2); what they do not say: block u8, dW, { set, mask }, dloc; unless
//	               flag 1 CRC32C u32
//	12 packed      VUID and generation unless flag 128; dpage, column u8, table*2 (as above), length, an image
//	               as package pagemap draws it: a chunk at rest, as it is in memory
//	13 end         versions of the map, log next, and where the round goes on: first checkpoint, VUID,
//	               generation, page, column, versions passed
//
// A checkpoint begins with drops; it has for every volume a settle, stable marks and the view list, all
// metadata, images, and the end. Most chunks are at rest, and are copied to there and from there. The others
// are images, cut after 64 versions; the parts stand in one checkpoint. That a chunk is gone concerns earlier
// checkpoints only, so does a drop. A version takes 4.4 bytes in order, and 13.3 at random.
//
// Version 4. Version 3 had no packed images, and loading took ten times as long. Version 2 had a log of 4 KiB
// blocks and whole checkpoints in alternating areas; version 1 no residencies, write sets, holes, view lists
// or orders. No release wrote them: they are refused, and a forced format knows whose the device was.
//
// # Recovery
//
// The newest superblock whose checksum is good; the segments from head to tail, each from a copy in which
// it is as the one behind it says, and of each chunk the first image met; then the log from "log next" on,
// to the first block that is not there (another incarnation, another position, a wrong checksum). If any
// later block of this incarnation calls that one durable, the device has lost what it promised: ErrDamaged.
// Data of records that no log block calls durable is read and verified. What one copy has lost is written
// again from the other; when both have lost it, the device is refused with ErrDamaged and the cluster fills
// it again. A checkpoint of what the log changed is written, under the next incarnation, before the store
// accepts anything. The data blocks are never scanned.
package pagestore
