package pagestore

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

const benchBlocks = 1 << 15 // 128 MiB

func benchDevices(b *testing.B) map[string]func() blockdev.Device {
	return map[string]func() blockdev.Device{
		"mem": func() blockdev.Device {
			return blockdev.NewMem(blockdev.MemOptions{Size: benchBlocks * BlockSize, LogicalBlock: BlockSize})
		},
		"memcache": func() blockdev.Device {
			return blockdev.NewMem(blockdev.MemOptions{Size: benchBlocks * BlockSize, LogicalBlock: BlockSize,
				VolatileCache: true})
		},
		"file": func() blockdev.Device {
			d, err := blockdev.OpenFile(filepath.Join(b.TempDir(), "disk"),
				blockdev.FileOptions{Create: benchBlocks * BlockSize})
			if err != nil {
				b.Fatal(err)
			}
			return d
		},
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

func eachDevice(b *testing.B, f func(b *testing.B, s *Store, depth int)) {
	devices := benchDevices(b)
	for _, name := range []string{"mem", "memcache", "file"} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/qd%d", name, depth), func(b *testing.B) {
				dev := devices[name]()
				defer dev.Close()
				must(b, Format(b.Context(), dev, formatOptions()))
				s := open(b, dev)
				b.ReportAllocs()
				f(b, s, depth)
				must(b, s.Close())
			})
		}
	}
}

// BenchmarkWrite4K overwrites random blocks of half the device. meta-% is what the log and the checkpoints
// write beside the data.
func BenchmarkWrite4K(b *testing.B) { benchWrite(b, 1) }

// BenchmarkWrite64K overwrites random runs of 16 blocks.
func BenchmarkWrite64K(b *testing.B) { benchWrite(b, 16) }

func benchWrite(b *testing.B, blocks uint16) {
	eachDevice(b, func(b *testing.B, s *Store, depth int) {
		chunks := s.lay.dataBlocks / 2 / 64
		free := make(chan *Write, depth)
		for i := range depth {
			data, crc := fill(blocks, uint64(i))
			free <- &Write{Data: data, CRC: crc, Columns: columnsOf(2, blocks), Done: func(w *Write,
				err error) {
				if err != nil {
					panic(err)
				}
				free <- w
			}}
		}
		rng := rand.New(rand.NewPCG(1, 1))
		b.SetBytes(int64(blocks) * BlockSize)
		b.ResetTimer()
		before, used := s.Stats().Traffic, cpu()
		for i := range uint64(b.N) {
			w := <-free
			w.Extent = ext(1, rng.Uint64N(chunks), uint16(rng.IntN(64/int(blocks)))*blocks, blocks)
			w.W, w.Stable = seq(1, i+1), seq(1, max(i, uint64(depth))-uint64(depth))
			s.Write(w)
		}
		for range depth {
			<-free
		}
		used = cpu() - used
		b.StopTimer()
		after := s.Stats().Traffic
		meta := after.LogBytes - before.LogBytes + after.CheckpointBytes - before.CheckpointBytes
		b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "cpu-us/op")
		b.ReportMetric(100*float64(meta)/float64(max(after.DataBytes-before.DataBytes, 1)), "meta-%")
		groups := max(after.Commits-before.Commits, 1)
		b.ReportMetric(float64(after.Records-before.Records)/float64(groups), "records/group")
	})
}

// BenchmarkRead4K reads random blocks that were written in order.
func BenchmarkRead4K(b *testing.B) {
	eachDevice(b, func(b *testing.B, s *Store, depth int) {
		chunks := s.lay.dataBlocks / 2 / 64
		for p := range chunks {
			must(b, write(s, ext(1, p, 0, 64), cluster.MakeSeq(1, p+1), p))
		}
		free := make(chan *Read, depth)
		for range depth {
			free <- &Read{Data: make([]byte, BlockSize), Info: make([]BlockInfo, 1), Done: func(r *Read, err error) {
				if err != nil || r.Info[0].State != 1 {
					panic(fmt.Sprint(r.Info[0], err))
				}
				free <- r
			}}
		}
		rng := rand.New(rand.NewPCG(1, 1))
		b.SetBytes(BlockSize)
		b.ResetTimer()
		used := cpu()
		for range b.N {
			r := <-free
			r.Extent = ext(1, rng.Uint64N(chunks), uint16(rng.IntN(64)), 1)
			s.Read(r)
		}
		for range depth {
			<-free
		}
		b.ReportMetric(float64((cpu()-used).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
	})
}

// BenchmarkOpen mounts a store whose data area is full.
func BenchmarkOpen(b *testing.B) {
	dev := benchDevices(b)["mem"]()
	defer dev.Close()
	must(b, Format(b.Context(), dev, formatOptions()))
	s := open(b, dev)
	for p := range s.lay.dataBlocks / 64 {
		must(b, write(s, ext(1, p, 0, 64), cluster.MakeSeq(1, p+1), p))
	}
	versions := float64(s.Stats().LiveBlocks)
	must(b, s.Close())
	for b.Loop() {
		must(b, open(b, dev).Close())
	}
	b.ReportMetric(versions, "versions")
}
