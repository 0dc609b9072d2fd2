package pagemap

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"golang.org/x/sys/unix"
)

// A chunk of the default size, and the map of 1/64 TiB.
const (
	benchBlocks = 64
	benchScale  = 1 << 22
)

// filling fills a map as hosts do: writes of n blocks, stable after depth more of them.
type filling struct {
	m     *Map
	vol   cluster.VolumeKey
	w     uint64
	depth uint64
	runs  []Run
	rec   Record
	mark  Record
}

func newFilling(m *Map, depth uint64) *filling {
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	return &filling{m: m, vol: vol, depth: depth,
		rec:  Record{Kind: Put, Columns: columns(1, 1), CRC: make([]uint32, benchBlocks)},
		mark: Record{Kind: Stable, Extent: Extent{Vol: vol}}}
}

// write puts n blocks of the volume from one on, n a divisor of those of a chunk.
func (f *filling) write(block uint64, n int) {
	f.w++
	f.runs, _ = f.m.Alloc(n, f.runs[:0])
	e := Extent{Vol: f.vol, Residency: 1, Page: block / benchBlocks, First: uint16(block % benchBlocks)}
	for _, r := range f.runs {
		e.N = r.N
		f.rec.Extent, f.rec.W, f.rec.Loc, f.rec.CRC = e, cluster.MakeSeq(1, f.w), r.Loc, f.rec.CRC[:r.N]
		f.m.Apply(&f.rec)
		e.First += r.N
	}
	f.stable(max(f.w, f.depth+1) - f.depth)
}

func (f *filling) stable(w uint64) {
	f.mark.W = cluster.MakeSeq(1, w)
	f.m.Apply(&f.mark)
}

// sequential fills blocks in order; random in another order.
func (f *filling) sequential(blocks uint64, n int) {
	for b := uint64(0); b < blocks; b += uint64(n) {
		f.write(b, n)
	}
	f.stable(f.w)
}

func (f *filling) random(blocks uint64) {
	const odd = 0x9e3779b97f4a7c15 // a permutation, as blocks is a power of two
	for i := range blocks {
		f.write(i*odd%blocks, 1)
	}
	f.stable(f.w)
}

// fills are the ways to fill a device that the budgets are about, in bytes per block of 4 KiB.
func fills() []struct {
	name   string
	budget float64
	fill   func(*filling, uint64)
} {
	return []struct {
		name   string
		budget float64
		fill   func(*filling, uint64)
	}{
		{"sequential=256KiB", 6, func(f *filling, n uint64) { f.sequential(n, 64) }},
		{"sequential=64KiB", 6, func(f *filling, n uint64) { f.sequential(n, 16) }},
		{"sequential=4KiB", 6, func(f *filling, n uint64) { f.sequential(n, 1) }},
		{"random=4KiB", 16, func(f *filling, n uint64) { f.random(n) }},
	}
}

// cpuTime is what this process has computed so far; a machine with other work to do does not change it much.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// reportCPU reports the CPU time of an operation since a point in time.
func reportCPU(b *testing.B, since time.Duration, perOp int) {
	b.ReportMetric(float64((cpuTime()-since).Nanoseconds())/float64(b.N)/float64(perOp), "cpu-ns/op")
}

// offHeap is memory as a page store gives it: mapped in regions that the kernel may back with large pages.
func offHeap(b *testing.B) Memory {
	var rest []byte
	return func(n int) []byte {
		if n > len(rest) {
			var err error
			rest, err = unix.Mmap(-1, 0, max(n, 64<<20), unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				b.Fatal(err)
			}
			region := rest
			b.Cleanup(func() { _ = unix.Munmap(region) })
			_ = unix.Madvise(region, unix.MADV_HUGEPAGE)
		}
		got := rest[:n:n]
		rest = rest[n:]
		return got
	}
}

func benchMap(b *testing.B, blocks uint64) *Map {
	m, err := NewIn(blocks, offHeap(b))
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func BenchmarkMapFill(b *testing.B) {
	for _, c := range fills() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			since := cpuTime()
			for b.Loop() {
				f := newFilling(benchMap(b, benchScale), 32)
				c.fill(f, benchScale)
				ram := f.m.RAM()
				b.ReportMetric(float64(ram.Total())/benchScale, "B/block")
			}
			reportCPU(b, since, benchScale)
		})
	}
}

// coldLoad is what a load from somewhere in as much memory as a map of the benchmarks has costs here and now,
// none beginning before the last has ended: the unit of a lookup.
func coldLoad(mem []byte, log int, n int) time.Duration {
	at, since := uint64(0), cpuTime()
	for range n {
		at = at*0x5851f42d4c957f2d + 0x14057b7ef767814f + uint64(mem[at>>(64-log)])&0x100
	}
	runtime.KeepAlive(at)
	return (cpuTime() - since) / time.Duration(n)
}

