// Package chunk is the contract between the owner of a volume and the servers of its chunks: the requests,
// what each of them promises, and their form as NVMe vendor commands between nodes. It is pure.
//
// A chunk server keeps versions of 4 KiB blocks under the key (volume, page, column, block), each named by
// the sequence number w of the row write that made it. Every request names the sender's owner epoch, and how
// far the sender's own writes are complete (the stable mark); requests for blocks name the residency under
// which the sender believes the device holds that (page, column), see [Residency]:
//
//   - an epoch below the highest one seen for the volume gets Fenced; a higher one is stored durably first;
//   - a residency below the one held gets NotMine, which is not the same as "absent"; one above it sees
//     nothing, and a write under it begins it, empty;
//   - Renumber is the one way to another number that loses nothing: what is held under the number it names or
//     a lower one is held under that number from then on. Where nothing is held nothing is remembered;
//   - commands are idempotent by (key, w): a w has one content for ever. Writing a (key, w) again that is Bad
//     repairs it;
//   - OK means durable.
//
// Stability. A version is stable when its w is not above the mark of its own epoch and not one of the mark's
// holes, or when its epoch is below the last one that settled the device. A version is freed when a newer one
// of its block is stable and not bad, and either both are of one epoch or its own is settled, and no pin of
// the view list sees it.
//
// Request sessions. A Fence begins a session, also at the epoch that is known already: the credit granted
// starts at zero again. The sender of a Fence guarantees, by its transport, that nothing it sent before is
// still to be carried out. A server that has started anew has no sessions: it answers NotMine until the owner
// sends a Fence, also under an epoch that it knows.
//
// Bad versions. A device knows that a version is bad once somebody has read it: a host, or its own scrubbing.
// It says so in ListBad until the version is written again or freed. It may forget what it knew, not the
// version.
//
// Credit. Every answer says how many blocks the session has been granted so far, in all. A sender starts no
// host write that takes more blocks than granted and not used; completing what was started, repair and resync
// do not ask. Both sides count every block of every write as used, those too, and the answer grants what was
// written without. A server grants from what is free beyond its reserve, so host writes never find it full.
//
// # Vendor commands
//
// On the wire a request is one NVMe command of an I/O queue on the node-to-node listener, which admits only
// hosts that know the cluster secret. NSID is 1. All requests use the same dwords (little endian; bits from
// high to low):
//
//	dword   31                 24 23                                   0
//	CDW2   | column              | VUID                                 |
//	CDW3   | generation                                                 |
//	CDW4   | page, bits 31:0                                            |   (metadata pointer, unused by these
//	CDW5   | owner epoch (31:8)                | page, bits 39:32 (7:0) |    vendor commands)
//	CDW10  | W, bits 31:0                                               |
//	CDW11  | W, bits 63:32                                              |
//	CDW12  | residency, bits 31:0                                       |
//	CDW13  | first block (31:24) | residency, bits 55:32                |
//	CDW14  | stable counter, bits 31:0; Undo: count of blocks           |
//	CDW15  | device number (31:8)              | stable, bits 39:32     |
//
// W is the version to write, tombstone or undo, the upper bound of a read, the mark of Stable, and for List
// the W of the cursor; page, column and block of a cursor stand in their usual places. List has its mode in
// CDW12. How many blocks or records a command is about follows from the length of its data.
//
//	opcode  name         data
//	0x81    Write        to the server: count * 4096 bytes of blocks, then count block records
//	0x85    Tombstone    to the server: count block records
//	0x82    Read         back: count * 4096 bytes of blocks, then count block records
//	0x86    Head         back: count block records
//	0x84    Undo         none
//	0x88    Drop         none
//	0xa8    Renumber     none
//	0x8a    List         back: entry records, the first ones valid as dword 0 says
//	0x8e    Fence        back: one fence record
//	0x8c    Settle       none
//	0x8d    Stable       to the server: want u32, 0 u32, then a u64 for every hole
//	0x91    JournalPut   to the server: journal records
//	0x92    JournalList  back: journal records, the first ones valid as dword 0 says
//	0x94    JournalTrim  none
//	0x98    JournalWipe  none
//	0x95    View         to the server: version u32, pins u16, intervals u16 (bit 15: of a clone),
//	                     u64 for every pin, 2 * u64 for every interval
//	0x9a    Inherit      back: count * 4096 bytes of blocks, then count block records (state and CRC only)
//
// Inherit is no request to a device: the owner of a clone asks the owner of its parent for blocks as of
// the pin W. The page field is the number of the first one in the volume; what is absent there is data of
// zeroes. The blocks are raw, as they lie in rows: those of an encrypted volume are ciphertext. (Of a
// compressed one they are unpacked, and sealed one by one.) NotMine: not owned there, or not to be had in
// time; IOError: lost for good. With 1 in the residency field the sender knows the parent of that volume,
// and may be answered Passed: nothing of these pages is held here, and the parent shows in all of the
// blocks.
//
//	block record, 20 bytes
//	0     8     12    14     16      17  20
//	+-----+-----+-----+------+-------+---+
//	| W   | CRC | set | mask | state | 0 |
//	+-----+-----+-----+------+-------+---+
//
//	fence record, 544 bytes: the device's newest stable mark with so many holes, of room for 64
//	0       4         8      12      16     24     32            544
//	+-------+---------+------+-------+------+------+-------------+
//	| known | settled | view | holes | free | mark | hole u64 ...|
//	+-------+---------+------+-------+------+------+-------------+
//
//	entry record, 32 bytes
//	0      8    16          24      26    28       29      30  32
//	+------+----+-----------+-------+-----+--------+-------+---+
//	| page | W  | residency | block | set | column | state | 0 |
//	+------+----+-----------+-------+-----+--------+-------+---+
//
//	journal record, 72 bytes
//	0      8     16       17      18       19  24                             72
//	+------+-----+--------+-------+--------+---+-------------------------------+
//	| page | seq | column | flags | places | 0 | 4 * { device u32, residency } |
//	+------+-----+--------+-------+--------+---+-------------------------------+
//
// flags: 1 gone, 2 stale, 4 complete, 8 renumber.
//
// Completion: dword 0 is the highest known owner epoch, or for a list the number of entries with bit 31 set
// when there are more; dword 1 is the credit granted in the session so far, modulo 2^32. A status other than
// OK is reported with status code type 7 (vendor specific) and status code 0x80 + Status.
//
// Version 2. Version 1 knew whole copies only: one residency for a volume and device, and no write sets,
// journal, holes, credit or views. No release wrote it. A node refuses opcodes it does not know, so a later
// version adds opcodes rather than changing the layout of one. Nor does it take the view list of a clone,
// whose tombstones it would lose: to it that list has too many intervals.
package chunk
