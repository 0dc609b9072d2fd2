// Package dataplane holds the path of host I/O, from an NVMe/TCP command to a record on a disk. The package
// itself has no code: it is the picture of the layers, and arch_test.go beside it holds every import of the
// module to the picture.
//
//	   restapi: api -> manager -> store ==> etcd ==> watch
//	                                                   |
//	host --NVMe/TCP--> nvmet --> gateway --------.   cluster map (by epoch)
//	                  (nvme P)    qos P, seal,   |     |
//	                              pack           |     |
//	                              engine    P    |     |
//	                              stripe    P    |   node: assembles a daemon, swaps maps
//	                              placement P    |
//	                                | chunk requests: a local call, or through peer: NVMe/TCP
//	                                v with vendor commands (initiator -> nvmet of the other node)
//	                             chunkd (guard P) -> pagestore (pagemap, scrub P) -> blockdev
//
// P marks the pure cores. They decide: plain data in, plain data out, no goroutine, clock, socket, disk, log
// or chance inside, so that a test or a simulator drives the very code that production runs. Everything else
// is a shell around them. Imports point down and inward: a shell imports cores, a core never a shell.
//
//   - cluster: ids, states, the immutable cluster map at an epoch, the records in etcd and their rules.
//   - nvme: the wire types of NVMe, NVMe over Fabrics and NVMe/TCP, in the specification's words.
//   - lease: how long a gateway may answer hosts, and what voters promise.
//   - placement: cluster map to group tables.
//   - home: which gateway a volume should be served by, while all is well.
//   - stripe: geometry of pages, chunks and rows, and the codecs.
//   - engine: the state machine of one volume: order of writes, row locks, plans, missing columns.
//   - pagemap: the map of one device from block keys to versions and free space.
//   - chunk: what a gateway asks of the devices that hold a page, and what they answer.
//   - stats: histograms and the last hour of a volume, pool or device.
//   - nvmet: the NVMe/TCP target. It sees a Namespace, never a gateway.
//   - initiator: the NVMe/TCP host: between nodes, in tests and in tools.
//   - xts: AES-256-XTS at the speed of the processor.
//   - qos: when commands may begin, so that volumes and pools keep to their limits.
//   - seal: what encryption of a volume is: blocks, zeroes, wrapped keys.
//   - pack: compression of stripe units.
//   - keyring: where the keys are found that wrap those of volumes.
//   - gateway: ownership, fencing and hand-over; drives an engine per volume.
//   - peer: the traffic between nodes, both sides of it: chunk requests, lease renewals, fences.
//   - voter: makes fences durable at a voter.
//   - guard: which requests a device may carry out now: fences, and credit.
//   - chunkd: serves the devices of a node: dispatch, the placement journal.
//   - pagestore: one device: log, checkpoint, recovery, check, dump.
//   - scrub: when a device reads what it holds, to find what cannot be read any more.
//   - blockdev: the only code that opens disks; also one in memory that crashes and tears on purpose.
//   - watch: etcd to a stream of cluster maps. embedetcd: an etcd member inside the daemon.
//   - delta: what differs between two of these.
//   - node: everything of a host put together.
//   - sim/history: judges whether what hosts saw of a volume is linearizable; for tests of every size.
package dataplane
