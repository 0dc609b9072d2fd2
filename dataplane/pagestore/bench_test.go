package pagestore

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

const benchBlocks = 1 << 15 // 128 MiB

func benchMem(unit int, cache bool) *blockdev.Mem {
	return blockdev.NewMem(blockdev.MemOptions{Size: benchBlocks * BlockSize, LogicalBlock: unit,
		VolatileCache: cache})
}

func benchFile(b *testing.B) blockdev.Device {
	d, err := blockdev.OpenFile(filepath.Join(b.TempDir(), "disk"),
		blockdev.FileOptions{Create: benchBlocks * BlockSize})
	must(b, err)
	return d
}

// cpu is the processor time of the process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loop keeps depth operations in flight until n are through. slot makes what submits the k-th operation of
// one place, and calls done when it ends. With record it returns how long they took, ascending, in ns.
func loop(depth, n int, record bool, slot func(done func()) (submit func(k int))) (took []int64) {
	type place struct {
		began  time.Time
		submit func(int)
		took   []int64
	}
	all, free := make([]place, depth), make(chan *place, depth)
	for i := range all {
		p := &all[i]
		p.submit = slot(func() {
			if record {
				p.took = append(p.took, int64(time.Since(p.began)))
			}
			free <- p
		})
		free <- p
	}
	for k := range n {
		p := <-free
		if record {
			p.began = time.Now()
		}
		p.submit(k)
	}
	for range all {
		<-free
	}
	for i := range all {
		took = append(took, all[i].took...)
	}
	slices.Sort(took)
	return took
}

// writer writes random pieces of so many blocks, or one after the other, to half of the device at first.
type writer struct {
	s      *Store
	chunks uint64 // of the device that are written
	rng    *rand.Rand
	blocks uint16
	inRow  bool
	n      uint64 // sent so far
	writes []*Write
}

func newWriter(s *Store, blocks uint16, depth int, inRow bool) *writer {
	w := &writer{s: s, chunks: s.lay.dataBlocks / 2 / 64, rng: rand.New(rand.NewPCG(1, 1)),
		blocks: blocks, inRow: inRow}
	for i := range depth {
		data, crc := fill(blocks, uint64(i))
		w.writes = append(w.writes, &Write{Data: data, CRC: crc, Columns: columnsOf(2, blocks)})
	}
	return w
}

// run sends n writes and waits for all.
func (w *writer) run(n int, record bool) (took []int64) {
	per := 64 / uint64(w.blocks)
	depth := len(w.writes)
	i := 0
	return loop(depth, n, record, func(done func()) func(int) {
		x := w.writes[i]
		i++
		x.Done = func(_ *Write, err error) {
			if err != nil {
				panic(err)
			}
			done()
		}
		return func(int) {
			at := w.n % (w.chunks * per)
			if !w.inRow {
				at = w.rng.Uint64N(w.chunks * per)
			}
			w.n++
			x.Extent = ext(1, at/per, uint16(at%per)*w.blocks, w.blocks)
			x.W, x.Stable = seq(1, w.n), seq(1, w.n-min(w.n, uint64(depth)+1))
			w.s.Write(x)
		}
	})
}

// settle fills what is going to be overwritten, and writes on until checkpoints have become what they stay.
func (w *writer) settle() {
	first := newWriter(w.s, 64, 4, true)
	first.chunks = w.chunks
	first.run(int(w.chunks), false)
	w.n = first.n
	from := w.s.Stats().Traffic.Checkpoints
	for w.s.Stats().Traffic.Checkpoints < from+3 {
		w.run(5000, false)
	}
}

// BenchmarkAmplification shows what is written beside the data, half of the device or all but a sixteenth
// being overwritten, with the device's own counters: log-% and ckpt-% of the data, both copies of the
// checkpoint ring included, and all writes of the device per byte written.
func BenchmarkAmplification(b *testing.B) {
	for _, unit := range []int{512, BlockSize} {
		for _, c := range []struct {
			name   string
			blocks uint16
			depth  int
			inRow  bool
			full   bool
		}{{"4K-random/qd1", 1, 1, false, false}, {"4K-random/qd32", 1, 32, false, false},
			{"4K-random/qd128", 1, 128, false, false}, {"4K-random/full", 1, 32, false, true},
			{"64K-random/qd8", 16, 8, false, false}, {"64K-random/full", 16, 8, false, true},
			{"256K-in-order/qd1", 64, 1, true, false}, {"256K-in-order/qd4", 64, 4, true, false}} {
			b.Run(fmt.Sprintf("%d/%s", unit, c.name), func(b *testing.B) {
				dev := benchMem(unit, false)
				defer dev.Close()
				must(b, Format(b.Context(), dev, formatOptions()))
				s := open(b, dev)
				w := newWriter(s, c.blocks, c.depth, c.inRow)
				if c.full {
					w.chunks = s.lay.dataBlocks / 64 / 16 * 15
				}
				w.settle()
				w.run(b.N/4, false)
				b.SetBytes(int64(c.blocks) * BlockSize)
				before, wrote := s.Stats().Traffic, dev.Counts().WriteBytes
				b.ResetTimer()
				w.run(b.N, false)
				b.StopTimer()
				after, data := s.Stats().Traffic, float64(b.N)*float64(c.blocks)*BlockSize
				b.ReportMetric(100*float64(after.LogBytes-before.LogBytes)/data, "log-%")
				b.ReportMetric(100*float64(after.CheckpointBytes-before.CheckpointBytes)/data, "ckpt-%")
				b.ReportMetric(float64(dev.Counts().WriteBytes-wrote)/data, "device-wa")
				b.ReportMetric(float64(after.Records-before.Records)/float64(after.Commits-before.Commits),
					"records/group")
				b.ReportMetric(float64(after.Checkpoints-before.Checkpoints), "ckpts")
				must(b, s.Close())
			})
		}
	}
}

