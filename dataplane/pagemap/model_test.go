package pagemap

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// model is the same rules, written naively: every version of every block in a map of slices, every report of
// the owner, every viewpoint asked.
type model struct {
	settled uint32
	marks   []Mark
	view    chunk.View
	res     map[chunkKey]chunk.Residency
	blocks  map[blockRef][]modelVersion // descending w
}

type modelVersion struct {
	w         cluster.Seq
	tomb, bad bool
}

func newModel() *model {
	return &model{res: map[chunkKey]chunk.Residency{}, blocks: map[blockRef][]modelVersion{}}
}

func (o *model) stable(w cluster.Seq) bool {
	return w.Epoch() < o.settled || slices.ContainsFunc(o.marks, func(k Mark) bool {
		return k.W.Epoch() == w.Epoch() && w <= k.W && !slices.Contains(k.Holes, w)
	})
}

// needed tells whether a viewpoint sees version i of a block and none that replaces it.
func (o *model) needed(s cluster.Seq, vs []modelVersion, i int) (needed, seen bool) {
	x := vs[i]
	if !o.view.Sees(s, x.w) {
		return false, false
	}
	return !slices.ContainsFunc(vs[:i], func(y modelVersion) bool {
		return o.view.Sees(s, y.w) && !y.bad && o.stable(y.w) &&
			(x.w.Epoch() == y.w.Epoch() || x.w.Epoch() < o.settled)
	}), true
}

func (o *model) collect() {
	held := map[chunkKey]bool{}
	for ref, vs := range o.blocks {
		var keep []modelVersion
		for i, x := range vs {
			need, seen := o.needed(0, vs, i)
			for _, pin := range o.view.Pins {
				n, s := o.needed(pin, vs, i)
				need, seen = need || n, seen || s
			}
			if need || !seen && !o.stable(x.w) {
				keep = append(keep, x)
			}
		}
		if len(keep) == 1 && keep[0].tomb && o.stable(keep[0].w) && !o.res[ref.chunkKey].Overlay() &&
			!o.view.Cloned {
			keep = nil
		}
		if o.blocks[ref] = keep; keep == nil {
			delete(o.blocks, ref)
		} else {
			held[ref.chunkKey] = true
		}
	}
	for k := range o.res {
		if !held[k] {
			delete(o.res, k)
		}
	}
}

func (o *model) drop(k chunkKey) {
	for ref := range o.blocks {
		if ref.chunkKey == k {
			delete(o.blocks, ref)
		}
	}
}

func (o *model) renumber(e Extent) {
	if held := o.res[e.key()]; held != 0 && held < e.Residency {
		o.res[e.key()] = e.Residency
	}
}

func (o *model) put(e Extent, w cluster.Seq, tomb, replace bool) {
	if e.Residency < o.res[e.key()] {
		return
	}
	if e.Residency > o.res[e.key()] {
		o.drop(e.key())
		o.res[e.key()] = e.Residency
	}
	for b := e.First; b < e.First+e.N; b++ {
		ref := blockRef{e.key(), b}
		vs := o.blocks[ref]
		i, found := slices.BinarySearchFunc(vs, w, func(v modelVersion, w cluster.Seq) int {
			return cmp.Compare(w, v.w)
		})
		switch {
		case !found:
			o.blocks[ref] = slices.Insert(vs, i, modelVersion{w: w, tomb: tomb})
		case replace:
			vs[i] = modelVersion{w: w, tomb: tomb}
		}
	}
}

func (o *model) undo(e Extent, w cluster.Seq) {
	for b := e.First; b < e.First+e.N && e.Residency == o.res[e.key()]; b++ {
		ref := blockRef{e.key(), b}
		o.blocks[ref] = slices.DeleteFunc(o.blocks[ref], func(v modelVersion) bool { return v.w == w })
	}
}

func (o *model) entries(unstable, newest bool) (out []Entry) {
	for ref, vs := range o.blocks {
		for i, v := range vs {
			if newest && i > 0 || unstable && o.stable(v.w) {
				continue
			}
			out = append(out, Entry{Cursor: Cursor{Page: ref.page, Column: ref.column, Block: ref.block, W: v.w},
				Residency: o.res[ref.chunkKey], State: v.state()})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.Cursor.compare(b.Cursor) })
	return out
}