// BenchmarkMapLookup looks blocks up anywhere in the map, which then comes from memory, and in a part of it
// that stays in the processor's cache. loads/op are in units of coldLoad, measured in turns with the lookups.
func BenchmarkMapLookup(b *testing.B) {
	const log = 26
	mem := offHeap(b)(1 << log)
	for i := range mem {
		mem[i] = byte(i >> 12)
	}
	for _, c := range fills() {
		f := newFilling(benchMap(b, benchScale), 32)
		c.fill(f, benchScale)
		for _, where := range []struct {
			name  string
			pages uint64
		}{{"cold", benchScale / benchBlocks}, {"warm", 256}} {
			b.Run(c.name+"/"+where.name, func(b *testing.B) {
				rng := rand.New(rand.NewPCG(1, 1))
				var out [1]Version
				var load time.Duration
				loads := time.Duration(0)
				b.ReportAllocs()
				since := cpuTime()
				for i := 0; b.Loop(); i++ {
					e := Extent{Vol: f.vol, Residency: 1, Page: rng.Uint64N(where.pages), N: 1}
					e.First = uint16(rng.Uint64N(benchBlocks))
					f.m.Lookup(e, 0, out[:])
					if i%50_000 == 25_000 {
						b.StopTimer()
						began := cpuTime()
						load += coldLoad(mem, log, 10_000)
						loads++
						since += cpuTime() - began
						b.StartTimer()
					}
				}
				reportCPU(b, since, 1)
				if loads > 0 {
					each := float64((cpuTime() - since).Nanoseconds()) / float64(b.N)
					b.ReportMetric(float64((load / loads).Nanoseconds()), "cold-load-ns")
					b.ReportMetric(each/float64((load/loads).Nanoseconds()), "loads/op")
				}
				if out[0].State != Data {
					b.Fatal("not found")
				}
			})
		}
		runtime.KeepAlive(f)
	}
}

// BenchmarkMapOverwrite is the steady state: allocate, put a new version of a random block, move the mark.
func BenchmarkMapOverwrite(b *testing.B) {
	for _, c := range fills() {
		if c.name == "sequential=4KiB" {
			continue
		}
		f := newFilling(benchMap(b, benchScale+1000), 32)
		c.fill(f, benchScale)
		b.Run(c.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			since := cpuTime()
			for b.Loop() {
				f.write(rng.Uint64N(benchScale), 1)
			}
			reportCPU(b, since, 1)
		})
	}
}

// BenchmarkSnapshot is how long a map keeps everybody waiting while it takes a pin in, and while it gives one
// up, of a volume of 1/64 TiB: nothing of it was written since the pin before, or all. Purge then needs more,
// in pieces.
func BenchmarkSnapshot(b *testing.B) {
	for _, since := range []struct {
		name    string
		rewrite bool
	}{{"unchanged", false}, {"rewritten", true}} {
		b.Run(since.name, func(b *testing.B) {
			f := newFilling(benchMap(b, 2*benchScale+1000), 32)
			f.sequential(benchScale, 64)
			var took [3]time.Duration
			measure := func(i int, do func()) {
				began := cpuTime()
				do()
				took[i] += cpuTime() - began
			}
			for n := uint32(1); b.Loop(); n += 3 {
				first := f.w
				f.view(n, first)
				if since.rewrite {
					f.sequential(benchScale, 64)
				}
				measure(0, func() { f.view(n+1, first, f.w) })
				measure(1, func() { f.view(n + 2) })
				measure(2, func() {
					for f.m.Purge(1024) {
					}
				})
			}
			for i, unit := range []string{"take-us", "give-up-us", "purge-us"} {
				b.ReportMetric(float64(took[i].Microseconds())/float64(b.N), unit)
			}
		})
	}
}

// BenchmarkSurvey counts for whom a million versions are kept, half of them older than one of as many pins as
// there may be: a volume in order, and random blocks of it between the pins. In pieces, as a store does; one
// of them is what I/O may wait.
func BenchmarkSurvey(b *testing.B) {
	const blocks, pins = 1 << 19, cluster.MaxPins
	rng := rand.New(rand.NewPCG(1, 1))
	f := newFilling(benchMap(b, 4*blocks), 32)
	f.sequential(blocks, benchBlocks)
	var at []uint64
	for i := range uint32(pins) {
		at = append(at, f.w)
		f.view(i+1, at...)
		for range blocks / pins {
			f.write(rng.Uint64N(blocks), 1)
		}
	}
	f.stable(f.w)
	st, _ := f.m.Volume(f.vol)
	var pieces []time.Duration
	since := cpuTime()
	for b.Loop() {
		s := NewSurvey(f.vol, 1)
		for more := true; more; {
			begin := time.Now()
			more = f.m.Survey(s, 1024)
			pieces = append(pieces, time.Since(begin))
		}
	}
	b.ReportMetric(float64((cpuTime()-since).Nanoseconds())/float64(b.N)/float64(st.Versions), "cpu-ns/version")
	slices.Sort(pieces)
	b.ReportMetric(float64(pieces[len(pieces)/2].Microseconds()), "piece-us")
	b.ReportMetric(float64(st.Versions), "versions")
}

func (f *filling) view(version uint32, pins ...uint64) {
	v := Record{Kind: View, Extent: Extent{Vol: f.vol}}
	v.View.Version = version
	for _, p := range pins {
		v.View.Pins = append(v.View.Pins, cluster.MakeSeq(1, p))
	}
	f.m.Apply(&v)
}