// bare reads or writes random blocks of the device itself.
func bare(dev blockdev.Device, kind blockdev.Kind, depth, n int, record bool) (took []int64) {
	rng := rand.New(rand.NewPCG(1, 1))
	return loop(depth, n, record, func(done func()) func(int) {
		o := &blockdev.Op{Kind: kind, Buf: make([]byte, BlockSize), Done: func(*blockdev.Op, error) { done() }}
		return func(int) {
			o.Off = rng.Int64N(benchBlocks) * BlockSize
			dev.Submit(o)
		}
	})
}

// eachDevice runs a benchmark of 4 KiB operations: first on the bare device, then on a store. above-us is the
// processor time that the store takes per operation beyond that of the device.
func eachDevice(b *testing.B, kind blockdev.Kind, prepare func(*Store, int) func(n int)) {
	for _, name := range []string{"mem", "memcache", "file"} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/qd%d", name, depth), func(b *testing.B) {
				dev := map[string]func() blockdev.Device{
					"mem":      func() blockdev.Device { return benchMem(512, false) },
					"memcache": func() blockdev.Device { return benchMem(512, true) },
					"file":     func() blockdev.Device { return benchFile(b) }}[name]()
				defer dev.Close()
				bare(dev, blockdev.Write, depth, benchBlocks/2, false) // touch the memory
				began := cpu()
				bare(dev, kind, depth, b.N, false)
				device := cpu() - began
				o := formatOptions()
				o.Force = true
				must(b, Format(b.Context(), dev, o))
				s := open(b, dev)
				run := prepare(s, depth)
				b.ReportAllocs()
				b.SetBytes(BlockSize)
				b.ResetTimer()
				began = cpu()
				run(b.N)
				used := cpu() - began
				b.StopTimer()
				b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "cpu-us/op")
				b.ReportMetric(float64((used-device).Nanoseconds())/1000/float64(b.N), "above-us/op")
				must(b, s.Close())
			})
		}
	}
}

// BenchmarkWrite4K overwrites random blocks.
func BenchmarkWrite4K(b *testing.B) {
	eachDevice(b, blockdev.Write, func(s *Store, depth int) func(int) {
		w := newWriter(s, 1, depth, false)
		w.settle()
		return func(n int) { w.run(n, false) }
	})
}

// BenchmarkRead4K reads random blocks that were written in order.
func BenchmarkRead4K(b *testing.B) {
	eachDevice(b, blockdev.Read, func(s *Store, depth int) func(int) {
		chunks := s.lay.dataBlocks / 2 / 64
		newWriter(s, 64, 4, true).run(int(chunks), false)
		rng := rand.New(rand.NewPCG(1, 1))
		return func(n int) {
			loop(depth, n, false, func(done func()) func(int) {
				r := &Read{Data: make([]byte, BlockSize), Info: make([]BlockInfo, 1), Done: func(r *Read, err error) {
					if err != nil || r.Info[0].State != pagemap.Data {
						panic(fmt.Sprint(r.Info[0], err))
					}
					done()
				}}
				return func(int) {
					r.Extent = ext(1, rng.Uint64N(chunks), uint16(rng.IntN(64)), 1)
					s.Read(r)
				}
			})
		}
	})
}

// BenchmarkPauses compares how long 4 KiB writes take while checkpoints are written, one behind the other,
// with how long they take on the bare device in the same run. Where others want the processors, the tail is
// theirs in both: take the smallest of several runs.
func BenchmarkPauses(b *testing.B) {
	for _, depth := range []int{1, 32} {
		b.Run(fmt.Sprintf("qd%d", depth), func(b *testing.B) {
			dev := benchMem(512, false)
			defer dev.Close()
			bare(dev, blockdev.Write, depth, benchBlocks, false)
			device := bare(dev, blockdev.Write, depth, b.N+1000, true)
			o := formatOptions()
			o.Force = true
			must(b, Format(b.Context(), dev, o))
			s := open(b, dev)
			w := newWriter(s, 1, depth, false)
			w.settle()
			before := s.Stats().Traffic.Checkpoints
			b.ResetTimer()
			took := w.run(b.N+1000, true)
			b.StopTimer()
			at := func(took []int64, q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1000 }
			for _, q := range []struct {
				name string
				q    float64
			}{{"p50", 0.5}, {"p99.9", 0.999}, {"max", 1}} {
				b.ReportMetric(at(took, q.q), q.name+"-us")
				b.ReportMetric(at(device, q.q), "bare-"+q.name+"-us")
			}
			b.ReportMetric(at(took, 0.999)/at(device, 0.999), "p99.9-ratio")
			b.ReportMetric(float64(s.Stats().Traffic.Checkpoints-before), "ckpts")
			must(b, s.Close())
		})
	}
}
