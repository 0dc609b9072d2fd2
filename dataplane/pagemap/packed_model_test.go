package pagemap

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"pgregory.net/rapid"
)

// space counts data blocks: all, those that answer pins and no read at present, and those that answer nobody.
func (o *model) space() (blocks, pinned, reclaimable uint64) {
	for _, vs := range o.blocks {
		read := func(s cluster.Seq) int {
			return slices.IndexFunc(vs, func(v modelVersion) bool { return o.view.Sees(s, v.w) })
		}
		for i, v := range vs {
			if v.tomb {
				continue
			}
			blocks++
			byPin := slices.ContainsFunc(o.view.Pins, func(s cluster.Seq) bool { return read(s) == i })
			switch {
			case read(0) == i:
			case byPin:
				pinned++
			default:
				reclaimable++
			}
		}
	}
	return blocks, pinned, reclaimable
}

func (o *model) compareSpace(m *Map, key cluster.VolumeKey) error {
	blocks, pinned, reclaimable := o.space()
	st, _ := m.Volume(key)
	if st.Blocks != blocks || st.Pinned != pinned || st.Reclaimable != reclaimable {
		return fmt.Errorf("%d blocks, %d pinned, %d reclaimable; want %d, %d, %d", st.Blocks, st.Pinned,
			st.Reclaimable, blocks, pinned, reclaimable)
	}
	got, want := surveyed(m, key, 1+len(o.blocks)/3), o.survey()
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("space of %v hidden %v:\n got %+v\nwant %+v", o.view.Pins, o.view.Hidden, got, want)
	}
	return nil
}

// survey asks every viewpoint which version of each block it is answered with. Column 0 holds data.
func (o *model) survey() Space {
	out := Space{Known: true, View: o.view.Version}
	for _, pin := range o.view.Pins {
		out.Pins = append(out.Pins, PinHolding{Pin: pin})
	}
	for ref, vs := range o.blocks {
		seen := make([][]*Holding, len(vs))
		ask := func(s cluster.Seq, h *Holding) {
			i := slices.IndexFunc(vs, func(v modelVersion) bool { return o.view.Sees(s, v.w) })
			if i >= 0 && !vs[i].tomb {
				seen[i] = append(seen[i], h)
			}
		}
		ask(0, &out.Present)
		for i, pin := range o.view.Pins {
			ask(pin, &out.Pins[i].Holding)
		}
		kind := min(int(ref.column), ofParity)
		for i, who := range seen {
			switch {
			case vs[i].tomb:
			case len(who) == 0:
				*out.Reclaimable.of(kind)++
			case len(who) == 1:
				*who[0].Exclusive.of(kind)++
			}
			if len(who) > 0 && who[0] != &out.Present {
				*out.Pinned.of(kind)++
			}
			for _, h := range who {
				if len(who) > 1 {
					*h.Shared.of(kind)++
				}
			}
		}
	}
	return out
}

// surveyed counts in pieces.
func surveyed(m *Map, key cluster.VolumeKey, piece int) Space {
	s := NewSurvey(key, 1)
	for m.Survey(s, piece) {
	}
	return s.Space()
}

// compare compares all that can be asked of a volume.
func (o *model) compare(m *Map, key cluster.VolumeKey, asOf cluster.Seq) error {
	if err := m.Check(); err != nil {
		return err
	}
	for m.Purge(7) {
	}
	if err := m.Check(); err != nil {
		return err
	}
	for _, kind := range []ListKind{ListAll, ListUnstable, ListVersions} {
		got, want := listed(m, key, kind, 50), o.entries(kind == ListUnstable, kind == ListAll)
		if !slices.Equal(got, want) {
			return fmt.Errorf("list %d:\n got %v\nwant %v", kind, got, want)
		}
	}
	var out, exact [MaxChunkBlocks]Version
	for k, residency := range o.res {
		e := Extent{Vol: key, Page: k.page, Column: k.column, N: MaxChunkBlocks, Residency: residency}
		m.Lookup(e, asOf, out[:])
		m.Exact(e, asOf, exact[:])
		for b := range out {
			e.First = uint16(b)
			if want, state := o.lookup(e, asOf); out[b].W != want.w || out[b].State != state {
				return fmt.Errorf("%v as of %v: %+v, want %v %v", e, asOf, out[b], want.w, state)
			}
			has := slices.ContainsFunc(o.blocks[blockRef{k, uint16(b)}], func(v modelVersion) bool {
				return v.w == asOf
			})
			if has != (exact[b].State != Absent) {
				return fmt.Errorf("%v: version %v is there: %v", e, asOf, has)
			}
		}
	}
	return o.compareSpace(m, key)
}

// host writes as hosts do, so that chunks come to rest in every form.
type host struct {
	t   *rapid.T
	m   *Map
	o   *model
	key cluster.VolumeKey
	w   cluster.Seq
}

func (h *host) extent(blocks int) Extent {
	e := Extent{Vol: h.key, Page: rapid.Uint64Range(0, 2).Draw(h.t, "page"), Residency: chunk.Home(0)}
	e.First = uint16(rapid.IntRange(0, blocks-1).Draw(h.t, "first"))
	e.N = uint16(rapid.IntRange(1, min(blocks-int(e.First), 70)).Draw(h.t, "n"))
	if r := h.o.res[e.key()]; r != 0 {
		e.Residency = r
	}
	return e
}

func (h *host) write(e Extent, tomb bool) {
	h.w++
	if put(h.m, e, h.w, tomb, false) {
		h.o.put(e, h.w, tomb, false)
	}
	h.o.collect()
}

