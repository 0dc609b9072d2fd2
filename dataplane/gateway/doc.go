// Package gateway is the shell around the engines of a node: it owns volumes, answers hosts for them and
// drives one engine per owned volume.
//
//	host command --> Volume.Submit --> session: engine.Submit, Drain --> Chunks.Submit (local or remote device)
//	                                                                         |
//	host response <-- session.finish (lease valid?) <-- engine.Drain <-- session.ChunkDone
//
// What a clone shows of its parent is asked of the parent's owner, here or on another node (parent.go).
//
// Ownership. A [Volume] exists on every node for every volume; on the owner it has a session: the engine of
// one owner epoch. A take-over (takeover.go) is:
//
//  1. compare-and-swap the owner record to this gateway and epoch + 1;
//  2. at the same time: have a majority of voters store the fence, and let the engine fence the devices,
//     resolve, settle;
//  3. wait until the old lease has run out, counted from the moment the majority had the fence. When only one
//     gateway can be answering (Owner.Served), it counts from the moment the voters last heard of that one
//     (lease.Clear); and nothing is waited for once it has released the volume, says that it has given it
//     up (Yield), or is gone: its live host refuses connections;
//  4. record Served, then report ANA optimized.
//
// A volume moves to another node while its owner is well because that node takes it over: it was asked to
// (move.go), or package home says so (attract.go).
//
// A session ends for good when an answer says "fenced", the owner record names somebody else, a voter's fence
// takes it away, the lease has been gone for lostAfter, or the node stops. Completions are held back while
// the lease is not valid: they go out when it is again, or turn into a path error when the session ends.
// Hosts then use the new owner's path. Where there is none, because no majority of the voters is left, every
// path says "inaccessible" and hosts wait, without an error; the first gateway with a lease takes the volume
// over.
//
// An owner changes who keeps its journal only once a majority of the voters has just answered it (confirm):
// one that hears nobody any more, but is heard by etcd, would record all devices as away but its own, and
// the next owner would have to wait for these.
package gateway
