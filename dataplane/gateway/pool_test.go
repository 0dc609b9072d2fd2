package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// TestAPoolOfTheSameName: a pool was deleted and made again, on other devices, and the gateway hears of both
// at once. Nothing of the old one is left: neither its group table, nor its limits, nor what was counted.
func TestAPoolOfTheSameName(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		g := w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.bounds(nil, &cluster.PoolQoS{Total: &cluster.QoS{IOPS: 10}})
		w.write(1, 7)
		old := w.volume(1)
		if f := g.Figures().Pools; len(f) != 1 || f[0].ID != 1 || f[0].IO[stats.Write].Ops() != 1 {
			t.Errorf("of the first pool: %+v", f)
		}
		if n := len(g.Shares(1)); n != nodes {
			t.Errorf("the first pool is on %d devices", n)
		}

		w.mu.Lock()
		w.deleted, w.anew, w.pool = true, true, nil
		w.mu.Unlock()
		w.watch()
		pass(time.Second)
		if f := g.Figures().Pools; len(f) != 1 || f[0].ID != 2 || f[0].IO[stats.Write].Ops() != 0 {
			t.Errorf("of the second pool: %+v", f)
		}
		if g.Shares(1) != nil || len(g.Shares(2)) != nodes-1 || g.Shares(2)[1] != 0 {
			t.Errorf("shares %v and %v", g.Shares(1), g.Shares(2))
		}
		if len(g.tables(old)) != 1 {
			t.Error("a volume that goes has lost its tables")
		}

		w.mu.Lock()
		w.deleted = false
		w.mu.Unlock()
		w.watch()
		w.until("a volume of the second pool is served", func() bool { return w.serving(1) })
		for _, d := range g.tables(w.volume(1))[0].Row(placement.Group(key(), 0)) {
			if d == 1 {
				t.Error("it lies on a device of the first pool")
			}
		}
		if w.volume(1).flow.Load() != nil || g.known()[2].throttle != nil {
			t.Error("it has limits")
		}
	})
}
