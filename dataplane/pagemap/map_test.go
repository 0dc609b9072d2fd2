package pagemap

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/cockroachdb/datadriven"
)

func newMap(t testing.TB, blocks uint64) *Map {
	m, err := New(blocks)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// put allocates and applies, as the store does; it returns false when the map is full.
func put(m *Map, e Extent, w cluster.Seq, tombstone, replace bool) bool {
	if tombstone {
		m.Apply(&Record{Kind: Put, Extent: e, W: w, Tombstone: true, Mask: uint16(w)})
		return true
	}
	runs, ok := m.Alloc(int(e.N), nil)
	if !ok {
		return false
	}
	for _, r := range runs {
		part := e
		part.N = r.N
		crc := make([]uint32, r.N)
		for i := range crc {
			crc[i] = uint32(w)<<8 | uint32(e.First) + uint32(i)
		}
		m.Apply(&Record{Kind: Put, Extent: part, W: w, Loc: r.Loc, CRC: crc, Replace: replace, Mask: uint16(w)})
		e.First += r.N
	}
	return true
}

// dump prints every version of a map, without locations, and its volumes.
func dump(m *Map) string {
	var b strings.Builder
	for _, key := range m.Volumes() {
		st, _ := m.Volume(key)
		fmt.Fprintf(&b, "volume %v settled %d marks %v: %d blocks, %d unstable\n", key, st.Settled, st.Marks,
			st.Blocks,
			st.Unstable)
		buf := make([]Entry, 3)
		var after Cursor
		for more := true; more; {
			var n int
			n, after, more = m.List(key, ListVersions, after, buf)
			for _, e := range buf[:n] {
				fmt.Fprintf(&b, "  %d/%d[%d] %v %v\n", e.Page, e.Column, e.Block, e.W, e.State)
			}
		}
	}
	u := m.Usage()
	fmt.Fprintf(&b, "free %d live %d pending %d tombstones %d bad %d\n", u.Free, u.Live, u.Pending, u.Tombstones,
		u.Bad)
	return b.String()
}

// TestStories runs the scenarios of testdata: commands change the map, `show` prints it.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var m *Map
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r := storyRecord(t, d)
			switch d.Cmd {
			case "map":
				var blocks uint64
				d.ScanArgs(t, "blocks", &blocks)
				m = newMap(t, blocks)
			case "put", "replace", "tombstone":
				if !put(m, r.Extent, r.W, d.Cmd == "tombstone", d.Cmd == "replace") {
					return "full\n"
				}
			case "stable", "settle", "undo", "drop":
				r.Kind = map[string]RecordKind{"stable": Stable, "settle": Settle, "undo": Undo, "drop": Drop}[d.Cmd]
				m.Apply(&r)
			case "purge":
				return fmt.Sprintf("more %v\n", m.Purge(1))
			case "bad":
				out := make([]Version, 1)
				m.Exact(r.Extent, r.W, out)
				return fmt.Sprintf("%v\n", m.MarkBad(r.Extent, r.First, r.W, out[0].Loc))
			case "read":
				out := make([]Version, r.N)
				m.Lookup(r.Extent, r.W, out)
				var b strings.Builder
				for _, v := range out {
					fmt.Fprintf(&b, "%v %v\n", v.State, v.W)
				}
				return b.String()
			case "unstable":
				buf := make([]Entry, 100)
				n, _, _ := m.List(r.Vol, ListUnstable, Cursor{}, buf)
				var b strings.Builder
				for _, e := range buf[:n] {
					fmt.Fprintf(&b, "%d/%d[%d] %v\n", e.Page, e.Column, e.Block, e.W)
				}
				return b.String()
			case "show":
				return dump(m)
			default:
				t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			}
			if err := m.Check(); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			return ""
		})
	})
}

