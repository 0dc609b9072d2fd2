package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// shelf is a chunk server that never fails and keeps the newest version of every block: enough to measure the
// engine alone, and to count what it asks for.
type shelf struct {
	chunks   map[shelfKey]*shelfChunk
	messages int
	reads    int // 4 KiB blocks
	writes   int
}

type shelfKey struct {
	device cluster.DeviceID
	page   uint64
	column uint8
}

type shelfChunk struct {
	data []byte
	info []chunk.BlockInfo
}

func (s *shelf) do(r *chunk.Request, blocks uint64) {
	s.messages++
	r.Granted = 1 << 30
	key := shelfKey{r.Device, r.Page, r.Column}
	c := s.chunks[key]
	if c == nil && (r.Op == chunk.OpWrite || r.Op == chunk.OpTombstone) {
		c = &shelfChunk{make([]byte, blocks*cluster.BlockSize), make([]chunk.BlockInfo, blocks)}
		s.chunks[key] = c
	}
	switch r.Op {
	case chunk.OpWrite, chunk.OpTombstone:
		copy(c.info[r.Block:], r.Blocks)
		copy(c.data[int(r.Block)*cluster.BlockSize:], r.Data)
		s.writes += len(r.Data) / cluster.BlockSize
	case chunk.OpRead:
		clear(r.Blocks)
		if c != nil {
			copy(r.Blocks, c.info[r.Block:])
			copy(r.Data, c.data[int(r.Block)*cluster.BlockSize:])
			s.reads += len(r.Blocks)
		}
	}
}

// rig is an engine on a shelf.
type rig struct {
	e     *Engine
	shelf *shelf
	ready Ready
	done  int
}

func newRig(tb testing.TB, code cluster.Code, n, p, devices int, packer Packer) *rig {
	tb.Helper()
	pool := &cluster.Pool{Name: "p", Code: code, Data: n, Parity: p, Domain: cluster.DomainDevice,
		ChunkSize: 256 << 10, StripeUnit: 16 << 10}
	table := benchTable(tb, pool, devices)
	geo, err := stripe.New(pool)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := New(Config{Vol: cluster.VolumeKey{VUID: 1, Generation: 1},
		Owner: cluster.Owner{Epoch: 1, Gateway: 1}, Geometry: geo,
		Code: code, Tables: map[uint32]*placement.Table{0: table}, Packer: packer})
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{e: e, shelf: &shelf{chunks: map[shelfKey]*shelfChunk{}}}
	r.run()
	if !r.ready.Serving {
		tb.Fatal("the volume does not open")
	}
	r.e.Served()
	return r
}

// run carries out everything that the engine wants.
func (r *rig) run() {
	for {
		r.e.Drain(&r.ready)
		r.done += len(r.ready.Done)
		if len(r.ready.Sends) == 0 && r.ready.Record == nil {
			return
		}
		for _, q := range r.ready.Sends {
			r.shelf.do(q, r.e.geo.ChunkBlocks)
			r.e.ChunkDone(q)
		}
		if r.ready.Record != nil {
			r.e.Recorded(true)
		}
	}
}

type benchCode struct {
	code cluster.Code
	n, p int
}

func benchCodes() []benchCode {
	return []benchCode{{cluster.CodeReplica, 1, 1}, {cluster.CodeReplica, 1, 2}, {cluster.CodeRS, 2, 1},
		{cluster.CodeRS, 4, 2}, {cluster.CodeRS, 8, 2}, {cluster.CodeRDP, 4, 2}}
}

// BenchmarkEngine gives for every code what one 4 KiB random read or write, and one write of a whole stripe,
// costs the owner beside network and disks: time, allocations, chunk requests, blocks read and written.
func BenchmarkEngine(b *testing.B) {
	for _, c := range benchCodes() {
		for _, what := range []struct {
			name    string
			kind    Kind
			sectors uint32
		}{
			{"Read4k", Read, 8}, {"Write4k", Write, 8}, {"WriteStripe", Write, uint32(c.n) * 16 << 10 / 512},
		} {
			b.Run(fmt.Sprintf("%s%d+%d/%s", c.code, c.n, c.p, what.name), func(b *testing.B) {
				r := newRig(b, c.code, c.n, c.p, c.n+c.p+2, nil)
				op := &Op{Data: make([]byte, 64*uint64(c.n)<<10)}
				const span = 64 // pages
				for page := range uint64(span) {
					for at := uint64(0); at < r.e.geo.PageBlocks(); at += uint64(len(op.Data) / cluster.BlockSize) {
						op.Kind, op.LBA, op.Sectors = Write, (page*r.e.geo.PageBlocks()+at)*8, uint32(len(op.Data)/512)
						r.e.Submit(op)
						r.run()
					}
				}
				op.Kind, op.Sectors, op.Data = what.kind, what.sectors, op.Data[:what.sectors*512]
				s := *r.shelf
				unit := uint64(what.sectors)
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					op.LBA = uint64(i) * 0x9e3779b97f4a7c15 >> 8 % (span * r.e.geo.PageBlocks() * 8 / unit) * unit
					r.e.Submit(op)
					r.run()
				}
				per := func(a, b int) float64 { return float64(a - b) }
				b.ReportMetric(per(r.shelf.messages, s.messages)/float64(b.N), "requests/op")
				b.ReportMetric(per(r.shelf.reads, s.reads)/float64(b.N), "blocksread/op")
				b.ReportMetric(per(r.shelf.writes, s.writes)/float64(b.N), "blockswritten/op")
			})
		}
	}
}

// halver stores half of a unit.
type halver struct{}

func (halver) Pack(_ uint64, unit []byte) int   { return len(unit) / cluster.BlockSize / 2 }
func (halver) Unpack(uint64, []byte, int) error { return nil }

// TestHealthyPathAllocatesNothing holds reads and writes of healthy rows to no allocation in steady state.
func TestHealthyPathAllocatesNothing(t *testing.T) {
	for i, c := range slices.Concat(benchCodes(), benchCodes()) {
		var packer Packer
		if i >= len(benchCodes()) {
			packer = halver{}
		}
		r := newRig(t, c.code, c.n, c.p, c.n+c.p, packer)
		op := &Op{Data: make([]byte, 64<<10)}
		for _, kind := range []Kind{Write, Read} {
			for _, sectors := range []uint32{1, 8, 128} {
				op := &Op{Kind: kind, LBA: 3 * 8, Sectors: sectors, Data: op.Data[:sectors*512]}
				for range 10 {
					r.e.Submit(op)
					r.run()
				}
				if n := testing.AllocsPerRun(100, func() {
					r.e.Submit(op)
					r.run()
				}); n != 0 {
					t.Errorf("%s %d+%d, packed %v, kind %d of %d sectors: %v allocations", c.code, c.n, c.p,
						packer != nil, kind, sectors, n)
				}
			}
		}
	}
}
