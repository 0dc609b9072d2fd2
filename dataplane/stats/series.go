package stats

// Interval is the time between two samples of a Series, in seconds; Samples is how many it keeps: an hour.
const (
	Interval = 10
	Samples  = 360
)

// Rate is what one direction did in an interval. Figures that do not fit are cut off.
type Rate struct {
	Ops  uint32
	KiB  uint32
	Mean uint32 // us
	P99  uint32 // us
}

func (f *Flow) rate() Rate {
	return Rate{Ops: cut(f.Ops()), KiB: cut((f.Bytes + 1023) / 1024), Mean: cut(f.Latency.Mean() / 1000),
		P99: cut(f.Latency.Quantile(0.99) / 1000)}
}

func cut(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// Sample is one interval of a Series.
type Sample struct {
	At          int64 // its end: seconds since 1970, a multiple of Interval
	Read, Write Rate
}

func (s *Sample) idle() bool { return s.Read.Ops == 0 && s.Write.Ops == 0 }

// Add sums up samples of the same interval: of the volumes of a pool on several nodes. The mean is weighted,
// the quantile is the worst of both, for the true one cannot be known any more.
func (s *Sample) Add(o Sample) {
	s.Read.add(o.Read)
	s.Write.add(o.Write)
}

func (r *Rate) add(o Rate) {
	if ops := uint64(r.Ops) + uint64(o.Ops); ops > 0 {
		r.Mean = uint32((uint64(r.Mean)*uint64(r.Ops) + uint64(o.Mean)*uint64(o.Ops)) / ops)
		r.Ops = cut(ops)
	}
	r.KiB = cut(uint64(r.KiB) + uint64(o.KiB))
	r.P99 = max(r.P99, o.P99)
}

// Series is the last hour of one thing. The zero value is ready. Not safe for concurrent use.
type Series struct {
	totals IO // as of the last Record
	begun  bool
	ring   []Sample // idle intervals before the first busy one are left out
	next   int      // where the next sample goes, once the ring is full
	busy   int64    // end of the last interval in which something happened
}

// Record takes the counters as they are at a time, in seconds. Counters that went down began anew: everything
// they say is of this interval. The first call only remembers them.
func (s *Series) Record(at int64, totals *IO) {
	at = at / Interval * Interval
	was := s.totals
	s.totals = *totals
	if !s.begun {
		s.begun = true
		return
	}
	for d := range was {
		if totals[d].Ops() < was[d].Ops() || totals[d].Bytes < was[d].Bytes {
			was = IO{}
		}
	}
	read, write := totals[Read].Since(&was[Read]), totals[Write].Since(&was[Write])
	now := Sample{At: at, Read: read.rate(), Write: write.rate()}
	if !now.idle() {
		s.busy = at
	}
	switch {
	case at-s.busy >= Interval*Samples: // nothing has happened for so long that there is nothing to tell
		s.ring, s.next = nil, 0
	case len(s.ring) < Samples:
		s.ring = append(s.ring, now)
	default:
		s.ring[s.next] = now
		s.next = (s.next + 1) % Samples
	}
}

// Totals are the counters as they were recorded last.
func (s *Series) Totals() *IO { return &s.totals }

// Samples lists the samples that end after a time, the oldest first.
func (s *Series) Samples(after int64) []Sample {
	out := make([]Sample, 0, len(s.ring))
	for i := range s.ring {
		if x := s.ring[(s.next+i)%len(s.ring)]; x.At > after {
			out = append(out, x)
		}
	}
	return out
}
