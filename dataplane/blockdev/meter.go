package blockdev

import (
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// Figures is what a device was asked to do since it was opened.
type Figures struct {
	InFlight uint64 // operations submitted and not done
	// By kind. Latency is from Submit to Done: waiting for a place in the device's queue counts.
	Read, Write, Flush, Discard stats.Flow
}

// meter counts the operations of a File: from any goroutine, with two readings of the clock and three atomic
// additions per operation, and no lock.
type meter struct {
	base  time.Time
	begun atomic.Uint64
	flows [Discard + 1]flow // by Kind
}

// flow is a stats.Flow that many goroutines add to.
type flow struct {
	bytes, errors, sum atomic.Uint64
	counts             [stats.Buckets]atomic.Uint64
}

// begin notes when operations were submitted.
func (m *meter) begin(ops []*Op) {
	m.begun.Add(uint64(len(ops)))
	now := int64(time.Since(m.base))
	for _, o := range ops {
		o.began = now
	}
}

// end counts an operation that is done.
func (m *meter) end(o *Op, err error) {
	k := o.Kind
	if k > Discard {
		k = 0 // no kind at all, refused
	}
	f, took := &m.flows[k], uint64(int64(time.Since(m.base))-o.began)
	f.counts[stats.Bucket(took)].Add(1)
	f.sum.Add(took)
	if err == nil {
		f.bytes.Add(uint64(o.length()))
	} else {
		f.errors.Add(1)
	}
}

func (f *flow) load() (out stats.Flow) {
	for i := range f.counts {
		out.Latency.Counts[i] = f.counts[i].Load()
	}
	out.Latency.Sum, out.Bytes, out.Errors = f.sum.Load(), f.bytes.Load(), f.errors.Load()
	return out
}

// Figures reads the counters. Those of operations that end meanwhile may differ by one from each other.
func (d *File) Figures() Figures {
	m := &d.meter
	f := Figures{Read: m.flows[Read].load(), Write: m.flows[Write].load(), Flush: m.flows[Flush].load(),
		Discard: m.flows[Discard].load()}
	refused := m.flows[0].load()
	ended := refused.Ops() + f.Read.Ops() + f.Write.Ops() + f.Flush.Ops() + f.Discard.Ops()
	if begun := m.begun.Load(); begun > ended {
		f.InFlight = begun - ended
	}
	return f
}

// done gives an operation back.
func (d *File) done(o *Op, err error) {
	d.meter.end(o, err)
	o.Done(o, err)
}
