package pagestore

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"pgregory.net/rapid"
)

// checkpointed counts the bytes of so many checkpoints while f changes something.
func checkpointed(t *testing.T, s *Store, n uint64, f func(i uint64)) uint64 {
	t.Helper()
	before := s.Stats().Traffic
	for i := uint64(0); s.Stats().Traffic.Checkpoints < before.Checkpoints+n; i++ {
		f(i)
	}
	eventually(t, "the checkpoint is written", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.mu.ckpt.busy()
	})
	return s.Stats().Traffic.CheckpointBytes - before.CheckpointBytes
}

// TestCheckpointsTellWhatChanged: on a full map, of which a small part changes, checkpoints stay small, go
// round the ring many times, and leave all of the map there.
func TestCheckpointsTellWhatChanged(t *testing.T) {
	dev := formatted(t, 1<<15, 16)
	s := open(t, dev)
	pages := s.Stats().TotalBlocks/64 - 10
	w := uint64(0)
	put := func(page uint64, first, n uint16) {
		w++
		data, crc := fill(n, page)
		must(t, do(s, &Write{Extent: ext(1, page, first, n), W: seq(1, w), Stable: seq(1, w-1), Data: data,
			CRC: crc}))
	}
	for p := range pages {
		put(p, 0, 64)
	}
	must(t, s.Close())
	s = open(t, dev)
	whole := 2 * s.Stats().LiveBlocks * 5 // a checkpoint of all is longer: every version has a checksum of 4
	few := checkpointed(t, s, 1, func(i uint64) { put(i%5, 0, 1) })
	if few > whole/4 {
		t.Errorf("a checkpoint of five chunks takes %d bytes, one of all over %d", few, whole)
	}
	hot := checkpointed(t, s, 300, func(i uint64) { put(i%5, uint16(i/5%64), 1) })
	ring := s.Stats().Ring
	if hot > 300*whole/4 || hot < 2*ring.Bytes {
		t.Errorf("300 checkpoints take %d bytes, the map is over %d, the ring %d", hot, whole, ring.Bytes)
	}
	must(t, s.Close())
	s = open(t, dev)
	if got := s.Stats().LiveBlocks; got != pages*64 && got != pages*64+1 {
		t.Errorf("%d blocks, want %d", got, pages*64)
	}
	for _, p := range []uint64{6, pages / 2, pages - 1} {
		want, _ := fill(64, p)
		if got, _ := read(t, s, ext(1, p, 0, 64), 0); !bytes.Equal(got, want) {
			t.Errorf("page %d is not what it was", p)
		}
	}
	closeAndCheck(t, s)
}

// TestAMapThatWouldOutgrowTheRingIsRefused: chunks of one block each, with the longest numbers, fill what a
// checkpoint may take before they fill the device. Deletes still work, and bring the room back.
func TestAMapThatWouldOutgrowTheRingIsRefused(t *testing.T) {
	dev := formatted(t, 4000, 64)
	s := open(t, dev)
	n := uint64(0)
	at := func(i uint64) pagemap.Extent {
		e := ext(1<<24-1, 1<<63+i*1e15, 0, 1)
		e.Vol.Generation, e.Column, e.Residency = 1<<32-1, 255, 1<<56-1
		return e
	}
	var err error
	for ; err == nil; n++ {
		err = write(s, at(n), seq(1<<23, n+1), n)
	}
	if st := s.Stats(); !errors.Is(err, ErrFull) || st.FreeBlocks < st.TotalBlocks/4 {
		t.Fatalf("after %d writes %v, %+v", n, err, st)
	}
	for i := range n - 1 { // and go round the ring meanwhile
		must(t, wait(func(done func(error)) { s.Undo(at(i), seq(1<<23, i+1), done) }))
	}
	must(t, write(s, at(0), seq(1<<23, n+1), 7))
	must(t, s.Close())
	s = open(t, dev)
	expect(t, s, at(0), seq(1<<23, n+1), 7)
	closeAndCheck(t, s)
}

// TestARottenCopyIsRepaired from the other, and counted, at the mount that reads it.
func TestARottenCopyIsRepaired(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 1), 1))
	must(t, s.Close())
	for range 4 {
		sb, err := newestSuper(t.Context(), dev)
		must(t, err)
		bad := sb.lay.area(int(sb.incarnation % 2))
		dev.Corrupt(bad.offset(sb.ckpt.head-1)+7, 1)
		if rep, err := Check(t.Context(), dev, CheckOptions{}); err != nil || len(rep.Warnings) != 1 {
			t.Fatalf("check: %v, %+v", err, rep)
		}
		s = open(t, dev)
		if got := s.Stats().Repaired; got != 1 {
			t.Fatalf("%d segments repaired", got)
		}
		expect(t, s, ext(1, 0, 0, 4), seq(1, 1), 1)
		if rep := closeAndCheck(t, s); len(rep.Warnings) > 0 {
			t.Fatalf("after the repair %v", rep.Warnings)
		}
	}
}

// TestLargerLogicalBlocksAreRefused: a store that was made for 512 bytes cannot be written in 4 KiB.
func TestLargerLogicalBlocksAreRefused(t *testing.T) {
	small := blockdev.NewMem(blockdev.MemOptions{Size: 1000 * BlockSize})
	large := newMem(t, 1000, false)
	defer small.Close()
	must(t, Format(t.Context(), small, formatOptions()))
	all := make([]byte, 1000*BlockSize)
	small.Peek(0, all)
	large.Poke(0, all)
	if _, err := Open(t.Context(), large, Options{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("open: %v", err)
	}
}

// TestMetadataIsToldAsItWas: a walk over the metadata gives every record once, as it was when it began,
// whatever is put and deleted meanwhile.
func TestMetadataIsToldAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		m := metaTable{byKey: map[string]*metaEntry{}}
		change := func() {
			e := metaEntry{key: fmt.Sprint(rng.IntN(20)), value: []byte{byte(rng.IntN(256))}, gone: rng.IntN(3) == 0}
			m.put(e)
		}
		for number := range uint64(4) {
			for range rng.IntN(40) {
				change()
			}
			want, got := map[string]byte{}, map[string]byte{}
			for k, e := range m.byKey {
				want[k] = e.value[0]
			}
			m.begin(number+1, func(e *metaEntry) {
				if _, twice := got[e.key]; twice {
					t.Fatalf("%q is told twice", e.key)
				}
				got[e.key] = e.value[0]
			})
			for more := true; more; {
				for range rng.IntN(5) {
					change()
				}
				more = m.next(1 + rng.IntN(3))
			}
			if !maps.Equal(got, want) {
				t.Fatalf("told %v, want %v", got, want)
			}
			if len(m.list) != len(m.byKey) || slices.ContainsFunc(m.list, func(e *metaEntry) bool {
				return m.byKey[e.key] != e || m.list[e.at] != e
			}) {
				t.Fatal("list and keys differ")
			}
		}
	})
}
