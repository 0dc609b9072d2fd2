package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// bounds sets the limits as etcd's watch would.
func (w *world) bounds(volume *cluster.QoS, pool *cluster.PoolQoS) {
	w.mu.Lock()
	w.bound, w.pool = volume, pool
	w.mu.Unlock()
	w.watch()
}

// rate keeps some reads under way for a time and returns how many were answered, all of them well.
func (w *world) rate(d time.Duration) int {
	w.t.Helper()
	begin, n := time.Now(), 0
	var under []*command
	for range 8 {
		under = append(under, w.host(1, nvme.OpRead, 0))
	}
	for time.Since(begin) < d {
		pass(time.Millisecond)
		for i, c := range under {
			if c.answered() {
				w.must(c, nvme.Success)
				under[i] = w.host(1, nvme.OpRead, 0)
				n++
			}
		}
	}
	for _, c := range under {
		w.must(c, nvme.Success)
	}
	return n
}

// TestLimitsAreKept: of a volume, by operations and by bytes, and of its pool; they change while hosts work,
// and nothing ever fails. Within 5 %, on a clock of its own.
func TestLimitsAreKept(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.write(1, 1)
		if w.volume(1).flow.Load() != nil {
			t.Error("a volume without limits has a flow")
		}
		const seconds = 10
		for _, c := range []struct {
			name   string
			volume *cluster.QoS
			pool   *cluster.PoolQoS
			want   int // operations a second
		}{
			{"operations", &cluster.QoS{IOPS: 200}, nil, 200},
			{"bytes", &cluster.QoS{Bandwidth: 1 << 20}, nil, 256},
			{"the lower of both", &cluster.QoS{IOPS: 300, Bandwidth: 1 << 20}, nil, 256},
			{"pool", nil, &cluster.PoolQoS{Total: &cluster.QoS{IOPS: 150}}, 150},
			{"each volume of a pool", nil, &cluster.PoolQoS{Volume: &cluster.QoS{IOPS: 120}}, 120},
			{"own before the pool's", &cluster.QoS{IOPS: 180},
				&cluster.PoolQoS{Volume: &cluster.QoS{IOPS: 20}}, 180},
			{"the pool's total too", &cluster.QoS{IOPS: 180},
				&cluster.PoolQoS{Total: &cluster.QoS{IOPS: 90}}, 90},
		} {
			w.bounds(c.volume, c.pool)
			w.rate(time.Second) // the burst
			got := float64(w.rate(seconds*time.Second)) / seconds
			if got > 1.05*float64(c.want) || got < 0.95*float64(c.want) {
				t.Errorf("%s: %v operations a second, want %d", c.name, got, c.want)
			}
		}
		w.bounds(&cluster.QoS{}, &cluster.PoolQoS{Volume: &cluster.QoS{IOPS: 20}})
		if w.volume(1).flow.Load() != nil {
			t.Error("a volume that asks for no limits has a flow")
		}
	})
}

// TestWhatWaitsEndsWithTheSession: commands that wait for their turn come back as path errors when the volume
// is lost, for another node serves it; and at once when the limit goes.
func TestWhatWaitsEndsWithTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		slow := &cluster.QoS{IOPS: 10, BurstMS: 10}
		many := func() (all []*command) {
			for range 40 {
				all = append(all, w.host(1, nvme.OpWrite, 1))
			}
			pass(time.Second)
			if all[39].answered() {
				t.Fatal("the last of 40 commands did not wait for its turn")
			}
			return all
		}
		w.bounds(slow, nil)
		waiting := many()
		w.bounds(nil, nil)
		begin := time.Now()
		for _, c := range waiting {
			w.must(c, nvme.Success)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("without a limit it took %v more", d)
		}
		w.bounds(slow, nil)
		waiting = many()
		w.volume(1).session.Load().end("the test says so")
		begin = time.Now()
		w.must(waiting[39], nvme.AsymmetricAccessInaccessible)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("a lost volume kept its hosts for %v", d)
		}
	})
}

// TestAPartOfALimitIsNeverNone: a gateway has the part that its volumes are of all; however small, it bounds.
func TestAPartOfALimitIsNeverNone(t *testing.T) {
	q := &cluster.QoS{IOPS: 10, Bandwidth: 3 << 20}
	if l := limits(q, 1, 3); l.IOPS != 3 || l.Bytes != 1<<20 || l.Burst != int64(100*time.Millisecond) {
		t.Errorf("a third is %+v", l)
	}
	if l := limits(q, 1, 1000); l.IOPS != 1 || l.Bytes != 3145 {
		t.Errorf("a thousandth is %+v", l)
	}
	if l := limits(&cluster.QoS{IOPS: 10, BurstMS: 500}, 1, 1); l.Bytes != 0 || l.Burst != int64(time.Second/2) {
		t.Errorf("the whole is %+v", l)
	}
	if !limits(nil, 1, 1).None() || !limits(&cluster.QoS{}, 1, 2).None() {
		t.Error("no limit bounds")
	}
}