func storyRecord(t *testing.T, d *datadriven.TestData) Record {
	r := Record{Extent: Extent{Vol: cluster.VolumeKey{VUID: 1, Generation: 1}, N: 1}}
	var epoch, counter uint64
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "vol":
			d.ScanArgs(t, "vol", &r.Vol.VUID)
		case "page":
			d.ScanArgs(t, "page", &r.Page)
		case "b":
			d.ScanArgs(t, "b", &r.First)
		case "n":
			d.ScanArgs(t, "n", &r.N)
		case "epoch":
			d.ScanArgs(t, "epoch", &r.Epoch)
		case "w":
			d.ScanArgs(t, "w", &epoch, &counter)
			r.W = cluster.MakeSeq(uint32(epoch), counter)
		}
	}
	return r
}

// model is the same rules, written naively: every version of every block in a map of slices.
type model struct {
	settled uint32
	marks   map[uint32]cluster.Seq
	blocks  map[blockRef][]modelVersion // descending w
}

type modelVersion struct {
	w         cluster.Seq
	tomb, bad bool
}

func (o *model) stable(w cluster.Seq) bool { return w.Epoch() < o.settled || w <= o.marks[w.Epoch()] }

func (o *model) collect() {
	for ref, vs := range o.blocks {
		var keep []modelVersion
		for i, x := range vs {
			gone := slices.ContainsFunc(vs[:i], func(y modelVersion) bool {
				return !y.bad && o.stable(y.w) && (x.w.Epoch() == y.w.Epoch() || x.w.Epoch() < o.settled)
			})
			if !gone {
				keep = append(keep, x)
			}
		}
		if len(keep) == 1 && keep[0].tomb && o.stable(keep[0].w) {
			keep = nil
		}
		if o.blocks[ref] = keep; keep == nil {
			delete(o.blocks, ref)
		}
	}
}

func (o *model) put(ref blockRef, w cluster.Seq, tomb, replace bool) {
	vs := o.blocks[ref]
	i, found := slices.BinarySearchFunc(vs, w, func(v modelVersion, w cluster.Seq) int {
		return -compareSeq(v.w, w)
	})
	switch {
	case !found:
		o.blocks[ref] = slices.Insert(vs, i, modelVersion{w: w, tomb: tomb})
	case replace:
		vs[i] = modelVersion{w: w, tomb: tomb}
	}
}

func compareSeq(a, b cluster.Seq) int {
	if a < b {
		return -1
	} else if a > b {
		return 1
	}
	return 0
}

func (o *model) undo(ref blockRef, w cluster.Seq) {
	o.blocks[ref] = slices.DeleteFunc(o.blocks[ref], func(v modelVersion) bool { return v.w == w })
	if len(o.blocks[ref]) == 0 {
		delete(o.blocks, ref)
	}
}

func (o *model) entries(unstable, newest bool) (out []Entry) {
	for ref, vs := range o.blocks {
		for i, v := range vs {
			if newest && i > 0 || unstable && o.stable(v.w) {
				continue
			}
			e := Entry{Cursor: Cursor{Page: ref.page, Column: ref.column, Block: ref.block, W: v.w}, State: Data}
			if v.tomb {
				e.State = Tombstone
			}
			if v.bad {
				e.State = Bad
			}
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.Cursor.compare(b.Cursor) })
	return out
}

func listed(m *Map, key cluster.VolumeKey, kind ListKind, piece int) (out []Entry) {
	buf := make([]Entry, piece)
	var after Cursor
	for more := true; more; {
		var n int
		n, after, more = m.List(key, kind, after, buf)
		for _, e := range buf[:n] {
			e.CRC, e.Mask = 0, 0
			out = append(out, e)
		}
	}
	return out
}

