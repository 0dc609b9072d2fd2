package history

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// TestAnHour plays a node that serves a volume, loses it and gets it back.
func TestAnHour(t *testing.T) {
	id := cluster.UUID{1}
	synctest.Test(t, func(t *testing.T) {
		var f node.Figures
		v := gateway.VolumeFigures{UUID: id, Pool: "gold"}
		f.Devices = []node.DeviceFigures{{Device: 7, Open: true}, {Device: 8}}
		h := New(Options{Node: 3, Figures: func() (node.Figures, bool) { return f, true }, Now: time.Now})
		go h.Run(t.Context())
		step := func() {
			v.IO[stats.Write].Count(4096, 100_000, true)
			f.Gateway.Volumes = []gateway.VolumeFigures{v}
			f.Gateway.Pools = map[string]*stats.IO{"gold": &v.IO}
			f.Devices[0].Disk.Write = v.IO[stats.Write]
			next := time.NewTimer(stats.Interval * time.Second)
			<-next.C
			synctest.Wait()
		}
		for range 4 {
			step()
		}
		st, ok := h.VolumeStatistics(id, time.Hour)
		if !ok || st.Nodes[0] != 3 || st.Totals.Write.Operations != 4 || st.Totals.Write.LatencySeconds != 0.0004 {
			t.Fatalf("%+v, %v", st, ok)
		}
		if n := len(st.Samples); n < 2 || st.Samples[n-1].Write.Operations != 1 ||
			st.Samples[n-1].Write.Bytes != 4096 || st.Samples[n-1].Write.MeanUS != 100 {
			t.Errorf("%+v", st.Samples)
		}
		at, err := time.Parse(time.RFC3339, st.Samples[0].Time)
		if err != nil || at.Unix()%stats.Interval != 0 {
			t.Errorf("a sample at %v, %v", st.Samples[0].Time, err)
		}
		if st, ok := h.VolumeStatistics(id, 10*time.Second); !ok || len(st.Samples) > 1 {
			t.Errorf("ten seconds: %+v", st.Samples)
		}
		if st, ok := h.PoolStatistics("gold", time.Hour); !ok || len(st.Samples) < 2 {
			t.Errorf("pool: %+v", st)
		}
		if st, ok := h.DeviceStatistics(7, time.Hour); !ok || st.Totals.Write.Bytes != 4*4096 {
			t.Errorf("device: %+v", st)
		}
		if _, ok := h.DeviceStatistics(8, time.Hour); ok {
			t.Error("a device that is not open counts")
		}

		f.Gateway.Volumes = nil // another node takes it over
		next := time.NewTimer(stats.Interval * time.Second)
		<-next.C
		synctest.Wait()
		if _, ok := h.VolumeStatistics(id, time.Hour); ok || len(h.volumes) != 0 {
			t.Error("a volume that is gone is remembered")
		}
		step()
		if st, _ := h.VolumeStatistics(id, time.Hour); len(st.Samples) != 0 {
			t.Errorf("what was before is told: %+v", st.Samples)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	h := New(Options{Now: time.Now})
	var f node.Figures
	for i := range MaxVolumes + 10 {
		f.Gateway.Volumes = append(f.Gateway.Volumes, gateway.VolumeFigures{
			UUID: cluster.UUID{byte(i >> 8), byte(i)}})
	}
	h.Record(10, &f)
	h.Record(20, &f)
	if len(h.volumes) != MaxVolumes {
		t.Errorf("%d series", len(h.volumes))
	}
}
