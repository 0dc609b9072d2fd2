package history

import (
	"context"
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
	var f node.Figures
	v := gateway.VolumeFigures{UUID: id, Pool: "gold", IO: new(stats.IO)}
	f.Devices = []node.DeviceFigures{{Device: 7, Open: true}, {Device: 8}}
	at := int64(1_000_000)
	h := New(Options{Node: 3, Figures: func() (node.Figures, bool) { return f, true },
		Now: func() time.Time { return time.Unix(at+1, 0) }})
	record := func() { at += stats.Interval; h.Record(at, &f) }
	step := func() {
		v.IO[stats.Write].Count(4096, 100_000, true)
		f.Gateway.Volumes = []gateway.VolumeFigures{v}
		f.Gateway.Pools = []gateway.PoolFigures{{ID: 4, Name: "gold", IO: *v.IO}}
		f.Devices[0].Disk.Write = v.IO[stats.Write]
		record()
	}
	for range 4 {
		step()
	}
	st, ok := h.VolumeStatistics(id, time.Hour)
	if !ok || st.Nodes[0] != 3 || st.Totals.Write.Operations != 4 || st.Totals.Write.LatencySeconds != 0.0004 {
		t.Fatalf("%+v, %v", st, ok)
	}
	if n := len(st.Samples); n != 3 || st.Samples[n-1].Write.Operations != 1 ||
		st.Samples[n-1].Write.Bytes != 4096 || st.Samples[n-1].Write.MeanUS != 100 ||
		st.Samples[n-1].Time != time.Unix(at, 0).UTC().Format(time.RFC3339) {
		t.Errorf("%+v", st.Samples)
	}
	if st, ok := h.VolumeStatistics(id, 10*time.Second); !ok || len(st.Samples) != 1 {
		t.Errorf("ten seconds: %+v", st.Samples)
	}
	if st, ok := h.PoolStatistics(4, time.Hour); !ok || len(st.Samples) != 3 {
		t.Errorf("pool: %+v", st)
	}
	if st, ok := h.DeviceStatistics(7, time.Hour); !ok || st.Totals.Write.Bytes != 4*4096 {
		t.Errorf("device: %+v", st)
	}
	if _, ok := h.DeviceStatistics(8, time.Hour); ok {
		t.Error("a device that is not open counts")
	}

	f.Gateway.Pools = []gateway.PoolFigures{{ID: 5, Name: "gold"}} // the pool was deleted, and made anew
	if st, _ := h.PoolStatistics(5, time.Hour); st.Totals.Write.Operations != 0 || len(st.Samples) != 0 {
		t.Errorf("a pool of the same name: %+v", st)
	}

	f.Gateway.Volumes = nil // another node takes it over
	record()
	if _, ok := h.VolumeStatistics(id, time.Hour); ok || len(h.volumes) != 0 {
		t.Error("a volume that is gone is remembered")
	}
	step()
	if st, _ := h.VolumeStatistics(id, time.Hour); len(st.Samples) != 0 {
		t.Errorf("what was before is told: %+v", st.Samples)
	}
}

// TestSamplesAreAligned: to the clock, whenever the node started.
func TestSamplesAreAligned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f node.Figures
		f.Devices = []node.DeviceFigures{{Device: 7, Open: true}}
		looks := make(chan time.Time, 10)
		h := New(Options{Now: time.Now, Figures: func() (node.Figures, bool) {
			looks <- time.Now()
			return f, true
		}})
		begin := time.NewTimer(3 * time.Second)
		<-begin.C
		ctx, stop := context.WithCancel(t.Context())
		go h.Run(ctx)
		for range 3 {
			if at := <-looks; at.UnixNano()%int64(stats.Interval*time.Second) != 0 {
				t.Errorf("a look at %v", at)
			}
		}
		stop()
		synctest.Wait()
	})
}

func TestMemoryIsBounded(t *testing.T) {
	h := New(Options{Now: time.Now})
	var f node.Figures
	for i := range MaxVolumes + 10 {
		f.Gateway.Volumes = append(f.Gateway.Volumes, gateway.VolumeFigures{IO: new(stats.IO),
			UUID: cluster.UUID{byte(i >> 8), byte(i)}})
	}
	h.Record(10, &f)
	h.Record(20, &f)
	if len(h.volumes) != MaxVolumes {
		t.Errorf("%d series", len(h.volumes))
	}
}