// step makes one random change to the map and to the model.
func step(rng *rand.Rand, m *Map, o *model, key cluster.VolumeKey) {
	e := Extent{Vol: key, Page: rng.Uint64N(3), Column: uint8(rng.IntN(2)), First: uint16(rng.IntN(12))}
	e.N = uint16(1 + rng.IntN(4))
	w := cluster.MakeSeq(1+uint32(rng.IntN(4)), 1+rng.Uint64N(60))
	each := func(f func(blockRef)) {
		for b := e.First; b < e.First+e.N; b++ {
			f(blockRef{chunkKey{e.Page, e.Column}, b})
		}
	}
	switch rng.IntN(16) {
	case 0:
		m.Apply(&Record{Kind: Stable, Extent: e, W: w})
		if w.Epoch() >= o.settled {
			o.marks[w.Epoch()] = max(o.marks[w.Epoch()], w)
		}
	case 1:
		if rng.IntN(4) == 0 {
			m.Apply(&Record{Kind: Settle, Extent: e, Epoch: w.Epoch()})
			o.settled = max(o.settled, w.Epoch())
		}
	case 2, 3:
		m.Apply(&Record{Kind: Undo, Extent: e, W: w})
		each(func(r blockRef) { o.undo(r, w) })
	case 4, 5, 6:
		put(m, e, w, true, false)
		each(func(r blockRef) { o.put(r, w, true, false) })
	case 7:
		e.N = 1
		out := make([]Version, 1)
		m.Lookup(e, 0, out)
		if out[0].State == Data && m.MarkBad(e, e.First, out[0].W, out[0].Loc) {
			o.blocks[blockRef{chunkKey{e.Page, e.Column}, e.First}][0].bad = true
		}
	case 8:
		e.N = 1
		out := make([]Version, 1)
		if m.Lookup(e, 0, out); out[0].State == Bad && put(m, e, out[0].W, false, true) {
			o.put(blockRef{chunkKey{e.Page, e.Column}, e.First}, out[0].W, false, true)
		}
	default:
		if put(m, e, w, false, false) {
			each(func(r blockRef) { o.put(r, w, false, false) })
		}
	}
	o.collect()
}

// TestLikeTheModel compares the map with the naive model after every random change.
func TestLikeTheModel(t *testing.T) {
	key := cluster.VolumeKey{VUID: 7, Generation: 1}
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m, o := newMap(t, 200), &model{marks: map[uint32]cluster.Seq{}, blocks: map[blockRef][]modelVersion{}}
		m.Apply(&Record{Kind: Settle, Extent: Extent{Vol: key}}) // a mark makes no volume
		for i := range 300 {
			step(rng, m, o, key)
			if err := m.Check(); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, i, err)
			}
			for _, kind := range []ListKind{ListAll, ListUnstable, ListVersions} {
				got := listed(m, key, kind, 1+rng.IntN(9))
				want := o.entries(kind == ListUnstable, kind == ListAll)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d step %d list %d:\n got %v\nwant %v", seed, i, kind, got, want)
				}
			}
		}
		m.Apply(&Record{Kind: Drop, Extent: Extent{Vol: key}})
		for m.Purge(10) {
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
		}
		if u := m.Usage(); u.Free != 200 || m.slabs.used != 0 {
			t.Fatalf("seed %d: after dropping the volume %+v, %d versions", seed, u, m.slabs.used)
		}
	}
}

// loader is a checkpoint in memory: it loads what a snapshot emits.
type loader struct {
	m    *Map
	errs []error
}

func (l *loader) Volume(st VolumeState) {
	if err := l.m.LoadVolume(st); err != nil {
		l.errs = append(l.errs, err)
	}
}

func (l *loader) Chunk(e Extent, versions []ChunkVersion) {
	for _, v := range versions {
		if err := l.m.LoadVersion(e, v); err != nil {
			l.errs = append(l.errs, err)
		}
	}
}

