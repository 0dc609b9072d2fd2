package node

import (
	"math/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
)

// timedWrite is a write of one block.
type timedWrite struct {
	began time.Time
	took  time.Duration
}

// BenchmarkSnapshot takes snapshots of a volume, and deletes them again, under a host that writes one block
// after the other: how long a snapshot takes from its record to the one that says it is there, without etcd,
// and how long the host's writes take that meet one, beside the others.
func BenchmarkSnapshot(b *testing.B) {
	w := newWorld(b, 3, 2)
	w.startAll(3)
	vol, cfg := w.create(benchSize)
	v := open(b, cfg)
	data := make([]byte, benchSize)
	rand.New(rand.NewSource(1)).Read(data)
	w.must(v.Write(b.Context(), data, 0))
	stop, ended := make(chan struct{}), make(chan []timedWrite)
	var written atomic.Int64
	go func() { ended <- writeUntil(b, v, stop, &written) }()

	var taken []timedWrite
	for n := 0; b.Loop(); n++ {
		id := cluster.UUID{5, byte(n), byte(n >> 8)}
		rec := cluster.Snapshot{UUID: id, Name: id.String(), Volume: vol.UUID, Key: vol.Key,
			State: cluster.SnapshotCreating, Size: vol.Size}
		began := time.Now()
		w.ctl.change(func(s *cluster.State) {
			s.Snapshots[id] = &cluster.SnapshotAt{Snapshot: rec, Revision: s.Revision}
		})
		w.soon(func() bool { return w.ctl.Newest().Snapshots[id].State == cluster.SnapshotAvailable })
		taken = append(taken, timedWrite{began, time.Since(began)})
		w.ask(id, cluster.SnapshotDeleting)
		w.soon(func() bool { return w.ctl.Newest().Snapshots[id] == nil })
		next := written.Load() + 20
		w.soon(func() bool { return written.Load() >= next })
	}
	close(stop)
	report(b, "snapshot", taken, <-ended)
}

// report tells how long something took, and the writes that met it beside the others.
func report(b *testing.B, what string, done, writes []timedWrite) {
	var met, others []time.Duration
	for _, x := range writes {
		if slices.ContainsFunc(done, func(s timedWrite) bool {
			return x.began.Before(s.began.Add(s.took)) && s.began.Before(x.began.Add(x.took))
		}) {
			met = append(met, x.took)
		} else {
			others = append(others, x.took)
		}
	}
	var each []time.Duration
	for _, s := range done {
		each = append(each, s.took)
	}
	for name, took := range map[string][]time.Duration{what: each, "write-meets": met, "write-else": others} {
		slices.Sort(took)
		if len(took) > 0 {
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), name+"-p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), name+"-p99-us")
		}
	}
}

// soon waits for what takes little time, and looks often.
func (w *world) soon(ok func() bool) {
	end, tick := time.After(60*time.Second), time.NewTicker(100*time.Microsecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			w.t.Fatal("timeout")
		}
	}
}

func writeUntil(b *testing.B, v *initiator.Volume, stop chan struct{},
	written *atomic.Int64) (out []timedWrite) {
	rng, block := rand.New(rand.NewSource(2)), make([]byte, cluster.BlockSize)
	for {
		select {
		case <-stop:
			return out
		default:
		}
		rng.Read(block)
		at := rng.Int63n(benchSize/cluster.BlockSize) * cluster.BlockSize
		began := time.Now()
		if err := v.Write(b.Context(), block, at); err != nil {
			b.Error(err)
			return out
		}
		out = append(out, timedWrite{began, time.Since(began)})
		written.Add(1)
	}
}

// BenchmarkRevert reverts a volume to one snapshot again and again, under a host that writes one block after
// the other: how long that takes from the record to the one that says it is done, without etcd, and how long
// the host's writes take that meet one, beside the others.
func BenchmarkRevert(b *testing.B) {
	w := newWorld(b, 3, 2)
	w.startAll(3)
	vol, cfg := w.create(benchSize)
	v := open(b, cfg)
	data := make([]byte, benchSize)
	rand.New(rand.NewSource(1)).Read(data)
	w.must(v.Write(b.Context(), data, 0))
	to := w.snapshot(vol, 1).UUID
	stop, ended := make(chan struct{}), make(chan []timedWrite)
	var written atomic.Int64
	go func() { ended <- writeUntil(b, v, stop, &written) }()

	var done []timedWrite
	for b.Loop() {
		began := time.Now()
		w.ask(to, cluster.SnapshotReverting)
		w.soon(func() bool { return w.ctl.Newest().Snapshots[to].State == cluster.SnapshotAvailable })
		done = append(done, timedWrite{began, time.Since(began)})
		next := written.Load() + 20
		w.soon(func() bool { return written.Load() >= next })
	}
	close(stop)
	report(b, "revert", done, <-ended)
}
