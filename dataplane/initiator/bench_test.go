package initiator_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// cpuTime is the processor time of this process, host and target together, in microseconds.
func cpuTime(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec)*1e6 + float64(u.Utime.Usec+u.Stime.Usec)
}

// BenchmarkLoopback measures host and target in one process over the loopback interface, with a namespace in
// memory: what the data path costs without storage. CPU-us/op counts both sides.
func BenchmarkLoopback(b *testing.B) {
	for _, shape := range []struct{ conns, depth int }{{1, 1}, {1, 32}, {1, 127}, {4, 32}, {64, 1}} {
		for _, op := range []uint8{nvme.OpRead, nvme.OpWrite} {
			name := map[uint8]string{nvme.OpRead: "read", nvme.OpWrite: "write"}[op]
			for _, size := range []int{4096, 65536} {
				if size > 4096 && shape.conns*shape.depth > 32 {
					continue
				}
				b.Run(fmt.Sprintf("%s/%dK/%dx%d", name, size/1024, shape.conns, shape.depth), func(b *testing.B) {
					benchmark(b, op, size, shape.conns, shape.depth)
				})
			}
		}
	}
}

func benchmark(b *testing.B, op uint8, size, conns, depth int) {
	const blocks = 64 << 20 / 512
	n := newNode(b, 1, newNamespace(b, 64<<20, 64<<20), nvmet.Options{})
	cfg := n.config()
	cfg.Queues = 1
	var left atomic.Int64
	var running sync.WaitGroup
	var ios []*initiator.IO
	var submit []func(*initiator.IO)
	for c := range conns {
		cfg.HostID[1] = byte(c + 1) // hosts of their own: one association each
		client, err := initiator.Dial(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		for i := range depth {
			io := &initiator.IO{Data: make([]byte, size)}
			io.Cmd.ReadWrite(op, 1, uint64(c*depth+i)*uint64(size/512)%blocks, uint32(size/512))
			io.Done = func(io *initiator.IO) {
				if !io.Status().OK() {
					b.Errorf("%v", io.Status())
				}
				if left.Add(-1) < 0 {
					running.Done()
					return
				}
				client.Submit(io)
			}
			ios, submit = append(ios, io), append(submit, client.Submit)
		}
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	left.Store(int64(b.N) - int64(len(ios)))
	running.Add(len(ios))
	for i := range ios {
		submit[i](ios[i])
	}
	running.Wait()
	b.StopTimer()
	done := max(b.N, len(ios))
	b.ReportMetric((cpuTime(b)-before)/float64(done), "CPU-us/op")
}

// BenchmarkVolume is the same through a Volume: what multipath adds.
func BenchmarkVolume(b *testing.B) {
	n := newNode(b, 1, newNamespace(b, 64<<20, 64<<20), nvmet.Options{})
	v := open(b, volumeConfig(n))
	const depth = 32
	var left atomic.Int64
	var running sync.WaitGroup
	left.Store(int64(b.N) - depth)
	running.Add(depth)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for i := range depth {
		r := &initiator.Request{Op: nvme.OpRead, Off: int64(i) * 4096, Data: make([]byte, 4096)}
		r.Done = func(r *initiator.Request, err error) {
			if err != nil {
				b.Error(err)
			}
			if left.Add(-1) < 0 {
				running.Done()
				return
			}
			v.Submit(r)
		}
		v.Submit(r)
	}
	running.Wait()
	b.StopTimer()
	b.ReportMetric((cpuTime(b)-before)/float64(max(b.N, depth)), "CPU-us/op")
}
