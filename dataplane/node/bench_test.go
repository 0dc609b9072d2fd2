package node

import (
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const benchSize = 32 << 20

// BenchmarkVolume measures random blocks of a volume that is written all over, by code. As many nodes as the
// code has columns, three at least, run in this process with a device each, loopback between them and the
// page cache below, host included: cpu-us/op is everything there is. The other metrics are counted, not
// computed, so that the cost of a code can be held against its design; what goes on in the background
// meanwhile counts, too.
func BenchmarkVolume(b *testing.B) {
	for _, c := range []struct {
		code         cluster.Code
		data, parity int
		depths       []int
	}{
		{cluster.CodeReplica, 1, 1, []int{1, 32, 128}},
		{cluster.CodeReplica, 1, 2, []int{1, 32, 128}},
		{cluster.CodeRS, 2, 1, []int{32}},
		{cluster.CodeRS, 4, 2, []int{32}},
	} {
		width := c.data + c.parity
		w := newWorld(b, max(width, 3), width)
		pool := w.ctl.Newest().Map.Pools["p"]
		pool.Code, pool.Data, pool.Parity = c.code, c.data, c.parity
		var n counts
		for id := range w.ctl.Newest().Map.Nodes {
			w.startCounted(id, &n)
		}
		_, cfg := w.create(benchSize)
		v := open(b, cfg)
		data := make([]byte, benchSize)
		rand.New(rand.NewSource(1)).Read(data) // nobody may take a short cut for zeros
		if err := v.Write(b.Context(), data, 0); err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprintf("%s=%d+%d", c.code, c.data, c.parity)
		for _, depth := range c.depths { // all reads first: writes leave work behind
			b.Run(fmt.Sprintf("%s/read/qd=%d", name, depth), func(b *testing.B) {
				benchVolume(b, v, &n, nvme.OpRead, depth)
			})
		}
		for _, depth := range c.depths {
			b.Run(fmt.Sprintf("%s/write/qd=%d", name, depth), func(b *testing.B) {
				benchVolume(b, v, &n, nvme.OpWrite, depth)
			})
		}
		v.Close()
		for id := range w.running {
			w.stop(id)
		}
	}
}

func cpu() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// timedRequest is one of the requests in flight.
type timedRequest struct {
	initiator.Request
	began time.Time
}

// benchVolume keeps depth requests in flight, each submitting the next when it is done.
func benchVolume(b *testing.B, v *initiator.Volume, n *counts, op uint8, depth int) {
	var done, failed atomic.Int64
	took := make([]time.Duration, b.N)
	ring := make(chan *timedRequest, depth) // Done must not submit: it would recurse
	requests := make([]timedRequest, depth)
	rng := rand.New(rand.NewSource(int64(depth)))
	for i := range requests {
		r := &requests[i]
		r.Op, r.Data = op, make([]byte, cluster.BlockSize)
		rng.Read(r.Data)
		r.Done = func(_ *initiator.Request, err error) {
			if err != nil {
				failed.Add(1)
			}
			took[done.Add(1)-1] = time.Since(r.began)
			ring <- r
		}
	}
	var wg sync.WaitGroup
	wg.Add(depth)
	go func() {
		left := b.N
		for r := range ring {
			if left--; left < 0 {
				wg.Done()
				continue
			}
			r.Off = rng.Int63n(benchSize/cluster.BlockSize) * cluster.BlockSize
			r.began = time.Now()
			v.Submit(&r.Request)
		}
	}()
	b.ReportAllocs()
	before, start := n.values(), cpu()
	b.ResetTimer()
	for i := range requests {
		ring <- &requests[i]
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
	for name, after := range n.values() {
		b.ReportMetric(float64(after-before[name])/float64(b.N), name)
	}
	close(ring)
	slices.Sort(took)
	b.ReportMetric(float64(took[b.N/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(took[b.N*99/100].Nanoseconds())/1e3, "p99-us")
	if n := failed.Load(); n > 0 {
		b.Errorf("%d requests failed", n)
	}
}
