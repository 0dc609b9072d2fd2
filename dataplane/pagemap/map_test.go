package pagemap

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func newMap(t interface{ Fatal(...any) }, blocks uint64) *Map {
	m, err := New(blocks)
	if err != nil {
		t.Fatal(err)
	}
	return m
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
	for _, r := range []Record{{}, {Kind: Put, Extent: Extent{Vol: vol, N: 1}, W: 1},
		{Kind: 10, Extent: Extent{Vol: vol}}, {Kind: Renumber, Extent: Extent{Vol: vol}},
		{Kind: DropChunk, Extent: Extent{Vol: vol}},
		{Kind: Put, Extent: Extent{Vol: vol, N: 1, Residency: 1}, W: 1, Tombstone: true},
		{Kind: Stable, Extent: Extent{Vol: vol}, W: 5, Holes: []cluster.Seq{6}},
		{Kind: Stable, Extent: Extent{Vol: vol}, W: 5, Holes: []cluster.Seq{4, 4}},
		{Kind: View, Extent: Extent{Vol: vol}, View: chunk.View{Pins: []cluster.Seq{2, 1}}},
		{Kind: Undo, Extent: Extent{Vol: vol, First: 255, N: 2}, W: 1}} {
		if r.Validate() == nil {
			t.Errorf("record %+v is valid", r)
		}
	}
}
