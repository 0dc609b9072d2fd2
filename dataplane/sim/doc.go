// Package sim plays schedules: a small cluster with its hosts in a world where one seed decides the latency
// of every message, the drift of every clock, what hosts do and what goes wrong when.
//
// What decides in production decides here too: engine, guard, pagemap, placement, stripe and lease are the
// real ones. What only carries out (goroutines, sockets, disks, etcd) is replaced by events on a virtual
// clock: [Disk] for package chunkd with its page store, gateway and session for package gateway, arbiter for
// etcd, conn for the connections between nodes. The replacements keep the contracts of what they replace and
// nothing beyond: requests are carried out in any order, their answers get lost, a broken connection leaves
// ghosts, a crash keeps any prefix of what was under way and tears data.
//
//	hosts --> gateway, session (engine) --> conn --> device (Disk: guard, pagemap)
//	              |         |
//	           voters    arbiter
//
// # What is checked
//
// All the time: every sector that a host reads holds the stamp of a write of that sector, and package
// history finds an order of all operations (P1, P2, P3); what a host reads as of a pin is what it would
// have read at the moment of the pin, and a revert brings back what the pin showed. Between rounds, when
// all faults are over: every operation is
// answered, the volume comes to rest within bounded time (no journal entries, nothing unstable, nothing
// where it does not belong), every row is what the code makes of what hosts read, its columns agree about
// its newest version, so that p of them can be lost, every pin can be read as a whole, and nothing is bad any
// more: devices scrub in the background (scrub.go). At the end the space of every device is accounted for.
//
// # Clones
//
// In a quarter of the schedules clones are made between two rounds, of the last volume as it is then, and of
// each other. What a clone begins as, a host has read; from then on its history is its own, and every sector
// of an ancestor that it shows must be the one that it began with. In half of these the clones are flattened
// meanwhile, and their parents' pins given up as soon as the owner record says that nobody needs them.
//
// # Packed units
//
// In a quarter of the schedules volumes pack their stripe units, so that every number of blocks comes up and
// each block says what all of its unit must be (pack.go): whoever reads half of one unit and half of another
// knows. What devices hold then is what the hosts' data packs to.
//
// # Sizes
//
// In an eighth of the schedules volumes become smaller and larger (cut.go), clones and packed ones too, and
// the border goes through units and rows. What was cut off is zeroes from the moment on when the record says
// that it is gone, whoever had something under way, and devices hold nothing of it; a cut that looks first
// has seen zeroes when it is decided, and has done nothing when it finds something. Hosts go on meanwhile,
// unlike in production, and nothing before the border is refused or lost.
//
// # Moves
//
// With -sim.moves volumes have homes, or are balanced, and are asked to move, while owners change for other
// reasons, too (move.go). A move is a take-over by a node that is well from an owner that is; in the end all
// volumes come to rest where package home wants them.
//
// # Group snapshots
//
// In an eighth of the schedules snapshots are taken of two or three volumes together, whose owners are on
// several nodes (group.go). Hosts write now to the one and now to the other and wait for each write; what
// they read as of such a snapshot is, of every volume, what they would have read at the moment when the last
// one's writes were held.
//
// # Themes
//
// The seed chooses a pool and one of eleven themes (theme.go). One is, by half, anything at random; the
// others concentrate on what breaks one kind of rule: owners that fight, owners that are cut off and do not
// know, devices that stand in for each other, ghosts of broken connections, writes that are half done when
// their owner and their host end, moves of growing volumes, full devices, decay, snapshots, devices that
// die and are not replaced, tombstones that come and go. Some faults (coup.go) look at what is going on and
// strike at the worst moment. A theme that finds a planted bug which the others miss is worth its share of
// the seeds.
//
// # Budgets
//
// Any number of devices may be away at a time, for what they hold comes back. What is destroyed (bit rot,
// lost writes, forgotten writes) together with what is away, or stale by the journal, never exceeds p columns
// of a row, now or as a pin sees it; a fault that would exceed it is left out. A device forgets writes of
// parities only: one that forgets a write of data serves the older data, and who reads only that cannot
// notice. Nor does one forget a tombstone, also of those that a pin sees: the other columns' may be gone, and
// nobody knows better. What is forgotten and seen by a pin stays forgotten until the pin is given up or its
// column is decoded anew: owners compare rows as they are now. One schedule in 16 goes beyond the budget:
// hosts may then wait, or hear of lost data, but never read wrong data.
//
// # Failures
//
// A run that fails names its seed. The same seed is the same run, so playing it again with a trace tells what
// happened; [Shrink] leaves out faults and operations as long as the schedule still fails.
package sim