func (v modelVersion) state() State {
	switch {
	case v.bad:
		return Bad
	case v.tomb:
		return Tombstone
	}
	return Data
}

// lookup gives what a read as of s sees of one block.
func (o *model) lookup(e Extent, s cluster.Seq) (modelVersion, State) {
	if e.Residency != o.res[e.key()] {
		return modelVersion{}, Absent
	}
	for _, v := range o.blocks[blockRef{e.key(), e.First}] {
		if o.view.Sees(s, v.w) {
			return v, v.state()
		}
	}
	return modelVersion{}, Absent
}

func listed(m *Map, key cluster.VolumeKey, kind ListKind, piece int) (out []Entry) {
	buf := make([]Entry, piece)
	var after Cursor
	for more := true; more; {
		var n int
		n, after, more = m.List(key, kind, after, buf)
		for _, e := range buf[:n] {
			e.CRC, e.Columns = 0, Columns{}
			out = append(out, e)
		}
	}
	return out
}

// anyView makes a view list that is newer most of the time.
func anyView(rng *rand.Rand, version uint32) chunk.View {
	v := chunk.View{Version: version + uint32(rng.IntN(4)), Cloned: rng.IntN(3) == 0}
	for e := uint32(1); e < 5; e++ {
		at := 1 + rng.Uint64N(60)
		if rng.IntN(2) == 0 {
			v.Pins = append(v.Pins, cluster.MakeSeq(e, at), cluster.MakeSeq(e, at+rng.Uint64N(9)))
		}
		if rng.IntN(3) == 0 {
			v.Hidden = append(v.Hidden, chunk.Interval{After: cluster.MakeSeq(1+rng.Uint32N(e), rng.Uint64N(60)),
				To: cluster.MakeSeq(e+rng.Uint32N(2), 60)})
		}
	}
	for _, h := range v.Hidden { // the edges are worth a look
		if rng.IntN(2) == 0 {
			v.Pins = append(v.Pins, h.To, h.After)
		}
	}
	slices.Sort(v.Pins)
	if v.Validate() != nil {
		return chunk.View{Version: v.Version, Cloned: v.Cloned}
	}
	return v
}

// step makes one random change to the map and to the model.
func step(rng *rand.Rand, m *Map, o *model, key cluster.VolumeKey) {
	e := Extent{Vol: key, Page: rng.Uint64N(3), Column: uint8(rng.IntN(2)), First: uint16(rng.IntN(12))}
	e.N = uint16(1 + rng.IntN(4))
	residencies := [...]chunk.Residency{chunk.Home(0), chunk.Alternate(0, 2, 1), chunk.Home(1)}
	if e.Residency = o.res[e.key()]; e.Residency == 0 || rng.IntN(12) == 0 {
		e.Residency = residencies[rng.IntN(len(residencies))]
	}
	w := cluster.MakeSeq(1+uint32(rng.IntN(4)), 1+rng.Uint64N(60))
	switch rng.IntN(20) {
	case 0:
		k := Mark{W: w}
		for h := max(w-20, cluster.MakeSeq(w.Epoch(), 1)); h <= w; h += 1 + cluster.Seq(rng.IntN(20)) {
			k.Holes = append(k.Holes, h)
		}
		m.Apply(&Record{Kind: Stable, Extent: e, W: k.W, Holes: k.Holes})
		o.marks = append(o.marks, k)
	case 1:
		if rng.IntN(4) == 0 {
			m.Apply(&Record{Kind: Settle, Extent: e, Epoch: w.Epoch()})
			o.settled = max(o.settled, w.Epoch())
		}
	case 2, 3:
		m.Apply(&Record{Kind: Undo, Extent: e, W: w})
		o.undo(e, w)
	case 4, 5, 6:
		put(m, e, w, true, false)
		o.put(e, w, true, false)
	case 7:
		markBad(m, o, e)
	case 8:
		e.N = 1
		out := make([]Version, 1)
		if m.Lookup(e, 0, out); out[0].State == Bad && put(m, e, out[0].W, false, true) {
			o.put(e, out[0].W, false, true)
		}
	case 9:
		v := anyView(rng, o.view.Version)
		m.Apply(&Record{Kind: View, Extent: e, View: v})
		if v.Version > o.view.Version {
			o.view = v
		}
	case 10:
		if rng.IntN(4) == 0 {
			m.Apply(&Record{Kind: DropChunk, Extent: e})
			if e.Residency >= o.res[e.key()] {
				o.drop(e.key())
			}
		}
	case 11:
		e.Residency = residencies[rng.IntN(len(residencies))]
		m.Apply(&Record{Kind: Renumber, Extent: e})
		o.renumber(e)
	default:
		if put(m, e, w, false, false) {
			o.put(e, w, false, false)
		}
	}
	o.collect()
}

