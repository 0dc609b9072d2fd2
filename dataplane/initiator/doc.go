// Package initiator is an NVMe/TCP host in user space: the client of the chunk services of other nodes, and
// the host of tests, tools and benchmarks. From the bottom up:
//
//	Volume   one namespace over several portals: ANA, retries on another path, waiting while none is usable
//	Path     keeps one association alive: reconnects by a Backoff, says when it is up or down
//	Client   one association: an admin queue, I/O queues, keep alive, asynchronous events
//	Queue    one connection: many commands in flight, each completed exactly once
//
// Contract of Submit, on every layer: the IO and its buffers belong to the initiator until Done is called;
// Done is called exactly once, from any goroutine, perhaps before Submit returns, and must neither block nor
// call anything that waits for another IO. Submit does not block either: beyond the depth of the queue, an IO
// waits in a list threaded through the IOs themselves, so that memory is bounded by what the callers own.
//
// An IO that is not answered in time ends its connection, and a connection that ends, for whatever reason,
// completes all of its IOs with HostPathingError, after its goroutines have let go of the buffers: nothing is
// written to a buffer, and nothing of it is sent, after Done. What the controller did with such a command is
// unknown.
//
// A queue has two goroutines. The reader takes as many PDUs as one read returns; the writer sends all that
// has been submitted meanwhile with one writev. In the steady state nothing is allocated.
//
//	Submit --> free slot? --yes--> ring --> writer --> CapsuleCmd (+ in-capsule data)
//	   |          no                ^
//	   v                            |  R2T: the data is due
//	 waiting list                   |
//	   ^---- slot freed ------- reader <-- CapsuleResp, C2HData, R2T
//	                                |
//	                              Done
package initiator
