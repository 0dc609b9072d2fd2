// Package history remembers the last hour of what a node does, and tells it to the API: of every volume that
// it owns, of every pool that these are of, and of every device of it.
//
//	data plane --Figures, every 10 s--> stats.Series of each --> Statistics of the API
//
// Samples are aligned to the clock, so that those of several nodes add up. Memory is bounded: a series takes
// 14 KiB at most, and nothing while nothing happens; a node keeps those of MaxVolumes volumes.
package history

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// MaxVolumes bounds the volumes whose past is kept. Of others there are totals only.
const MaxVolumes = 4096

// Options of a History.
type Options struct {
	Node    cluster.NodeID
	Figures func() (f node.Figures, ok bool) // ok is false while there is no data plane
	Now     func() time.Time
}

// History is the past of one node. Any goroutine may use it.
type History struct {
	o  Options
	mu sync.Mutex
	// Guarded by mu. What is not on this node any more is not in here.
	volumes map[cluster.UUID]*stats.Series
	pools   map[cluster.PoolID]*stats.Series
	devices map[cluster.DeviceID]*stats.Series
}

// New makes an empty history.
func New(o Options) *History { return &History{o: o} }

// Run records until ctx ends.
func (h *History) Run(ctx context.Context) {
	for {
		now := h.o.Now()
		next := now.Truncate(stats.Interval * time.Second).Add(stats.Interval * time.Second)
		t := time.NewTimer(next.Sub(now))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if f, ok := h.o.Figures(); ok {
			h.Record(next.Unix(), &f)
		}
	}
}

// Record takes the figures as they are at a time, in seconds since 1970.
func (h *History) Record(at int64, f *node.Figures) {
	h.mu.Lock()
	defer h.mu.Unlock()
	volumes := make(map[cluster.UUID]*stats.Series, len(f.Gateway.Volumes))
	for i := range f.Gateway.Volumes {
		v := &f.Gateway.Volumes[i]
		if len(volumes) < MaxVolumes || h.volumes[v.UUID] != nil {
			keep(volumes, h.volumes, v.UUID).Record(at, v.IO)
		}
	}
	pools := make(map[cluster.PoolID]*stats.Series, len(f.Gateway.Pools))
	for i := range f.Gateway.Pools {
		p := &f.Gateway.Pools[i]
		keep(pools, h.pools, p.ID).Record(at, &p.IO)
	}
	devices := make(map[cluster.DeviceID]*stats.Series, len(f.Devices))
	for i := range f.Devices {
		if d := &f.Devices[i]; d.Open {
			io := deviceIO(d)
			keep(devices, h.devices, d.Device).Record(at, &io)
		}
	}
	h.volumes, h.pools, h.devices = volumes, pools, devices
}

// keep carries a series over, or begins one.
func keep[K comparable](to, from map[K]*stats.Series, key K) *stats.Series {
	s := from[key]
	if s == nil {
		s = new(stats.Series)
	}
	to[key] = s
	return s
}

func deviceIO(d *node.DeviceFigures) stats.IO {
	return stats.IO{stats.Read: d.Disk.Read, stats.Write: d.Disk.Write, stats.Discard: d.Disk.Discard}
}

// VolumeStatistics implements api.Observer.
func (h *History) VolumeStatistics(id cluster.UUID, since time.Duration) (wire.Statistics, bool) {
	f, _ := h.o.Figures()
	for i := range f.Gateway.Volumes {
		if v := &f.Gateway.Volumes[i]; v.UUID == id {
			return statistics(h, &h.volumes, id, v.IO, since), true
		}
	}
	return wire.Statistics{}, false
}

// PoolStatistics implements api.Observer.
func (h *History) PoolStatistics(id cluster.PoolID, since time.Duration) (wire.Statistics, bool) {
	f, _ := h.o.Figures()
	for i := range f.Gateway.Pools {
		if p := &f.Gateway.Pools[i]; p.ID == id {
			return statistics(h, &h.pools, id, &p.IO, since), true
		}
	}
	return wire.Statistics{}, false
}

// DeviceStatistics implements api.Observer.
func (h *History) DeviceStatistics(id cluster.DeviceID, since time.Duration) (wire.Statistics, bool) {
	f, _ := h.o.Figures()
	for i := range f.Devices {
		if d := &f.Devices[i]; d.Device == id && d.Open {
			io := deviceIO(d)
			return statistics(h, &h.devices, id, &io, since), true
		}
	}
	return wire.Statistics{}, false
}

// statistics is the present totals and the samples of one of the maps of h.
func statistics[K comparable](h *History, all *map[K]*stats.Series, key K, totals *stats.IO,
	since time.Duration) wire.Statistics {
	now := h.o.Now()
	out := wire.Statistics{Time: stamp(now.Unix()), Nodes: []cluster.NodeID{h.o.Node}, Totals: wire.Totals{
		Read: flow(&totals[stats.Read]), Write: flow(&totals[stats.Write]), Discard: flow(&totals[stats.Discard]),
	}, Interval: stats.Interval, Samples: []wire.Sample{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := (*all)[key]
	if s == nil || since == 0 {
		return out
	}
	for _, x := range s.Samples(now.Add(-since).Unix()) {
		out.Samples = append(out.Samples, wire.Sample{Time: stamp(x.At), Read: rate(x.Read), Write: rate(x.Write)})
	}
	return out
}

func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

func flow(f *stats.Flow) wire.Flow {
	us := math.Round(float64(f.Latency.Sum) / 1e3)
	return wire.Flow{Operations: f.Ops(), Errors: f.Errors, Bytes: f.Bytes, LatencySeconds: us / 1e6}
}

func rate(r stats.Rate) wire.Rate {
	return wire.Rate{Operations: uint64(r.Ops), Bytes: uint64(r.KiB) << 10, MeanUS: uint64(r.Mean),
		P99US: uint64(r.P99)}
}
