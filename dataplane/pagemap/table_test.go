package pagemap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"pgregory.net/rapid"
)

// chunksOf lets tests see what a table does for a few chunks.
type chunksOf struct {
	t      *table
	chunks []chunkMap
	rest   []map[uint8]unit // what is at rest
}

func newChunksOf(n int) *chunksOf {
	w := &chunksOf{t: newTable(1000, heap)}
	for i := range n {
		w.chunks = append(w.chunks, w.t.newChunk(chunkKey{page: uint64(i)}, chunk.Home(0)))
		w.rest = append(w.rest, map[uint8]unit{})
	}
	return w
}

func (w *chunksOf) check(t *rapid.T) {
	blobs := 0
	for i, c := range w.chunks {
		want := make([]unit, 0, len(w.rest[i]))
		for _, u := range w.rest[i] {
			want = append(want, u)
		}
		slices.SortFunc(want, func(a, b unit) int { return int(a.block) - int(b.block) })
		var got []unit
		if p := w.t.packedOf(c); p != nil {
			blobs++
			got = p.units(nil)
			if _, err := parseImage(p.appendTo(nil)); err != nil {
				t.Fatalf("chunk %d: %v", i, err)
			}
			_, dicts := appendDict(nil, want)
			if most := len(appendArray(nil, want)) + max(4, dicts)*dictSize; p.size() > most {
				t.Fatalf("chunk %d takes %d bytes, an array takes %d at most", i, p.size(), most)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("chunk %d:\n got %v\nwant %v", i, got, want)
		}
		for b := range MaxChunkBlocks {
			u, ok := w.t.rest(c, uint16(b))
			if want, held := w.rest[i][uint8(b)]; ok != held || u != want && held {
				t.Fatalf("chunk %d block %d: %v, %v", i, b, u, ok)
			}
		}
	}
	n, err := w.t.blobs.check(func(owner uint32, h handle) bool { return w.t.at(owner).packed() == h })
	if err != nil || n != blobs {
		t.Fatalf("%d blobs of %d, %v", n, blobs, err)
	}
}

// TestChunksAtRestLikeAMap packs and unpacks blocks of several chunks: writes in order and at random, over
// and over, with few or with very many different columns and epochs.
func TestChunksAtRestLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newChunksOf(rapid.IntRange(1, 5).Draw(t, "chunks"))
		blocks := rapid.SampledFrom([]int{4, 16, 64, 100, 256}).Draw(t, "blocks")
		kinds := rapid.SampledFrom([]int{1, 2, 300}).Draw(t, "kinds")
		seq, loc := uint64(0), uint32(0)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			i := rapid.IntRange(0, len(w.chunks)-1).Draw(t, "chunk")
			c, rest := w.chunks[i], w.rest[i]
			first := rapid.IntRange(0, blocks-1).Draw(t, "first")
			n := rapid.IntRange(1, min(blocks-first, 20)).Draw(t, "n")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				for b := first; b < first+n; b++ {
					if _, ok := rest[uint8(b)]; ok {
						w.t.dropRest(c, uint16(b))
						delete(rest, uint8(b))
					}
				}
			default:
				kind := rapid.IntRange(0, kinds-1).Draw(t, "kind")
				for b := first; b < first+n; b++ {
					seq, loc = seq+1, loc+1
					u := unit{w: cluster.MakeSeq(uint32(kind%7), seq), loc: loc, crc: loc * 3, block: uint8(b),
						columns: Columns{Set: uint16(kind)}}
					w.t.setRest(c, &u)
					rest[u.block] = u
				}
				loc += uint32(rapid.IntRange(0, 1).Draw(t, "elsewhere"))
			}
			w.t.settleDown(c)
		}
		w.check(t)
	})
}

