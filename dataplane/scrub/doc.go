// Package scrub decides when a device reads what it holds, to find what cannot be read any more while there
// is redundancy to repair it from. It is pure: a shell asks what to do now, reads, and says what it found.
//
//	Next(now, requests) -> wait, or read what is behind Position() -> Done(now, found) -> Next ...
//
// A pass goes through everything once, from the zero position to the end. Passes begin at a steady interval,
// or when somebody asks for one. A pass takes at most Rate bytes a second, and less while the device is used:
// each request of others puts the next read off by yieldNs, until only an eighth of the rate is left. So
// scrubbing costs hosts little, and still ends under any load.
//
// # Record
//
// Where a pass is, and what was found so far, outlives the process: 88 bytes, little endian.
//
//	0         4       8       16      24       32     40    48      56       64     68         72     80  88
//	+---------+-------+-------+-------+--------+------+-----+-------+--------+------+------------+------+---+
//	| version | flags | began | ended | wanted | read | bad | found | passes | VUID | generation | page | W |
//	| u32: 1  | u32   | s     | s     | s      | B    | u64 | u64   | u64    | u32  | u32        | u64  |   |
//	+---------+-------+-------+-------+--------+------+-----+-------+--------+------+------------+------+---+
//
// flags: 1 a pass is under way; block and column of the position in bits 16:31 and 8:15. Times are seconds
// since 1970: began and ended those of the last pass that began, and that ended; wanted, of the last one that
// was asked for. read and bad are of the last pass that began; found and passes count since the device was
// formatted. VUID to W, block and column are the position. A record of another version counts as none: a pass
// begins anew.
package scrub
