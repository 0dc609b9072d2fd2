// Package stats is the figures that a data path counts and that people look at: operations, bytes and how
// long they took. It counts, adds up and remembers; who measures holds the lock and reads the clock.
//
// A [Histogram] is an array of fixed size with four buckets to every power of two, from 8 us to 17 s: a
// quantile is right to an eighth, an observation is one addition, and nothing is ever allocated.
//
//	     below 8 us |  2^13 .. 2^14 ns  |  2^14 .. 2^15 ns  |  ...  | 2^33 .. 2^34 ns  | longer
//	bucket    0     |  1   2   3   4    |  5   6   7   8    |       | 81  82  83  84   |   85
//
// A [Series] is the last hour of one volume, pool or device in steps of ten seconds, in 40 bytes each; one
// that nothing happens to takes no memory.
package stats
