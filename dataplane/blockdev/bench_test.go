package blockdev_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/blockdev/blockdevtest"
)

const benchSize = 256 << 20 // bytes

// BenchmarkIO4K reads and writes random blocks of 4 KiB with each engine, 1, 4 and 32 in flight; io_uring
// with pinned memory, too. It reports the processor time of the whole process per operation, the driver's
// included, and latencies.
func BenchmarkIO4K(b *testing.B) {
	for _, kind := range []blockdev.Kind{blockdev.Read, blockdev.Write} {
		for _, depth := range []int{1, 4, 32} {
			for _, e := range []blockdev.Engine{blockdev.EngineMem, blockdev.EnginePlain, blockdev.EngineURing} {
				b.Run(fmt.Sprintf("%v/qd%d/%v", kind, depth, e), func(b *testing.B) {
					benchIO(b, e, nil, kind, depth)
				})
			}
			b.Run(fmt.Sprintf("%v/qd%d/pinned", kind, depth), func(b *testing.B) {
				benchIO(b, blockdev.EngineURing, alignedBuffer(b, 1<<20), kind, depth)
			})
		}
	}
}

// benchFile makes a device; a file's were all written: the file system answers for others by itself.
func benchFile(b *testing.B, e blockdev.Engine, pinned []byte) blockdev.Device {
	if e == blockdev.EngineMem {
		return blockdev.NewMem(blockdev.MemOptions{Size: benchSize, LogicalBlock: 4096})
	}
	dev, err := blockdev.OpenFile(filepath.Join(b.TempDir(), "disk"), blockdev.FileOptions{Create: benchSize,
		Engine: e, Pinned: [][]byte{pinned}})
	if err != nil {
		b.Skipf("engine %v: %v", e, err)
	}
	if !dev.Geometry().Direct {
		b.Skip("the file system of the temporary directory does not take O_DIRECT")
	}
	buf := alignedBuffer(b, 1<<20)
	for off := int64(0); off < benchSize; off += int64(len(buf)) {
		if err := blockdevtest.Do(dev, &blockdev.Op{Kind: blockdev.Write, Off: off, Buf: buf}); err != nil {
			b.Fatal(err)
		}
	}
	if err := blockdevtest.Do(dev, &blockdev.Op{Kind: blockdev.Flush}); err != nil {
		b.Fatal(err)
	}
	return dev
}

// alignedBuffer is memory outside the Go heap, on a page boundary.
func alignedBuffer(tb testing.TB, size int) []byte {
	buf, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Munmap(buf) })
	return buf
}

// benchOp is an operation with the moment it was submitted.
type benchOp struct {
	op      blockdev.Op
	started time.Time
}

// benchIO keeps depth operations in flight, in pinned memory when there is some.
func benchIO(b *testing.B, e blockdev.Engine, memory []byte, kind blockdev.Kind, depth int) {
	dev := benchFile(b, e, memory)
	if memory == nil {
		memory = alignedBuffer(b, depth*4096)
	}
	ended := make(chan int, depth)
	ops := make([]benchOp, depth)
	for i := range ops {
		ops[i].op = blockdev.Op{Kind: kind, Buf: memory[i*4096:][:4096], Done: func(_ *blockdev.Op, err error) {
			if err != nil {
				panic(err)
			}
			ended <- i
		}}
		ended <- i
	}
	took := make([]time.Duration, 0, b.N)
	rng := rand.New(rand.NewPCG(1, 1))
	batch := make([]*blockdev.Op, 0, depth)
	b.ReportAllocs()
	b.ResetTimer()
	used, left := cpu(), b.N
	next := func(i int) {
		if !ops[i].started.IsZero() {
			took = append(took, time.Since(ops[i].started))
		}
		if left > 0 {
			left--
			ops[i].op.Off = rng.Int64N(benchSize/4096) * 4096
			ops[i].started = time.Now()
			batch = append(batch, &ops[i].op)
		}
	}
	for len(took) < b.N {
		next(<-ended)
		for len(ended) > 0 {
			next(<-ended)
		}
		dev.Submit(batch...)
		batch = batch[:0]
	}
	used = cpu() - used
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-us")
	if err := dev.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpu is the processor time of the process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