// markBad spoils what is seen of a block.
func markBad(m *Map, o *model, e Extent) {
	out := make([]Version, 1)
	e.N = 1
	m.Lookup(e, 0, out)
	if out[0].State != Data || !m.MarkBad(e, e.First, out[0].W, out[0].Loc) {
		return
	}
	for i, v := range o.blocks[blockRef{e.key(), e.First}] {
		if v.w == out[0].W {
			o.blocks[blockRef{e.key(), e.First}][i].bad = true
		}
	}
}

// seeds gives fewer under -short, which goes with the race detector.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 6
	}
	return n
}

// TestLikeTheModel compares the map with the naive model after every random change.
func TestLikeTheModel(t *testing.T) {
	key := cluster.VolumeKey{VUID: 7, Generation: 1}
	for seed := range seeds(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m, o := newMap(t, 200), newModel()
		m.Apply(&Record{Kind: Settle, Extent: Extent{Vol: key}}) // a mark makes no volume
		for i := range 300 {
			step(rng, m, o, key)
			if err := m.Check(); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, i, err)
			}
			if err := o.comparePiecemeal(rng, m, key); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, i, err)
			}
		}
		m.Apply(&Record{Kind: Drop, Extent: Extent{Vol: key}})
		for m.Purge(10) {
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
		}
		if u := m.Usage(); u.Free != 200 || m.t.nodes.used != 0 || u.Notes != (Notes{}) {
			t.Fatalf("seed %d: after dropping the volume %+v, %d versions", seed, u, m.t.nodes.used)
		}
	}
}

// comparePiecemeal compares what is asked for in pieces, and what a sweep has to end for only then.
func (o *model) comparePiecemeal(rng *rand.Rand, m *Map, key cluster.VolumeKey) error {
	for more := rng.IntN(3) == 0; more; {
		more = m.Purge(2)
	}
	views := append(slices.Clone(o.view.Pins), 0)
	swept := !m.Purge(rng.IntN(2))
	if swept {
		views = append(views, cluster.MakeSeq(uint32(rng.IntN(5)), rng.Uint64N(60)))
		for _, kind := range []ListKind{ListAll, ListUnstable, ListVersions} {
			got := listed(m, key, kind, 1+rng.IntN(9))
			want := o.entries(kind == ListUnstable, kind == ListAll)
			if !slices.Equal(got, want) {
				return fmt.Errorf("list %d:\n got %v\nwant %v", kind, got, want)
			}
		}
		if err := o.compareSpace(m, key); err != nil {
			return err
		}
		if chunks := listed(m, key, ListChunks, 1+rng.IntN(3)); len(chunks) != len(o.res) {
			return fmt.Errorf("chunks %v, want %v", chunks, o.res)
		}
	}
	e := Extent{Vol: key, Page: rng.Uint64N(3), First: uint16(rng.IntN(12)), N: 1, Residency: chunk.Home(0)}
	out, s := make([]Version, 1), views[rng.IntN(len(views))]
	m.Lookup(e, s, out)
	if want, state := o.lookup(e, s); out[0].W != want.w || out[0].State != state {
		return fmt.Errorf("as of %v %+v, want %v %v, swept %v", s, out[0], want.w, state, swept)
	}
	return nil
}
