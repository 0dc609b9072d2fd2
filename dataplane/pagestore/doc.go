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
// How changes become durable is told at the top of log.go, how checkpoints are taken in checkpoint.go, how a
// store comes back in recover.go.
//
// # Layout, in blocks of 4 KiB
//
//	+-------------+-------------+-----------+--------------+--------------+---------------------------+
//	| superblock  | superblock  | log ring  | checkpoint   | checkpoint   | data blocks               |
//	| 0           | 1           | L blocks  | area 0       | area 1       |                           |
//	+-------------+-------------+-----------+--------------+--------------+---------------------------+
//
// L is 1 % of the device by default. An area holds the largest map that the data blocks allow: about 1.8 % of
// the device, and at most 256 MiB for metadata. Everything is little-endian. All metadata blocks begin with
// the same header:
//
//	 0        4      6      7      8        12     14     16          32          48     56     64     72
//	+--------+------+------+------+--------+------+------+-----------+-----------+------+------+------+--
//	| magic  | fmt  | kind | 0    | CRC32C | used | 0    | cluster   | device id | inc  | seq  | aux  | payload
//	| "ASHL" | 2    | u8   | u8   | u32    | u16  | u16  | UUID      | UUID      | u64  | u64  | u64  | 4024 B
//	+--------+------+------+------+--------+------+------+-----------+-----------+------+------+------+--
//
// CRC32C is that of the whole block with this field as zero. inc is the incarnation: it counts mounts. The
// ids are there because a block of another device, or of this one before it was formatted, must never be
// taken for ours. fmt is the version of every structure; a reader refuses what it does not know.
//
// Superblock (kind 1; seq counts updates): where the regions are, and the checkpoint to begin with. It is
// less than a sector long. Both copies are written, one after the other, with a flush behind each.
//
//	+-------+-----------+------------+--------+--------+-------------+------------+-------------+
//	| total | log start | log blocks | area 0 | area 1 | area blocks | data start | data blocks |  u64 each
//	+-------+-----------+------------+--------+--------+-------------+------------+-------------+
//	| checkpoint number | its blocks | log next | CRC32C of its blocks' CRC32C | 0   |  u64 * 3, u32 * 2
//	+-------------------+------------+----------+------------------------------+-----+
//
// The area of a checkpoint is its number modulo 2. "log next" is the first log block that it does not
// contain.
//
// Log block (kind 2; seq is its position; it lies at seq modulo L; aux is the sequence that was durable, data
// included, when it was made): records, one behind the other.
//
//	 0      1       2       4      8            12    14     16     24   32          40           48      52
//	+------+-------+-------+------+------------+-----+------+------+----+-----------+------------+-------+-----
//	| kind | flags | first | VUID | generation | set | mask | page | W  | loc,n<<48 | residency, | epoch | more
//	|      |       |       |      |            |     |      |      |    |           | column<<56 |       |
//	+------+-------+-------+------+------------+-----+------+------+----+-----------+------------+-------+-----
//
// kind: 1 put, 2 stable mark, 3 settle, 4 undo, 5 drop volume, 6 drop chunk, 7 view list
// (pagemap.RecordKind). flags: 1 tombstone, 2 replaces a bad version, 16 set and mask differ from block to
// block and stand behind the checksums. epoch belongs to settle, and is zero elsewhere: the room for the
// length of a compressed block. more is, for
//
//	put          n * CRC32C unless it is a tombstone, then with flag 16 n * { set u16, mask u16 }
//	stable mark  n * u64, the holes
//	view list    n bytes, in the form of the vendor command (package chunk)
//
//	 0      1       2            4              6   8       16
//	+------+-------+------------+--------------+---+-------+-----+-------+
//	| 16   | flags | key length | value length | 0 | order | key | value |   metadata; flags: 8 deleted
//	+------+-------+------------+--------------+---+-------+-----+-------+
//
// A metadata record whose order is below that of the record held is void.
//
// Checkpoint block (kind 3; seq is the checkpoint's number, aux the index of the block): for every volume the
// records above that make it (a settle, stable marks, the view list), then metadata records, then chunks,
// then the end.
//
//	 0    1        2   4      8            12  16     24          32
//	+----+--------+---+------+------------+---+------+-----------+--------------------------------------
//	| 17 | column | n | VUID | generation | 0 | page | residency | n * { W, loc | mask<<48, CRC32C,       chunk
//	|    |        |   |      |            |   |      |           |       set u16, block u8, flags u8 }
//	+----+--------+---+------+------------+---+------+-----------+--------------------------------------
//	| 18 | 0 ... 8 | versions u64 | log next u64 |                                                         end
//	+----+---------+--------------+--------------+
//
// flags of a version: 1 tombstone, 4 bad. A chunk may be cut into several records.
//
// Version 2. Version 1 had no residencies, write sets, holes, view lists or orders; no release wrote it.
//
// # Recovery
//
// The newest superblock whose checksum is good; its checkpoint, all of whose blocks must be there; then the
// log from "log next" on, to the first block that is not there (another incarnation, another sequence, a
// wrong checksum). If any later block of this incarnation calls that one durable, the device has lost what
// it promised: ErrDamaged. Data of records that no log block calls durable is read and verified. The result
// is written as a new checkpoint, under the next incarnation, before the store accepts anything. The device
// is never scanned.
package pagestore