// TestArenaIsDense allocates, resizes and frees at random; what is in a blob stays, and memory that nobody
// uses is bounded by a slab for each size.
func TestArenaIsDense(t *testing.T) {
	type blob struct {
		h    handle
		size int
	}
	from := &slabs{mem: heap, shift: 16, step: 1 << 20}
	blobs := map[uint32]*blob{}
	a := newArena(from, func(owner uint32, from, to handle) {
		if blobs[owner].h != from {
			t.Fatalf("blob %d moved from %d, it was at %d", owner, from, blobs[owner].h)
		}
		blobs[owner].h = to
	})
	fill := func(owner uint32, b *blob) {
		for i := range b.size {
			a.at(b.h)[i] = byte(int(owner)*7 + i)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 40000 {
		owner := uint32(rng.IntN(3000))
		size := 1 + rng.IntN(1+rng.IntN(maxPacked))
		b := blobs[owner]
		switch {
		case b == nil:
			blobs[owner] = &blob{a.alloc(owner, size), size}
			fill(owner, blobs[owner])
		case round%3 == 0 || round > 30000:
			for i := range b.size {
				if a.at(b.h)[i] != byte(int(owner)*7+i) {
					t.Fatalf("blob %d changed", owner)
				}
			}
			delete(blobs, owner)
			a.free(b.h)
		default:
			b.h = a.resize(b.h, size, 0)
			for i := range min(b.size, size) {
				if a.at(b.h)[i] != byte(int(owner)*7+i) {
					t.Fatalf("blob %d changed when it was resized", owner)
				}
			}
			b.size = size
			fill(owner, b)
		}
	}
	n, err := a.check(func(owner uint32, h handle) bool { return blobs[owner] != nil && blobs[owner].h == h })
	if err != nil || n != len(blobs) {
		t.Fatalf("%d blobs of %d, %v", n, len(blobs), err)
	}
	if most := a.used*21/20 + blobClasses<<16; a.bytes() > most {
		t.Fatalf("%d bytes for blobs of %d", a.bytes(), a.used)
	}
}

// TestIndexLikeAMap adds and removes chunks, many with keys that the hash cannot tell apart by much.
func TestIndexLikeAMap(t *testing.T) {
	var alike []chunkKey
	for page := uint64(0); len(alike) < 600; page++ {
		if k := (chunkKey{page, uint8(page % 3)}); k.tag()>>24 == 0x55 {
			alike = append(alike, k)
		}
	}
	for _, c := range []struct {
		name string
		key  func(rng *rand.Rand) chunkKey
		n    int
	}{
		{"alike", func(rng *rand.Rand) chunkKey { return alike[rng.IntN(len(alike))] }, 6000},
		{"any", func(rng *rand.Rand) chunkKey { return chunkKey{rng.Uint64N(4000), uint8(rng.IntN(3))} }, 40000},
		{"edges", func(rng *rand.Rand) chunkKey {
			return chunkKey{^uint64(0) - rng.Uint64N(2), uint8(rng.IntN(256))}
		}, 3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 1))
			tab := newTable(1000, heap)
			x, held := newIndex(tab), map[chunkKey]uint32{}
			crowded := 0
			for i := range c.n {
				key := c.key(rng)
				got := x.get(key)
				if got.id != held[key] {
					t.Fatalf("step %d: %v is chunk %d, want %d", i, key, got.id, held[key])
				}
				grow := i < c.n/2 == (rng.IntN(4) > 0)
				switch {
				case got.ok() && !grow:
					x.remove(got)
					tab.chunks.put(got.id)
					delete(held, key)
				case !got.ok() && grow:
					n := tab.newChunk(key, 1)
					x.insert(n)
					held[key] = n.id
				}
				crowded = max(crowded, x.hash.crowded)
			}
			if err := likeMap(&x, held); err != nil {
				t.Fatal(err)
			}
			if (crowded > 0) != (c.name == "alike") {
				t.Fatalf("%d chunks had no room in the hash", crowded)
			}
			for c := x.last(); c.ok(); c = x.last() {
				x.remove(c)
				tab.chunks.put(c.id)
			}
			if tab.pages.used != 0 || tab.chunks.used != 0 || x.size() != 0 {
				t.Fatalf("an empty index holds %d pages, %d chunks", tab.pages.used, tab.chunks.used)
			}
		})
	}
}

// likeMap compares an index with a map, in order.
func likeMap(x *index, held map[chunkKey]uint32) error {
	n, last := 0, chunkKey{}
	for c := x.seek(chunkKey{}); c.ok(); c = x.after(c.key()) {
		if k := c.key(); held[k] != c.id || n > 0 && last.compare(k) >= 0 || x.get(k).id != c.id {
			return fmt.Errorf("%v behind %v is chunk %d, want %d", k, last, c.id, held[k])
		}
		n, last = n+1, c.key()
	}
	if n != len(held) || x.size() != n {
		return fmt.Errorf("%d chunks of %d, size %d", n, len(held), x.size())
	}
	return nil
}
