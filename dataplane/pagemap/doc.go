// Package pagemap is the pure core of the page store: the map of one device from (volume, page, column,
// block) to the versions held of that block, and from there to free space. It does no I/O and has no lock:
// its caller serialises.
//
// # A state machine over records
//
// The map changes only by Apply(Record), and what Apply does depends on nothing but the map and the record.
// The store writes a record to its log, applies it when the log is durable, and applies the same records in
// the same order after a crash: both give the same map, and space is free in one exactly when it is free in
// the other. Three things stand beside the records: space is allocated before a Put is logged (Alloc,
// Release; Claim in recovery), Purge gives back the space of dropped volumes in pieces, and MarkBad notes
// what a read found. A bad version is only ever replaced by a record that says so (Record.Replace), so the
// note need not be logged.
//
// # Versions
//
// A block has a list of versions, newest (largest W) first. A version is data in one 4 KiB block of the
// device, or a tombstone, and may be marked bad: it exists, its data is lost, and no older version takes its
// place.
//
// W is stable when its counter is not above the stable mark of its own epoch, or its epoch is below the
// volume's settled epoch. A mark says nothing about other epochs.
//
// superseded is the one rule by which a version is freed: a newer version of the block is stable and not bad,
// and either of the same epoch or this version's epoch is settled. Pins of snapshots will join it there. A
// newest stable tombstone with nothing under it is dropped.
//
// # Space
//
// Every block of the device is free, live (referenced by exactly one version) or pending (allocated by a
// write in flight, or of a dropped volume not yet purged); free + live + pending = total. Check proves it by
// walking the map.
//
// # Snapshots of the map
//
// BeginSnapshot and Snapshot.Next walk the map in bounded pieces for a checkpoint, while it goes on changing.
// What they emit is the state at BeginSnapshot: a chunk about to change that was not emitted yet is emitted
// first.
//
// # Memory
//
// A version takes 24 bytes in slabs without pointers, a block of a chunk 4 bytes (the head of its list), a
// chunk about 150: 30 bytes per 4 KiB of a filled 256 KiB chunk.
package pagemap
