package node

import (
	"fmt"
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

// BenchmarkReplicatedVolume measures a volume of three nodes in this process over loopback, page cache below,
// host included: CPU-us/op is everything there is.
func BenchmarkReplicatedVolume(b *testing.B) {
	for _, copies := range []int{1, 2, 3} {
		w := newWorld(b, 3, copies)
		for n := range cluster.NodeID(3) {
			w.start(n + 1)
		}
		_, cfg := w.create(benchSize)
		v := open(b, cfg)
		data := make([]byte, benchSize)
		if err := v.Write(b.Context(), data, 0); err != nil {
			b.Fatal(err)
		}
		for _, depth := range []int{1, 32, 128} {
			b.Run(fmt.Sprintf("copies=%d/read/qd=%d", copies, depth), func(b *testing.B) {
				benchVolume(b, v, nvme.OpRead, depth)
			})
			b.Run(fmt.Sprintf("copies=%d/write/qd=%d", copies, depth), func(b *testing.B) {
				benchVolume(b, v, nvme.OpWrite, depth)
			})
		}
		v.Close()
		for n := range w.running {
			w.stop(n)
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

// benchVolume keeps depth requests in flight, each submitting the next when it is done.
func benchVolume(b *testing.B, v *initiator.Volume, op uint8, depth int) {
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	submit := func(r *initiator.Request) {
		i := left.Add(-1)
		if i < 0 {
			wg.Done()
			return
		}
		r.Off = (i * 2654435761 % (benchSize / cluster.BlockSize)) * cluster.BlockSize
		v.Submit(r)
	}
	ring := make(chan *initiator.Request, depth) // Done must not submit: it would recurse
	requests := make([]initiator.Request, depth)
	for i := range requests {
		requests[i] = initiator.Request{Op: op, Data: make([]byte, cluster.BlockSize),
			Done: func(r *initiator.Request, err error) {
				if err != nil {
					failed.Add(1)
				}
				ring <- r
			}}
	}
	wg.Add(depth)
	go func() {
		for r := range ring {
			submit(r)
		}
	}()
	b.ReportAllocs()
	start := cpu()
	b.ResetTimer()
	for i := range requests {
		ring <- &requests[i]
	}
	wg.Wait()
	b.StopTimer()
	close(ring)
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
	if n := failed.Load(); n > 0 {
		b.Errorf("%d requests failed", n)
	}
}
