package pagemap

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// told is what one snapshot told.
type told struct {
	number  uint64
	records []Record
	chunks  []toldChunk
}

type toldChunk struct {
	e        Extent
	versions []ChunkVersion
	image    Image // or nil
}

func (k *told) Record(r *Record) { k.records = append(k.records, *r) }

func (k *told) Chunk(e Extent, versions []ChunkVersion) {
	k.chunks = append(k.chunks, toldChunk{e, slices.Clone(versions), nil})
}

func (k *told) Image(e Extent, b Image) {
	k.chunks = append(k.chunks, toldChunk{e, b.Versions(nil), slices.Clone(b)})
}

// load makes a map of snapshots, in any order within each, versions cut in two. Who keeps a snapshot may take
// an image apart.
func load(t *testing.T, rng *rand.Rand, blocks uint64, all []*told) *Map {
	m := newMap(t, blocks)
	l := m.Load(all[len(all)-1].number)
	for _, k := range slices.Backward(all) {
		for _, i := range rng.Perm(len(k.records)) {
			l.Record(k.number, &k.records[i])
		}
		for _, i := range rng.Perm(len(k.chunks)) {
			c := k.chunks[i]
			if c.image != nil && rng.IntN(3) > 0 {
				if err := l.Image(k.number, c.e, c.image); err != nil {
					t.Fatal(err)
				}
				continue
			}
			cut := rng.IntN(len(c.versions) + 1)
			if err := errors.Join(l.Chunk(k.number, c.e, c.versions[cut:]),
				l.Chunk(k.number, c.e, c.versions[:cut])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	return m
}

// history is a map that changes, and snapshots of it.
type history struct {
	rng    *rand.Rand
	m      *Map
	models []*model
	all    []*told
	round  Round
	whole  int // rounds that ended
}

func (h *history) change() {
	i := h.rng.IntN(len(h.models))
	key := cluster.VolumeKey{VUID: 1, Generation: 1 + uint32(i)}
	if h.rng.IntN(120) == 0 {
		h.m.Apply(&Record{Kind: Drop, Extent: Extent{Vol: key}})
		h.models[i] = newModel()
	}
	step(h.rng, h.m, h.models[i], key)
	h.m.Purge(h.rng.IntN(3))
}

// snapshot takes one while the map changes, goes on with the round as far as chance will, and forgets what
// the round has made superfluous. It returns the map as it was at the beginning.
func (h *history) snapshot(number uint64) string {
	for h.m.Purge(100) {
	}
	k, want := &told{number: number}, dump(h.m)
	most := h.m.Usage()
	changes := func() {
		for range h.rng.IntN(6) {
			h.change()
		}
	}
	if h.round.First == 0 {
		h.round = Round{First: number}
	}
	s := h.m.BeginSnapshot(number, k)
	for s.Changes(1 + h.rng.IntN(8)) {
		changes()
	}
	h.all = append(h.all, k)
	for steps := h.rng.IntN(4); steps > 0; steps-- {
		if !s.Round(&h.round, 1+h.rng.IntN(4)) {
			h.all = slices.DeleteFunc(h.all, func(k *told) bool { return k.number < h.round.First })
			h.round, h.whole = Round{}, h.whole+1
			break
		}
		changes()
	}
	s.End()
	if versions, chunks := k.size(); versions > most.Versions || chunks > most.Chunks+most.Gone {
		panic("a snapshot told more than there was")
	}
	return want
}

// size tells how many versions and chunks a snapshot told.
func (k *told) size() (versions, chunks uint64) {
	for _, c := range k.chunks {
		versions += uint64(len(c.versions))
	}
	return versions, uint64(len(k.chunks))
}

// TestSnapshotsTellTheMap: what snapshots since the beginning of the last full round told is the map as the
// last of them began, whatever changed meanwhile, dropped volumes included; and a loaded map goes on the same
// way.
func TestSnapshotsTellTheMap(t *testing.T) {
	rounds, seeds := 0, uint64(150)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 2))
		h := &history{rng: rng, m: newMap(t, 400), models: []*model{newModel(), newModel(), newModel()}}
		for number := uint64(1); number < 12; number++ {
			for range rng.IntN(60) {
				h.change()
			}
			want := h.snapshot(number)
			loaded := load(t, rng, 400, h.all)
			if got := dump(loaded); got != want {
				t.Fatalf("seed %d snapshot %d:\n got %s\nwant %s", seed, number, got, want)
			}
			for _, m := range []*Map{h.m, loaded} {
				if err := m.Check(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		rounds += h.whole
	}
	if rounds < 3*int(seeds)/2 {
		t.Errorf("only %d rounds ended", rounds)
	}
}

// TestRestartsBetweenSnapshots replaces the map by the one that was loaded, as a mount does.
func TestRestartsBetweenSnapshots(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 3))
		h := &history{rng: rng, m: newMap(t, 400), models: []*model{newModel(), newModel()}}
		for number := uint64(1); number < 12; number++ {
			for range rng.IntN(40) {
				h.change()
			}
			want := h.snapshot(number)
			if rng.IntN(2) > 0 {
				continue
			}
			h.m = load(t, rng, 400, h.all)
			if got := dump(h.m); got != want {
				t.Fatalf("seed %d snapshot %d:\n got %s\nwant %s", seed, number, got, want)
			}
			for i := range h.models { // what changed meanwhile is lost: drop it in both
				h.m.Apply(&Record{Kind: Drop, Extent: Extent{Vol: cluster.VolumeKey{VUID: 1, Generation: 1 + uint32(i)}}})
				h.models[i] = newModel()
			}
		}
	}
}

