// Package uring is a small binding to io_uring, the kernel's queue of asynchronous operations, without cgo
// and without liburing. It knows the queues and their memory, not what the operations are for.
//
// A Ring is two rings in memory shared with the kernel: submission queue entries (SQE, 64 bytes) go in,
// completion queue entries (CQE, 16 bytes) come out. Names are those of io_uring_setup(2), io_uring_enter(2)
// and io_uring_register(2).
//
//	Get an SQE ... Get an SQE | Enter | Each CQE
//	 fill it        fill it   | one system call hands them over and waits for completions
//
// The rules that callers keep:
//
//   - A Ring belongs to one goroutine, locked to its thread (runtime.LockOSThread) from New to Close:
//     completions are delivered only when this thread asks for them (SINGLE_ISSUER, DEFER_TASKRUN), which
//     spares every other thread the interruption.
//   - What an SQE points to stays where it is, and alive, until its CQE: memory of the Go heap does not move,
//     but somebody must hold on to it. UserData is a number; a pointer in it would be hidden from the
//     collector.
//   - No more operations in flight than Entries: then there is always room in both queues. Get returns nil
//     beyond that.
//
// Linux 6.1 or newer. New fails on older kernels, and where io_uring is switched off
// (kernel.io_uring_disabled, seccomp); callers then do without.
package uring
