package pagestore

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"golang.org/x/sys/unix"
)

// sparse is a device in address space: of what is never written it takes no memory. It does one operation at
// a time, in order of submission.
type sparse struct {
	mem   []byte
	queue chan *blockdev.Op
	ended sync.WaitGroup
}

func newSparse(b *testing.B, size int64) *sparse {
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	must(b, err)
	_ = unix.Madvise(mem, unix.MADV_NOHUGEPAGE)
	d := &sparse{mem: mem, queue: make(chan *blockdev.Op, 1024)}
	d.ended.Go(func() {
		for o := range d.queue {
			switch o.Kind {
			case blockdev.Read:
				copy(o.Buf, d.mem[o.Off:])
			case blockdev.Write:
				copy(d.mem[o.Off:], o.Buf)
			}
			o.Done(o, nil)
		}
	})
	return d
}

func (d *sparse) Geometry() blockdev.Geometry {
	return blockdev.Geometry{Size: int64(len(d.mem)), LogicalBlock: 512, PhysicalBlock: 512}
}

func (d *sparse) Submit(ops ...*blockdev.Op) {
	for _, o := range ops {
		d.queue <- o
	}
}

func (d *sparse) Close() error {
	close(d.queue)
	d.ended.Wait()
	return unix.Munmap(d.mem)
}

// fillings are maps of full devices, of chunks of 256 KiB: written in order, and then as many blocks as a
// fourth of the device has overwritten at random, which leaves no chunk in order.
func fillings() []struct {
	name string
	over uint64 // of so many blocks one is overwritten; 0: none
} {
	return []struct {
		name string
		over uint64
	}{{"in-order", 0}, {"at-random", 4}}
}

// BenchmarkRecovery recovers a device that is full, with a log of the records of random writes that is as
// full as it gets before a checkpoint begins. The map is made in memory and the device holds metadata only,
// in the places and in the amount that a device of that capacity has. The largest takes 5 GiB of memory, and
// minutes to prepare.
func BenchmarkRecovery(b *testing.B) {
	for _, gib := range []uint64{8, 256} {
		for _, f := range fillings() {
			b.Run(fmt.Sprintf("%dGiB/%s", gib, f.name), func(b *testing.B) {
				if testing.Short() && gib > 8 {
					b.Skip("takes minutes and 5 GiB of memory")
				}
				dev := newSparse(b, int64(gib)<<30)
				defer dev.Close()
				must(b, Format(b.Context(), dev, formatOptions()))
				s := open(b, dev)
				records := s.synthesize(f.over)
				versions := s.Stats().LiveBlocks
				must(b, s.Close())
				benchRecovery(b, dev, versions, records)
				b.ReportMetric(float64(s.mu.ckpt.used())/float64(versions), "B/version")
			})
		}
	}
}

// benchRecovery measures what Open does before it writes. Beside the time that passes, that of the processor:
// others may be busy, too.
func benchRecovery(b *testing.B, dev blockdev.Device, versions, records uint64) {
	sb, err := newestSuper(b.Context(), dev)
	must(b, err)
	var load, replay time.Duration
	for b.Loop() {
		began := cpu()
		r := &recovery{ctx: b.Context(), dev: dev, sb: sb, meta: metaTable{byKey: map[string]*metaEntry{}},
			buf: make([]byte, BlockSize)}
		r.m, r.mem, err = newMap(&sb.lay)
		must(b, err)
		must(b, r.checkpoints())
		load += cpu() - began
		began = cpu()
		must(b, r.log())
		replay += cpu() - began
		if r.m.Usage().Live != versions || r.records != records {
			b.Fatalf("%d versions of %d, %d records of %d", r.m.Usage().Live, versions, r.records, records)
		}
		r.mem.close()
	}
	n := float64(b.N)
	perTiB := float64(1<<40) / float64(dev.Geometry().Size) / n
	b.ReportMetric(float64(versions), "versions")
	b.ReportMetric(float64(records), "records")
	b.ReportMetric(float64(load.Nanoseconds())/n/float64(versions), "load-ns/version")
	b.ReportMetric(float64(replay.Nanoseconds())/n/float64(records), "replay-ns/record")
	b.ReportMetric(load.Seconds()*perTiB, "load-cpu-s/TiB")
	b.ReportMetric(replay.Seconds()*perTiB, "replay-cpu-s/TiB")
	b.ReportMetric(b.Elapsed().Seconds()*perTiB, "s/TiB")
}

// synthesize fills the map of a store, takes a checkpoint, and fills the log. It returns how many records the
// log holds.
func (s *Store) synthesize(over uint64) (records uint64) {
	rng := rand.New(rand.NewPCG(1, 1))
	chunks := s.lay.dataBlocks/64 - 1
	var crcs [32][64]uint32
	columns, n := columnsOf(2, 1), uint64(0)
	put := func(e pagemap.Extent, crc []uint32) pagemap.Record {
		runs, _ := s.mu.m.Alloc(int(e.N), nil)
		n++
		for i := range crc {
			crc[i] = rng.Uint32()
		}
		s.mu.largest.place(&e) // as admission does
		s.mu.largest.version(seq(1, n), columns[0])
		return pagemap.Record{Kind: pagemap.Put, Extent: e, W: seq(1, n), Loc: runs[0].Loc, CRC: crc,
			Columns: columns}
	}
	apply := func(rec pagemap.Record) {
		s.mu.m.Apply(&rec)
		s.mu.m.Apply(&pagemap.Record{Kind: pagemap.Stable, Extent: rec.Extent, W: rec.W})
	}
	for p := range chunks {
		apply(put(ext(1, p, 0, 64), crcs[0][:]))
	}
	random := func() pagemap.Extent { return ext(1, rng.Uint64N(chunks), uint16(rng.IntN(64)), 1) }
	if over > 0 {
		for range s.lay.dataBlocks / over {
			apply(put(random(), crcs[0][:1]))
		}
	}
	if err := s.mount(); err != nil {
		panic(err)
	}
	l := &s.mu.log
	done := make(chan error, 1)
	r := &request{done: func(err error) { done <- err }}
	for l.used() < l.ring.units*uint64(l.ring.unit)/4*3-maxBlock && records+64 < s.lay.replay() {
		r.recs = r.recs[:0]
		for i := range crcs {
			r.recs = append(r.recs, put(random(), crcs[i][:1]))
		}
		r.recs = append(r.recs, pagemap.Record{Kind: pagemap.Stable, Extent: r.recs[0].Extent, W: seq(1, n)})
		records += uint64(len(r.recs))
		s.locked(func(*box) { l.push(r) })
		if err := <-done; err != nil {
			panic(err)
		}
	}
	return records
}
