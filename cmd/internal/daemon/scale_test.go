package daemon

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// BenchmarkScale is what a client waits for over loopback in a cluster of one real node, its etcd and a
// device included, that serves so many volumes already: the median and the 99th percentile. Its part idle is
// what the whole process does when nobody asks for anything.
func BenchmarkScale(b *testing.B) {
	for _, have := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("have=%d", have), func(b *testing.B) {
			o := testOptions(b, "a")
			w := newWholeOn(b, o, 16<<30)
			w.fill(have)
			var made []wire.Volume
			name := func() string { return fmt.Sprint("new-", len(made)) }
			b.Run("idle", func(b *testing.B) { w.idle(b) })
			b.Run("create", func(b *testing.B) {
				measure(b, func() (func(), error) {
					v, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: name(), Pool: "gold", Size: 1 << 20})
					made = append(made, v)
					return func() {}, err
				})
			})
			b.Run("snapshot", func(b *testing.B) {
				measure(b, func() (func(), error) {
					s, err := w.c.CreateSnapshot(w.ctx, wire.SnapshotCreate{Volume: w.volume.ID, Name: "s"})
					if err == nil && s.State != cluster.SnapshotAvailable {
						err = fmt.Errorf("snapshot is %s", s.State)
					}
					return func() { _ = w.c.DeleteSnapshot(w.ctx, s.ID, "") }, err
				})
			})
			b.Run("clone", func(b *testing.B) {
				s := w.snapshot(w.volume, "base")
				measure(b, func() (func(), error) {
					v, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: name(), Source: &wire.Source{Snapshot: s.ID}})
					made = append(made, v)
					return func() {}, err
				})
			})
			b.Run("delete", func(b *testing.B) {
				measure(b, func() (func(), error) {
					if len(made) == 0 {
						b.Skip("all deleted")
					}
					last := len(made) - 1
					id := made[last].ID
					made = made[:last]
					return func() {}, w.c.DeleteVolume(w.ctx, id, "")
				})
			})
		})
	}
}

// fill makes so many volumes, and waits until the node serves them all.
func (w *whole) fill(have int) {
	w.t.Helper()
	w.ctx = w.t.Context() // it takes longer than tests do
	plain, err := client.New(client.Options{Endpoints: []string{"http://" + w.o.Listen.REST}, Token: w.token})
	if err != nil {
		w.t.Fatal(err)
	}
	w.c = plain // the document is checked elsewhere, and that takes time
	began := time.Now()
	const width = 3 // more only get into each other's way: every one counts up the same keys
	var wg sync.WaitGroup
	for n := range width {
		wg.Go(func() {
			for i := n; i < have; i += width {
				if _, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: fmt.Sprint("old-", i), Pool: "gold",
					Size: 1 << 20}); err != nil {
					w.t.Error(err)
					return
				}
			}
		})
	}
	if wg.Wait(); w.t.Failed() {
		w.t.FailNow()
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	eventually(w.t, ctx, "all volumes are served", func() error {
		if n := w.metric(`ashlar_takeovers_total{outcome="served"}`); int(n) <= have {
			return fmt.Errorf("%v of %d are", n, have+1)
		}
		return nil
	})
	w.t.Logf("%d volumes made and opened in %v", have, time.Since(began))
}

// metric is the sum of the node's samples that begin so.
func (w *whole) metric(begin string) (sum float64) {
	w.t.Helper()
	_, text := w.get("http://"+w.o.Listen.REST+"/metrics", w.token)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, begin) {
			continue
		}
		n, err := strconv.ParseFloat(strings.Fields(line)[len(strings.Fields(line))-1], 64)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// idle reports which part of a core the process takes, and how often a second etcd is written.
func (w *whole) idle(b *testing.B) {
	const span = 10 * time.Second
	for done := false; b.Loop(); done = true {
		if done {
			continue // once is enough
		}
		written := w.metric("etcd_server_proposals_applied_total")
		cpu := cpuTime(b)
		if err := pause(w.ctx, span); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(100*(cpuTime(b)-cpu).Seconds()/span.Seconds(), "%core")
		b.ReportMetric((w.metric("etcd_server_proposals_applied_total")-written)/span.Seconds(), "writes/s")
	}
}

// cpuTime is what this process has taken of the processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