// TestLoadRefusesNonsense: two residencies, versions twice or out of range, blocks used twice.
func TestLoadRefusesNonsense(t *testing.T) {
	e := Extent{Vol: cluster.VolumeKey{VUID: 1, Generation: 1}, Residency: 1}
	other, nobody := e, e
	other.Residency, nobody.Residency = 2, 0
	for i, c := range []struct {
		e  Extent
		vs []ChunkVersion
	}{
		{e, []ChunkVersion{{W: 0, Loc: 5}}},
		{e, []ChunkVersion{{W: 1, Loc: 100}}},
		{e, []ChunkVersion{{W: 1, Loc: 5, Block: 256}}},
		{e, []ChunkVersion{{W: 7, Loc: 2}}},
		{e, []ChunkVersion{{W: 8, Loc: 1}}},
		{e, []ChunkVersion{{W: 8, Tombstone: true, Bad: true}}},
		{other, []ChunkVersion{{W: 9, Loc: 9}}},
		{nobody, []ChunkVersion{{W: 9, Loc: 9}}},
	} {
		l := newMap(t, 100).Load(1)
		if err := l.Chunk(1, e, []ChunkVersion{{W: 7, Loc: 1}}); err != nil {
			t.Fatal(err)
		}
		if err := l.Chunk(1, c.e, c.vs); !errors.Is(err, ErrCorrupt) {
			t.Errorf("image %d: %v", i, err)
		}
	}
	for name, image := range map[string][]byte{
		"damaged":             {9},
		"a chunk twice":       appendPacked(nil, []unit{{w: 9, loc: 9}}),
		"a block used twice":  appendPacked(nil, []unit{{w: 9, loc: 1}}),
		"a block twice":       appendArray(nil, []unit{{w: 9, loc: 9}, {block: 2, w: 8, loc: 9}}),
		"beyond the device":   appendPacked(nil, []unit{{w: 9, loc: 99}, {block: 1, w: 9, loc: 100}}),
		"a block far outside": appendArray(nil, []unit{{w: 9, loc: 1<<32 - 1}}),
	} {
		l, page := newMap(t, 100).Load(1), e
		if err := l.Chunk(1, e, []ChunkVersion{{W: 7, Loc: 1}}); err != nil {
			t.Fatal(err)
		}
		if name != "a chunk twice" {
			page.Page++
		}
		if err := l.Image(1, page, image); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := newMap(t, 100).Load(1)
	if err := l.Chunk(1, e, []ChunkVersion{{W: 7, Loc: 1}}); err != nil || l.Finish() == nil {
		t.Errorf("a chunk of no volume: %v", err)
	}
}