func (h *host) stable() {
	k := Mark{W: h.w}
	for w := h.w - cluster.Seq(min(20, h.w.Counter()-1)); w <= h.w; w++ {
		if rapid.IntRange(0, 9).Draw(h.t, "hole") == 0 {
			k.Holes = append(k.Holes, w)
		}
	}
	h.m.Apply(&Record{Kind: Stable, Extent: Extent{Vol: h.key}, W: k.W, Holes: k.Holes})
	h.o.marks = append(h.o.marks, k)
	h.o.collect()
}

func (h *host) step(blocks int) {
	e := h.extent(blocks)
	switch rapid.IntRange(0, 13).Draw(h.t, "what") {
	case 0, 1, 2:
		h.write(e, false)
	case 3, 4:
		for first, end := e.First, e.First+e.N; first < end; first++ {
			e.First, e.N = first, 1
			h.write(e, false)
		}
	case 5, 6:
		e.N = 1
		h.write(e, false)
	case 7, 8, 9:
		h.stable()
	case 10:
		h.write(e, true)
	case 11:
		w := h.w - cluster.Seq(rapid.Uint64Range(0, min(3, h.w.Counter()-1)).Draw(h.t, "back"))
		h.m.Apply(&Record{Kind: Undo, Extent: e, W: w})
		h.o.undo(e, w)
		h.o.collect()
	case 12:
		h.look(e)
	default:
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(h.t, "seed"), 1))
		step(rng, h.m, h.o, h.key) // anything, in the first blocks
	}
}

// look changes what is to be seen of the past: a pin at present or before, or a revert.
func (h *host) look(e Extent) {
	v := chunk.View{Version: h.o.view.Version + 1, Pins: slices.Clone(h.o.view.Pins),
		Cloned: rapid.IntRange(0, 3).Draw(h.t, "cloned") == 0}
	at := h.w - cluster.Seq(rapid.Uint64Range(0, min(9, h.w.Counter()-1)).Draw(h.t, "before"))
	switch i := rapid.IntRange(0, 3).Draw(h.t, "look"); {
	case i == 0 && len(v.Pins) > 0:
		v.Pins = slices.Delete(v.Pins, 0, 1)
	case i == 1 && at > 0:
		v.Hidden = []chunk.Interval{{After: at, To: h.w}}
	case i == 2:
		markBad(h.m, h.o, e)
		h.o.collect()
		return
	default:
		v.Pins = append(v.Pins, at)
		slices.Sort(v.Pins)
		v.Pins = slices.Compact(v.Pins)
	}
	if v.Validate() != nil {
		return
	}
	h.m.Apply(&Record{Kind: View, Extent: e, View: v})
	h.o.view = v
	h.o.collect()
}

// TestPackedHistoriesLikeTheModel fills, overwrites, trims, pins, reverts and spoils chunks of many blocks.
// At random moments the map must say what the model does.
func TestPackedHistoriesLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &host{t: t, m: newMap(t, 4000), o: newModel(), key: cluster.VolumeKey{VUID: 7, Generation: 1},
			w: cluster.MakeSeq(2, 100)}
		h.m.Apply(&Record{Kind: Settle, Extent: Extent{Vol: h.key}})
		blocks := rapid.SampledFrom([]int{16, 64, 64, 256}).Draw(t, "blocks")
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			h.step(blocks)
			if rapid.IntRange(0, 4).Draw(t, "compare") > 0 {
				continue
			}
			asOf := h.w - cluster.Seq(rapid.Uint64Range(0, 20).Draw(t, "as of"))
			if err := h.o.compare(h.m, h.key, asOf); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
		}
	})
}

// TestWriteAfterSnapshotTakesOneBlock: what is pinned stays where it is; only what is written is new.
func TestWriteAfterSnapshotTakesOneBlock(t *testing.T) {
	m, vol := newMap(t, 1000), cluster.VolumeKey{VUID: 1, Generation: 1}
	used := func() uint64 { st, _ := m.Volume(vol); return st.Blocks }
	space := func(pinned, reclaimable uint64) {
		t.Helper()
		if st, _ := m.Volume(vol); st.Pinned != pinned || st.Reclaimable != reclaimable {
			t.Fatalf("%d blocks pinned, %d reclaimable; want %d, %d", st.Pinned, st.Reclaimable, pinned,
				reclaimable)
		}
	}
	e := Extent{Vol: vol, Residency: 1, N: 64}
	w := cluster.MakeSeq(1, 1)
	put(m, e, w, false, false)
	m.Apply(&Record{Kind: Stable, Extent: e, W: w})
	m.Apply(&Record{Kind: View, Extent: e, View: chunk.View{Version: 1, Pins: []cluster.Seq{w}}})
	e.First, e.N = 17, 1
	for i := range uint64(3) {
		put(m, e, w+1+cluster.Seq(i), false, false)
		if used() != 64+1+i {
			t.Fatalf("write %d of one block takes %d", i, used()-64)
		}
		space(1, i)
	}
	m.Apply(&Record{Kind: Stable, Extent: e, W: w + 3})
	space(1, 0)
	if used() != 65 {
		t.Fatalf("one block written after a snapshot of 64 takes %d", used()-64)
	}
	m.Apply(&Record{Kind: View, Extent: e, View: chunk.View{Version: 2}})
	space(1, 0) // nobody has come by yet
	for m.Purge(1) {
	}
	space(0, 0)
	if used() != 64 {
		t.Fatalf("%d blocks without the snapshot", used())
	}
}
