// Package history judges what hosts saw of one volume: is there an order of all reads and writes, compatible
// with the order in which they began and ended, in which every read returns the latest write (promise P2)? It
// is pure and needs no clock: time is the order of the calls of [History.Write], [History.Read] and
// [Op.Done].
//
// Every 512 B sector is a register of its own. Each write gets a stamp that no other write has; the caller
// puts it into every sector and hands in, with the end of a read, the stamps it found there. Zero is what
// sectors hold at first and after [History.Zero].
//
// For registers whose writes differ the question has an exact and cheap answer (Gibbons and Korach, Testing
// Shared Memories, 1997). Put a write together with the reads that returned it and look at two moments of
// such a group: first, when the earliest of its operations ended, and last, when the latest of them began.
// Two groups contradict each other when something of each had ended before something of the other began:
//
//	 a.first < b.last  and  b.first < a.last
//
//	      write 1  |-----|                      group 1: first ends here (^), last begins at the second read
//	read of 1                          |----|
//	      write 2           |-----|             group 2 lies between: read of 1 is stale
//	               ......^.............^....
//
// There is an order exactly when no two groups of a sector contradict each other. A write that was never
// answered may take effect at any time after it began, or never; one that has expired ([Op.Expire]) not any
// more. Whoever tries a write again after a lost answer begins a new one, and lets the former expire when the
// new one is answered: it may take effect beside the new one, but not after it was answered. Zeroes do not
// tell which write they come from: a read of zeroes is refused when no write of zeroes fits, and otherwise
// counts for a group only when just one fits.
//
// Groups that no later operation can touch are dropped, so memory is bounded by the size of the volume and
// the operations under way.
package history
