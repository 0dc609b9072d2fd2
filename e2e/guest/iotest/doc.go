// Command iotest writes stamped blocks to a device with O_DIRECT and proves that they come back. It runs in
// the guest (static, no library) and prints one JSON object as its last line; the exit code is 1 when any
// I/O failed or any block came back wrong.
//
//	iotest write  -dev D -size 8M -gen 3     write every block, in random order, stamped with generation 3
//	iotest check  -dev D -size 8M -gen 3     read every block and compare
//	iotest steady -dev D -size 8M -rate 50   write and read back at a steady rate until SIGINT or -for, then
//	                                         check every block; tells the longest pause between completions
//
// Each block of -bs bytes holds its number and generation and words derived from both, so that a stale, a
// torn and a misplaced block can be told apart:
//
//	 0        8        16       24                              bs
//	+--------+--------+--------+--------------- ... ---------------+
//	| magic  | block  | gen    | splitmix64(block, gen, word), ... |
//	+--------+--------+--------+--------------- ... ---------------+
package main
