// Package nvmet is the NVMe/TCP target: it serves namespaces to hosts (the Linux kernel, SPDK, our
// initiator), one subsystem (NQN) per volume with the volume as NSID 1, and the discovery subsystem beside
// them on every listener. It sees a Namespace, never what is behind it.
//
// Contract:
//   - Whatever bytes arrive, the process goes on: a fault of the transport ends that connection with a
//     C2HTermReq, a bad command gets a status of the specification.
//   - A command reaches the namespace only after every check that does not need the namespace's own state,
//     and only while the namespace is accessible on this path (ANA). Its data is complete, its digest right.
//   - A completed request is answered once; a request whose connection is gone is dropped. The Connect of a
//     host waits until the namespace has completed all commands of that host's ended associations with the
//     subsystem.
//   - There is no volatile write cache: a completed write is as durable as the namespace makes it. Compare
//     and Verify are carried out here, with reads.
//   - Vendor commands exist only for a subsystem that asks for them, on a target with a cluster secret, on
//     queues that passed its authentication. There an association is a session: a new one of the same node
//     ends the one before it.
//   - Steady-state reads and writes allocate nothing on the Go heap.
//
// The way of a command (files in brackets):
//
//	socket --> receiver --> prepare --> memory --> [R2T, H2CData] --> execute --> Namespace.Submit
//	           (receiver)   (command,   (queue,                                        |
//	                         io, admin,  memory)                               Request.Complete
//	                         fabrics)                                                  v
//	socket <----------------------------- sender <------------------------------- ready list
//	                                      (sender)                                  (queue)
//
// A connection has two goroutines. The reader takes all bytes the socket has, works through every PDU in
// them, and sends all answers that came up meanwhile with one writev; when the socket takes no more, or when
// a request completes while the reader is waiting for bytes, the writer goroutine sends.
//
// Memory. Data buffers come from slabs off the Go heap. A queue always has its reserve (128 KiB for data in
// capsules, at least 512 KiB for the rest) and takes more out of Options.Memory, shared by all queues; its
// own limit is its depth times the largest transfer. A command that finds no memory waits in line, holding
// only its slot of some 300 bytes; for a write that means that its R2T is not sent yet. Data in capsules
// cannot be put off, so there the reader stops reading. Neither waits for anything that needs the waiting
// reader, so the host's windows fill and nothing deadlocks. Per connection there are besides: slots, one
// receive buffer (16 KiB for an admin queue, 128 KiB for an I/O queue, touched only as far as used), 8 KiB
// for headers.
//
// States of a connection: ICReq -> Connect -> (authentication) -> live -> ending. The first three together
// may take handshakeTimeout. States of a request: see requestState.
//
// Lock order: Target, subsystem, controller, queue, memory. No lock is held while a namespace is called.
package nvmet
