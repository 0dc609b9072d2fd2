package gateway

import (
	"cmp"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// TestAPoolForgetsNothing: what a session has counted stays in its pool's sums when its volume is deleted,
// and when it ends after that.
func TestAPoolForgetsNothing(t *testing.T) {
	s := heldSession()
	s.v.pool, s.eng = &pool{id: 1, name: "gold"}, new(engine.Engine)
	s.v.g.mu.known = map[cluster.PoolID]*pool{1: s.v.pool}
	h := &hostIO{s: s}
	h.op = engine.Op{Kind: engine.Write, Sectors: 8, Tag: h}
	s.ops = 2
	s.count(nil, []*engine.Op{&h.op})
	h.op.Status = engine.PathGone
	s.count(nil, []*engine.Op{&h.op})
	if w := &s.io[stats.Write]; w.Ops() != 2 || w.Bytes != 4096 || w.Errors != 1 {
		t.Fatalf("%d writes, %d bytes, %d errors", w.Ops(), w.Bytes, w.Errors)
	}
	s.v.g.books.enter(s)
	s.v.g.mu.volumes = nil
	if f := s.v.g.Figures(); f.Pools[0].IO[stats.Write].Ops() != 2 || len(f.Volumes) != 1 {
		t.Errorf("deleted: %+v", f)
	}
	s.v.g.books.leave(s)
	if f := s.v.g.Figures(); f.Pools[0].IO[stats.Write].Ops() != 2 || len(f.Volumes) != 0 {
		t.Errorf("%+v", f)
	}
}

// TestSampling: one of so many is sampled, and one that nobody takes is dropped.
func TestSampling(t *testing.T) {
	s := heldSession()
	to := make(chan Sample, 2)
	s.v.g.o.Sampling = Sampling{Every: 3, To: to}
	h := &hostIO{s: s}
	h.op = engine.Op{Kind: engine.Write, LBA: 8, Sectors: 8, Tag: h}
	for range 30 {
		s.count(nil, []*engine.Op{&h.op})
	}
	x := <-to
	if len(to) != 1 || x.Direction != stats.Write || x.Offset != 4096 || x.Bytes != 4096 || !x.OK {
		t.Errorf("%+v, and %d more", x, len(to))
	}
}

// BenchmarkCount is what counting costs a host's operation: two readings of the clock and a few additions.
func BenchmarkCount(b *testing.B) {
	s := heldSession()
	h := &hostIO{s: s}
	h.op = engine.Op{Kind: engine.Write, Sectors: 8, Tag: h}
	done := []*engine.Op{&h.op}
	b.ReportAllocs()
	for b.Loop() {
		h.began = s.v.g.now()
		s.count(nil, done)
	}
}

// TestStatsAreInOrder: what is published again and again is the same as long as nothing happens.
func TestStatsAreInOrder(t *testing.T) {
	g := new(Gateway)
	why := "locked"
	g.mu.volumes = make(map[cluster.VolumeKey]*Volume)
	g.mu.state = &cluster.State{Owners: make(map[cluster.VolumeKey]*cluster.OwnerAt)}
	for n := range uint32(50) {
		k := cluster.VolumeKey{VUID: 1 + n%10, Generation: 1 + n/10}
		v := &Volume{g: g, key: k}
		v.locked.Store(&why)
		g.mu.state.Owners[k] = new(cluster.OwnerAt)
		g.add(v)
	}
	if st := g.Stats(); len(st) != 50 || !slices.IsSortedFunc(st, func(a, b cluster.VolumeStats) int {
		return cmp.Compare(a.Key.Serial(), b.Key.Serial())
	}) {
		t.Errorf("%+v", st)
	}
}
