// Package engine is the state machine of one volume at its owner: it turns host reads and writes into chunk
// requests and decides what may be acknowledged. It is pure: no goroutine, clock, socket or log. Events come
// in as method calls, actions go out through [Engine.Drain]; one mutex (or one goroutine) drives an engine,
// and the actions are carried out outside it.
//
//	Submit(op), ChunkDone(request), Recorded(owner, ok), Tick()   in
//	Ready{Sends, Done, Record, Serving, Fenced}                   out
//
// This is the protocol for whole copies (n = 1) in its smallest safe form. Its rules:
//
//  1. Row order. Operations on the same 4 KiB row take effect in the order of arrival: an extent starts when
//     no earlier extent that conflicts with it is left (locks.go).
//  2. A sent w is final. A write gets the next sequence number when it starts and goes to every device of its
//     row that is not out. It is acknowledged when all of them have it durably. If one has no space for it,
//     it is undone on all of them, and then refused.
//  3. Out before ack. A device that fails is recorded out in the owner record before any write that it missed
//     is acknowledged. The last copy of any group is never recorded out: its writes wait and are sent again,
//     same w, same content, when the device answers.
//  4. Back only after resync. An out device gets a new residency number, begins empty, takes part in new
//     writes, is filled from the others row by row under the row locks, and only then leaves the out list
//     (resync.go).
//  5. Open. A new owner fences every device that is not out, lists what is unstable, brings every such row to
//     one version (the newest readable one: a single copy is enough to go forward when n = 1), settles, and
//     only then serves. Devices that cannot be reached are recorded out first, unless they are the last copy
//     (open.go).
//  6. A fenced owner stops. Any "fenced" answer, or an owner record that moved, ends the engine: nothing is
//     acknowledged afterwards.
//  7. A bad block is never returned: it is read from another copy and written again under the same w
//     (read.go).
package engine
