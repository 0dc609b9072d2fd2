// Package chunk is the contract between the owner of a volume and the servers of its chunks: the requests,
// what each of them promises, and their form as NVMe vendor commands between nodes. It is pure.
//
// A chunk server keeps versions of 4 KiB blocks under the key (volume, page, column, block), each named by
// the sequence number w of the write that made it. Every request names the sender's owner epoch, the
// residency it believes in and how far the sender's own writes are complete (the stable mark):
//
//   - an epoch below the highest one seen for the volume gets Fenced; a higher one is stored durably first;
//   - a residency that is not the present one gets NotMine, which is not the same as "absent";
//   - commands are idempotent by (key, w): a w has one content for ever;
//   - OK means durable.
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
//	CDW12  | residency                                                  |
//	CDW13  | first block (31:16)               | count (15:0)           |
//	CDW14  | stable counter, bits 31:0                                  |
//	CDW15  | device number (31:8)              | stable, bits 39:32     |
//
// W is the version to write, tombstone or undo, the upper bound of a read, and for a list the W of the
// cursor; the cursor's page, column and block stand in their usual places. For a list, bit 31 of CDW12
// selects the unstable versions.
//
//	opcode  name       data
//	0x80    Tombstone  none
//	0x81    Write      to the server: count * 4096 bytes of blocks, then count block records
//	0x82    Read       back: count * 4096 bytes of blocks, then count block records
//	0x84    Undo       none
//	0x86    List       back: count entry records, the first ones valid as dword 0 says
//	0x88    Fence      none
//	0x8c    Begin      none
//	0x90    Settle     none
//	0x94    Stable     none
//
//	block record, 16 bytes                      entry record, 24 bytes
//	0        8      12     14      15  16       0       8        16      18       19      20   24
//	+--------+------+------+-------+---+        +-------+--------+-------+--------+-------+----+
//	| W      | CRC  | mask | state | 0 |        | page  | W      | block | column | state | 0  |
//	+--------+------+------+-------+---+        +-------+--------+-------+--------+-------+----+
//
// Completion: dword 0 is the highest known owner epoch, or for a list the number of entries with bit 31 set
// when there are more; dword 1 is the device's free blocks, at most 2^32-1. A status other than OK is
// reported with status code type 7 (vendor specific) and status code 0x80 + Status.
//
// The commands of version 1 are all of these; a node refuses opcodes it does not know, so a later version
// adds opcodes rather than changing the layout of one.
package chunk
