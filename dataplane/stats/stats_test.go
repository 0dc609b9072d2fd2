package stats

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestBucketsTile: every duration lies in the bucket whose bounds hold it, and buckets follow one another
// without a gap.
func TestBucketsTile(t *testing.T) {
	for b := 1; b < Buckets; b++ {
		if Bucket(lower(b)) != b || Bucket(lower(b)-1) != b-1 {
			t.Errorf("bucket %d begins at %d ns, which lies in %d after %d", b, lower(b), Bucket(lower(b)),
				Bucket(lower(b)-1))
		}
	}
	if Bucket(0) != 0 || Bucket(1<<64-1) != Buckets-1 || lower(1) != 1<<MinExp || lower(Buckets-1) != 1<<MaxExp {
		t.Error("the ends are wrong")
	}
}

// TestQuantiles: within the range a quantile is at most an eighth off the true one.
func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Uint64Range(1<<MinExp, 1<<MaxExp-1), 1, 200).Draw(t, "ns")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h Histogram
		for _, v := range values {
			h.Add(v)
		}
		slices.Sort(values)
		want := values[min(int(q*float64(len(values))), len(values)-1)]
		got := h.Quantile(q)
		if diff := max(got, want) - min(got, want); diff > want/8+1 {
			t.Fatalf("quantile %v of %v is %d, reported %d", q, values, want, got)
		}
		if h.Count() != uint64(len(values)) {
			t.Fatalf("%d counted", h.Count())
		}
	})
}

func TestBelowAndSince(t *testing.T) {
	var f Flow
	f.Count(4096, 5000, true)
	before := f
	f.Count(4096, 1<<20, true)
	f.Count(4096, 1<<40, false)
	d := f.Since(&before)
	if f.Latency.Below(MinExp) != 1 || f.Latency.Below(20) != 1 || f.Latency.Below(21) != 2 || f.Ops() != 3 {
		t.Errorf("%d %d %d of %d", f.Latency.Below(MinExp), f.Latency.Below(20), f.Latency.Below(21), f.Ops())
	}
	if d.Ops() != 2 || d.Bytes != 4096 || d.Errors != 1 || d.Latency.Sum != 1<<20+1<<40 {
		t.Errorf("since: %d operations, %d bytes, %d errors", d.Ops(), d.Bytes, d.Errors)
	}
}

// TestSeries plays an hour and a half.
func TestSeries(t *testing.T) {
	var s Series
	var io IO
	at := int64(1_000_000)
	s.Record(at, &io)
	for i := range 540 {
		for range i + 1 {
			io[Read].Count(4096, 100_000, true)
		}
		at += Interval
		s.Record(at, &io)
	}
	all := s.Samples(0)
	if len(all) != Samples || all[0].Read.Ops != 181 || all[359].Read.Ops != 540 || all[359].At != at {
		t.Fatalf("%d samples, from %+v to %+v", len(all), all[0], all[359])
	}
	for i := range all[1:] {
		if all[i+1].At != all[i].At+Interval {
			t.Fatalf("a gap after %+v", all[i])
		}
	}
	if last := all[359].Read; last.KiB != 540*4 || last.Mean != 100 || last.P99 < 90 || last.P99 > 110 {
		t.Errorf("%+v", last)
	}
	if n := len(s.Samples(at - 3*Interval)); n != 3 {
		t.Errorf("%d samples of the last three intervals", n)
	}

	// The owner changed twice, so the counters began anew.
	var fresh IO
	fresh[Write].Count(8192, 1_000_000, true)
	s.Record(at+Interval, &fresh)
	if last := s.Samples(at)[0]; last.Write.Ops != 1 || last.Read.Ops != 0 {
		t.Errorf("after a restart: %+v", last)
	}

	// An idle hour leaves nothing.
	for i := range int64(Samples) {
		s.Record(at+(2+i)*Interval, &fresh)
	}
	if n := len(s.Samples(0)); n != 0 || s.ring != nil {
		t.Errorf("%d samples of an idle hour", n)
	}
}

func TestIdleSeriesTakeNoMemory(t *testing.T) {
	var s Series
	var io IO
	for at := range int64(1000) {
		s.Record(1_000_000+at*Interval, &io)
	}
	if s.ring != nil {
		t.Error("a ring was allocated")
	}
}

func TestSamplesAddUp(t *testing.T) {
	a := Sample{At: 10, Read: Rate{Ops: 100, KiB: 400, Mean: 50, P99: 90}}
	a.Add(Sample{At: 10, Read: Rate{Ops: 300, KiB: 1<<32 - 1, Mean: 10, P99: 30}, Write: Rate{Ops: 1}})
	if want := (Rate{Ops: 400, KiB: 1<<32 - 1, Mean: 20, P99: 90}); a.Read != want || a.Write.Ops != 1 {
		t.Errorf("%+v", a)
	}
}

func BenchmarkCount(b *testing.B) {
	var f Flow
	b.ReportAllocs()
	for i := range b.N {
		f.Count(4096, uint64(i)<<10, true)
	}
}
