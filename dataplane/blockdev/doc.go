// Package blockdev is the only code of the data plane that opens disks. Everything above it sees a Device:
// asynchronous reads, writes, flushes and discards of byte ranges.
//
// The contract, which every implementation keeps and blockdevtest checks:
//
//   - Submit takes operations and returns without waiting for the device. Done of each is called exactly
//     once, never from inside Submit, from any goroutine. Until then the operation and its buffer belong to
//     the device.
//   - Operations in flight together have no order. A caller that needs one waits for Done.
//   - A completed write is seen by every read submitted later. It is durable when the device has no volatile
//     cache, else only after a Flush that was submitted after the write's Done. A failed Flush promises
//     nothing about any earlier write, ever: do not retry it, stop trusting the device.
//   - After power loss a write that is not durable has reached any subset of its 512-byte sectors, and a
//     sector of it may even be torn. Nothing is assumed to be atomic.
//   - There is no partial result: a read fills its whole buffer or fails.
//   - Offsets and lengths are multiples of Geometry.LogicalBlock and inside Geometry.Size, else ErrRange.
//   - Queues hold operations, not copies: what is in flight is bounded by what callers own.
//
// Mem is the in-memory twin with a write cache, power loss and faults by seed; File is a regular file or a
// block device behind pread, pwrite and fdatasync, locked against other processes.
package blockdev
