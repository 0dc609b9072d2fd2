package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// TestStages: while devices stall for a second, one write is with them and another waits for it; limits make
// others wait before. Every operation is counted once in each stage that it was in, and together the stages
// of the engine are its latency.
func TestStages(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		g := w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.write(1, 1)
		before := w.stages(g)
		if before[stats.Limits][stats.Write].Count() != 0 || before[stats.Waiting][stats.Write].Sum != 0 {
			t.Errorf("a lonely write waited: %v ns", before[stats.Waiting][stats.Write].Sum)
		}

		w.stall(true)
		first, second := w.host(1, nvme.OpWrite, 2), w.host(1, nvme.OpWrite, 3)
		pass(time.Second)
		w.stall(false)
		w.must(first, nvme.Success)
		w.must(second, nvme.Success)
		is := w.stages(g)
		for _, x := range []struct {
			stage stats.Stage
			count uint64
			sum   time.Duration
		}{{stats.Limits, 0, 0}, {stats.Waiting, 2, time.Second}, {stats.Devices, 2, time.Second}} {
			got := is[x.stage][stats.Write].Since(&before[x.stage][stats.Write])
			if sum := time.Duration(got.Sum); got.Count() != x.count || sum < x.sum || sum > x.sum+time.Millisecond {
				t.Errorf("%v: %d writes, %v; want %d, %v", x.stage, got.Count(), sum, x.count, x.sum)
			}
		}

		w.bounds(&cluster.QoS{IOPS: 10, BurstMS: 100}, nil)
		n := uint64(w.rate(2 * time.Second))
		is = w.stages(g)
		limits, devices := &is[stats.Limits][stats.Read], &is[stats.Devices][stats.Read]
		if limits.Count() < n || devices.Count() < n || limits.Mean() < uint64(100*time.Millisecond) {
			t.Errorf("%d reads: %d had limits, of %v on average; %d came to devices", n, limits.Count(),
				time.Duration(limits.Mean()), devices.Count())
		}
		pool, volume := g.Figures().Pools[0], g.Figures().Volumes[0]
		if pool.Stages != *volume.Stages {
			t.Error("the pool of one volume counts otherwise")
		}
		for d := range volume.IO {
			s := volume.Stages
			if s[stats.Waiting][d].Sum+s[stats.Devices][d].Sum != volume.IO[d].Latency.Sum {
				t.Errorf("%v: the stages are not the latency", stats.Direction(d))
			}
		}
	})
}

func (w *world) stages(g *Gateway) stats.StageTimes { return *g.Figures().Volumes[0].Stages }
