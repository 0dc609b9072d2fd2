// Package blockdev is the only code of the data plane that opens disks. Everything above it sees a Device:
// asynchronous reads, writes, flushes and discards of byte ranges.
//
// The contract, which every implementation keeps and blockdevtest checks:
//
//   - Submit takes operations and returns without waiting for the device. Done of each is called exactly
//     once, never from inside Submit, from any goroutine. Until then the operation and its buffer belong to
//     the device.
//
//   - Operations in flight together have no order. A caller that needs one waits for Done.
//
//   - A completed write is seen by every read submitted later. It is durable when the device has no volatile
//     cache, else only after a Flush that was submitted after the write's Done. A failed Flush promises
//     nothing about any earlier write, ever: do not retry it, stop trusting the device.
//
//   - After power loss a write that is not durable has reached any subset of its 512-byte sectors, and a
//     sector of it may even be torn. Nothing is assumed to be atomic.
//
//   - There is no partial result: a read fills its whole buffer or fails.
//
//   - Offsets and lengths are multiples of Geometry.LogicalBlock and inside Geometry.Size, else ErrRange.
//
//   - Queues hold operations, not copies: what is in flight is bounded by what callers own.
//
//   - Done is short: it may submit, and take a lock, but never waits for another operation. The thread that
//     calls it may be the one that everything else of the device waits for.
//
// Mem is the in-memory twin with a write cache, power loss and faults by seed. File is a regular file or a
// block device, locked against other processes. Two engines carry its operations out:
//
//	         Submit
//	           |  few on their way ------------> goroutine: pread, pwrite, fdatasync  (plain)
//	           v                                      ^ discards
//	queue, eventfd if the thread sleeps               |
//	           v                                      |
//	thread of the device: io_uring --- completions, Done
//
// Both go around the page cache (O_DIRECT) where the file system or disk takes it; buffers that it does not
// take, because of their address, are copied through memory of the engine. Where the kernel offers no
// io_uring, or the page cache is in between, the plain engine does everything; Geometry says which one it is.
//
// What a device is comes from the kernel: sizes, the volatile write cache and discards from sysfs, what
// O_DIRECT needs from statx. Options override it. Package signature tells what is on a device.
package blockdev
