package stats

import "math/bits"

// The buckets of a Histogram: below 2^MinExp ns, subBuckets for every power of two from there, and one for
// what takes 2^MaxExp ns and more.
const (
	MinExp     = 13
	MaxExp     = 34
	subBits    = 2
	subBuckets = 1 << subBits
	Buckets    = (MaxExp-MinExp)*subBuckets + 2
)

// Histogram counts durations. The zero value is empty. Not safe for concurrent use.
type Histogram struct {
	Counts [Buckets]uint64
	Sum    uint64 // ns
}

// Bucket is the number of the bucket for a duration in nanoseconds.
func Bucket(ns uint64) int {
	exp := bits.Len64(ns) - 1
	switch {
	case exp < MinExp:
		return 0
	case exp >= MaxExp:
		return Buckets - 1
	}
	return 1 + (exp-MinExp)*subBuckets + int(ns>>(exp-subBits))&(subBuckets-1)
}

// lower is the shortest duration of a bucket, in nanoseconds.
func lower(bucket int) uint64 {
	if bucket == 0 {
		return 0
	}
	b := bucket - 1
	return (subBuckets + uint64(b)%subBuckets) << (MinExp + b/subBuckets - subBits)
}

// Add counts a duration in nanoseconds.
func (h *Histogram) Add(ns uint64) {
	h.Counts[Bucket(ns)]++
	h.Sum += ns
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 { return h.Below(MaxExp) + h.Counts[Buckets-1] }

// Below is the number of durations shorter than 2^exp ns, with exp from MinExp to MaxExp.
func (h *Histogram) Below(exp int) uint64 {
	n := uint64(0)
	for _, c := range h.Counts[:1+(exp-MinExp)*subBuckets] {
		n += c
	}
	return n
}

// Mean is the average in nanoseconds; 0 when nothing was counted.
func (h *Histogram) Mean() uint64 {
	if n := h.Count(); n > 0 {
		return h.Sum / n
	}
	return 0
}

// Quantile is the duration that a part q of all does not exceed, in nanoseconds: the middle of its bucket. 0
// when nothing was counted.
func (h *Histogram) Quantile(q float64) uint64 {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(total)), total-1)
	for b, c := range h.Counts {
		if rank < c {
			if b == Buckets-1 {
				return lower(b)
			}
			return (lower(b) + lower(b+1)) / 2
		}
		rank -= c
	}
	panic("stats: the counts of a histogram are less than their sum")
}

// Merge adds the counts of another histogram.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range o.Counts {
		h.Counts[i] += c
	}
	h.Sum += o.Sum
}

// Since is what was counted after an earlier state of the same histogram.
func (h *Histogram) Since(earlier *Histogram) Histogram {
	out := *h
	for i, c := range earlier.Counts {
		out.Counts[i] -= c
	}
	out.Sum -= earlier.Sum
	return out
}

// Flow is the operations of one direction.
type Flow struct {
	Bytes   uint64    // of those that succeeded
	Errors  uint64    // operations that failed
	Latency Histogram // of all
}

// Count counts an operation of so many bytes that took ns nanoseconds.
func (f *Flow) Count(bytes, ns uint64, ok bool) {
	f.Latency.Add(ns)
	if ok {
		f.Bytes += bytes
	} else {
		f.Errors++
	}
}

// Ops is the number of operations.
func (f *Flow) Ops() uint64 { return f.Latency.Count() }

// Merge adds another flow.
func (f *Flow) Merge(o *Flow) {
	f.Bytes += o.Bytes
	f.Errors += o.Errors
	f.Latency.Merge(&o.Latency)
}

// Since is what flowed after an earlier state of the same flow.
func (f *Flow) Since(earlier *Flow) Flow {
	return Flow{Bytes: f.Bytes - earlier.Bytes, Errors: f.Errors - earlier.Errors,
		Latency: f.Latency.Since(&earlier.Latency)}
}

// Direction is what an operation does with data.
type Direction uint8

// The directions.
const (
	Read Direction = iota
	Write
	Discard // deallocation and writing of zeroes
	Directions
)

// String names the direction.
func (d Direction) String() string { return [...]string{"read", "write", "discard"}[d] }

// IO is the flows of all directions.
type IO [Directions]Flow

// Merge adds the flows of another.
func (io *IO) Merge(o *IO) {
	for d := range io {
		io[d].Merge(&o[d])
	}
}

// Ops is the number of operations of all directions.
func (io *IO) Ops() uint64 {
	n := uint64(0)
	for d := range io {
		n += io[d].Ops()
	}
	return n
}
