// Package pack compresses stripe units: it is the engine's Packer of a volume with compression.
//
// A unit of u blocks of 4 KiB is compressed with S2 (github.com/klauspost/compress), whole blocks are made of
// that, and these are what the engine stores: k of them instead of u. Where that would not be at least one
// fewer, the unit is stored as it is, k = u; which of the two it is the engine knows by k. A unit of zeroes
// takes no block. In an encrypted volume the k blocks are sealed at the addresses where they lie, header and
// padding too: compressed first, for ciphertext does not shrink.
//
//	0         1             4                    4 + length          k * 4096
//	+---------+-------------+--------------------+-------------------+
//	| format  | length, u24 | S2 block of a unit | zeroes            |
//	| 1       |             |                    |                   |
//	+---------+-------------+--------------------+-------------------+
//
// The S2 block says how long it is decoded, and must be a whole unit. The format is there because another
// algorithm may be better one day: who reads takes any that he knows. Checksums there are at every block
// already.
//
// Who reads the devices of an encrypted volume learns how well each unit can be compressed, besides where it
// is zeroes; see docs/security.md.
package pack