// TestSnapshotIsTheMapWhenItBegan changes the map, drops volumes included, while a snapshot is taken piece by
// piece.
func TestSnapshotIsTheMapWhenItBegan(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m, o := newMap(t, 400), &model{marks: map[uint32]cluster.Seq{}, blocks: map[blockRef][]modelVersion{}}
		change := func() {
			if rng.IntN(40) == 0 {
				m.Apply(&Record{Kind: Drop, Extent: Extent{Vol: cluster.VolumeKey{VUID: 1, Generation: 1 +
					rng.Uint32N(3)}}})
			}
			step(rng, m, o, cluster.VolumeKey{VUID: 1, Generation: 1 + rng.Uint32N(3)})
			m.Purge(rng.IntN(3))
		}
		for range 150 {
			changeOnly(change, o)
		}
		for m.Purge(100) {
		}
		want := dump(m)
		l := &loader{m: newMap(t, 400)}
		snap := m.BeginSnapshot(l)
		for snap.Next(1 + rng.IntN(8)) {
			for range rng.IntN(6) {
				changeOnly(change, o)
			}
		}
		l.m.FinishLoad()
		if got := dump(l.m); got != want || len(l.errs) > 0 {
			t.Fatalf("seed %d: %v\n got %s\nwant %s", seed, l.errs, got, want)
		}
		for _, m := range []*Map{m, l.m} {
			if err := m.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

// changeOnly runs a change whose effect on the model is of no interest.
func changeOnly(change func(), o *model) {
	clear(o.blocks)
	for p := range uint64(3) {
		for c := range uint8(2) {
			for b := range uint16(16) {
				o.blocks[blockRef{chunkKey{p, c}, b}] = []modelVersion{{w: 1}}
			}
		}
	}
	change()
}

func TestAllocPrefersRuns(t *testing.T) {
	m := newMap(t, 1000)
	runs, _ := m.Alloc(64, nil)
	more, _ := m.Alloc(64, nil)
	if want := []Run{{0, 64}}; !reflect.DeepEqual(runs, want) || more[0] != (Run{64, 64}) {
		t.Fatalf("an empty device gives %v, then %v", runs, more)
	}
	// Holes of one block behind the cursor, a run of 100 further on.
	rest, _ := m.Alloc(1000-128, nil)
	if len(rest) != 1 {
		t.Fatalf("rest %v", rest)
	}
	for b := uint64(200); b < 220; b += 2 {
		m.Release(Run{b, 1})
	}
	m.Release(Run{500, 100})
	if runs, _ := m.Alloc(80, nil); !reflect.DeepEqual(runs, []Run{{500, 80}}) {
		t.Fatalf("want the run at 500, got %v", runs)
	}
	runs, ok := m.Alloc(30, nil)
	if !ok || len(runs) != 11 {
		t.Fatalf("want all that is left in 11 runs, got %v", runs)
	}
	if _, ok := m.Alloc(1, nil); ok || m.Usage().Free != 0 || m.Usage().Pending != 1000 {
		t.Fatalf("a full device gave a block: %+v", m.Usage())
	}
}

func TestAllocatorLikeABoolArray(t *testing.T) {
	for _, total := range []uint64{1, 63, 64, 65, 4096, 5000} {
		rng := rand.New(rand.NewPCG(total, 1))
		m := newMap(t, total)
		used := make([]bool, total)
		var held []Run
		for range 2000 {
			if rng.IntN(2) == 0 && len(held) > 0 {
				i := rng.IntN(len(held))
				m.Release(held[i])
				for b := range uint64(held[i].N) {
					used[held[i].Loc+b] = false
				}
				held = slices.Delete(held, i, i+1)
				continue
			}
			n := 1 + rng.IntN(int(min(total, 256)))
			runs, ok := m.Alloc(n, nil)
			got := 0
			for _, r := range runs {
				for b := range uint64(r.N) {
					if used[r.Loc+b] {
						t.Fatalf("block %d given twice", r.Loc+b)
					}
					used[r.Loc+b] = true
					got++
				}
			}
			held = append(held, runs...)
			if ok && got != n || !ok && (got != 0 || m.Usage().Free >= uint64(n)) {
				t.Fatalf("asked for %d, got %d, %v", n, got, ok)
			}
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCorruptInputIsRefused(t *testing.T) {
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	m := newMap(t, 100)
	for _, r := range []Run{{100, 1}, {99, 2}, {1 << 60, 1}} {
		if m.Claim(r) == nil {
			t.Errorf("claimed %v of 100 blocks", r)
		}
	}
	if err := m.LoadVersion(Extent{Vol: vol}, ChunkVersion{W: 1, Loc: 1}); err == nil {
		t.Error("loaded a version of no volume")
	}
	if err := m.LoadVolume(VolumeState{Key: vol}); err != nil {
		t.Fatal(err)
	}
	for i, v := range []ChunkVersion{{W: 0, Loc: 5}, {W: 1, Loc: 100}, {W: 1, Loc: 5, Block: 256},
		{W: 7, Loc: 1},
		{W: 7, Loc: 2}, {W: 8, Loc: 1}} {
		if err := m.LoadVersion(Extent{Vol: vol}, v); (err == nil) != (i == 3) {
			t.Errorf("version %+v: %v", v, err)
		}
	}
	for _, r := range []Record{{}, {Kind: Put, Extent: Extent{Vol: vol, N: 1}, W: 1},
		{Kind: 9, Extent: Extent{Vol: vol}},
		{Kind: Undo, Extent: Extent{Vol: vol, First: 255, N: 2}, W: 1}} {
		if r.Validate() == nil {
			t.Errorf("record %+v is valid", r)
		}
	}
}

func TestMemoryPerBlock(t *testing.T) {
	const chunks = 2000
	m := newMap(t, chunks*64)
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	per := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m = newMap(t, chunks*64)
			for i := range uint64(chunks) {
				put(m, Extent{Vol: vol, Page: i, N: 64}, cluster.MakeSeq(1, i+1), false, false)
				m.Apply(&Record{Kind: Stable, Extent: Extent{Vol: vol}, W: cluster.MakeSeq(1, i+1)})
			}
		}
	})
	if got := per.AllocedBytesPerOp() / (chunks * 64); got > 64 {
		t.Fatalf("%d bytes allocated per 4 KiB block, want at most 64", got)
	}
}

func BenchmarkLookup(b *testing.B) {
	const chunks = 20000
	m := newMap(b, chunks*64)
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	for i := range uint64(chunks) {
		put(m, Extent{Vol: vol, Page: i, N: 64}, cluster.MakeSeq(1, i+1), false, false)
	}
	out := make([]Version, 1)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		m.Lookup(Extent{Vol: vol, Page: rng.Uint64N(chunks), First: uint16(rng.IntN(64)), N: 1}, 0, out)
	}
	if out[0].State != Data {
		b.Fatal("not found")
	}
}

// BenchmarkOverwrite is the steady state: allocate, put a new version of a random block, move the mark.
func BenchmarkOverwrite(b *testing.B) {
	const chunks = 20000
	m := newMap(b, chunks*64+1000)
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	for i := range uint64(chunks) {
		put(m, Extent{Vol: vol, Page: i, N: 64}, cluster.MakeSeq(1, i+1), false, false)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	runs, crc := make([]Run, 0, 1), []uint32{1}
	w := cluster.MakeSeq(1, chunks)
	rec := Record{Kind: Put, CRC: crc}
	mark := Record{Kind: Stable, Extent: Extent{Vol: vol}}
	b.ReportAllocs()
	for b.Loop() {
		w++
		runs, _ = m.Alloc(1, runs[:0])
		rec.Extent = Extent{Vol: vol, Page: rng.Uint64N(chunks), First: uint16(rng.IntN(64)), N: 1}
		rec.W, rec.Loc = w, runs[0].Loc
		m.Apply(&rec)
		mark.W = w
		m.Apply(&mark)
	}
}
