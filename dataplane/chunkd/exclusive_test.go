package chunkd_test

import (
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

type answered chan *chunk.Request

func (a answered) ChunkDone(r *chunk.Request) { a <- r }

func vol(vuid uint32) cluster.VolumeKey { return cluster.VolumeKey{VUID: vuid, Generation: 1} }

// do carries one request out.
func do(s *chunkd.Server, v cluster.VolumeKey, epoch, residency uint32, r *chunk.Request) *chunk.Request {
	done := make(answered, 1)
	r.Device, r.Vol, r.Epoch, r.Residency, r.Completer = chunkdtest.Device, v, epoch, residency, done
	s.Submit(r)
	return <-done
}

func writeOf(page uint64, w cluster.Seq) *chunk.Request {
	data := make([]byte, cluster.BlockSize)
	data[0] = byte(w)
	return &chunk.Request{Op: chunk.OpWrite, Page: page, Count: 1, W: w, Data: data,
		Blocks: []chunk.BlockInfo{{CRC: crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))}}}
}

func list(t *testing.T, s *chunkd.Server, v cluster.VolumeKey, epoch, residency uint32) []chunk.Entry {
	t.Helper()
	r := do(s, v, epoch, residency, &chunk.Request{Op: chunk.OpList, Count: chunk.MaxEntries})
	if r.Status != chunk.OK || r.More {
		t.Fatalf("list: %v, more %v", r.Status, r.More)
	}
	return r.Entries
}

// crowd lets writers go on under an epoch and residency until they are refused, each with several writes
// under way. wait returns when the last one has its answers.
func crowd(s *chunkd.Server, v cluster.VolumeKey, epoch, residency uint32) (
	begun *atomic.Int64, wait func()) {
	begun = new(atomic.Int64)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for refused := false; !refused; {
				var burst sync.WaitGroup
				var no atomic.Bool
				for range 4 {
					n := begun.Add(1)
					burst.Add(1)
					go func() {
						defer burst.Done()
						r := do(s, v, epoch, residency, writeOf(uint64(n%512), cluster.MakeSeq(epoch, uint64(n))))
						if r.Status != chunk.OK {
							no.Store(true)
						}
					}()
				}
				burst.Wait()
				refused = no.Load()
			}
		}()
	}
	return begun, wg.Wait
}

// TestAFenceIsAnsweredWhenNothingOlderCanHappen: what is there when the fence is answered is all there will
// be of the old owner.
func TestAFenceIsAnsweredWhenNothingOlderCanHappen(t *testing.T) {
	for round := range uint32(20) {
		s := newServer(t)
		begun, wait := crowd(s, vol(5), 1, 1)
		for begun.Load() < int64(10+round) {
			do(s, vol(6), 1, 1, &chunk.Request{Op: chunk.OpStable})
		}
		fence := &chunk.Request{Op: chunk.OpFence}
		if round%2 == 1 { // any request with a higher epoch stores the fence first
			fence = &chunk.Request{Op: chunk.OpList, Count: 1}
		}
		if r := do(s, vol(5), 2, 1, fence); r.Status != chunk.OK {
			t.Fatal(r.Status)
		}
		there := list(t, s, vol(5), 2, 1)
		wait()
		if now := list(t, s, vol(5), 2, 1); !slices.Equal(there, now) {
			t.Fatalf("round %d: %d versions when the fence was answered, %d in the end", round, len(there), len(now))
		}
	}
}

// TestAResidencyBeginsAndStaysEmpty: nothing that was under way under the old number shows up under the new
// one.
func TestAResidencyBeginsAndStaysEmpty(t *testing.T) {
	for round := range 20 {
		s := newServer(t)
		begun, wait := crowd(s, vol(5), 1, 1)
		for begun.Load() < int64(10+round) {
			do(s, vol(6), 1, 1, &chunk.Request{Op: chunk.OpStable})
		}
		if r := do(s, vol(5), 1, 2, &chunk.Request{Op: chunk.OpBegin}); r.Status != chunk.OK {
			t.Fatal(r.Status)
		}
		wait()
		if now := list(t, s, vol(5), 1, 2); len(now) != 0 {
			t.Fatalf("round %d: %d versions under the new number", round, len(now))
		}
	}
}

// TestManyFencesAtOnce: whatever the order, the highest wins, everybody has an answer, and none says OK for
// an epoch below one that was stored before it was sent.
func TestManyFencesAtOnce(t *testing.T) {
	s := newServer(t)
	var stored atomic.Uint32
	var wg sync.WaitGroup
	for i := range uint32(64) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			epoch, before := 2+i*7%61, stored.Load()
			r := do(s, vol(5), epoch, 1, &chunk.Request{Op: chunk.OpFence})
			switch {
			case r.Status == chunk.OK && epoch < before:
				t.Errorf("fence %d was accepted after %d", epoch, before)
			case r.Status == chunk.Fenced && r.Known <= epoch:
				t.Errorf("fence %d was refused for %d", epoch, r.Known)
			case r.Status == chunk.OK:
				for old := stored.Load(); old < epoch && !stored.CompareAndSwap(old, epoch); old = stored.Load() {
				}
			}
		}()
	}
	wg.Wait()
	if r := do(s, vol(5), 1, 1, &chunk.Request{Op: chunk.OpFence}); r.Status != chunk.Fenced || r.Known != 62 {
		t.Fatalf("%v, known %d", r.Status, r.Known)
	}
}

// TestPurgeTakesOnlyDeletedVolumes: data, fence and residency of a deleted volume go, whatever its owner, who
// has not heard of it yet, does meanwhile; those of others stay.
func TestPurgeTakesOnlyDeletedVolumes(t *testing.T) {
	s := newServer(t)
	gone := func(v cluster.VolumeKey) bool { return v == vol(5) }
	for _, v := range []cluster.VolumeKey{vol(5), vol(6)} {
		if r := do(s, v, 3, 2, &chunk.Request{Op: chunk.OpBegin}); r.Status != chunk.OK {
			t.Fatal(r.Status)
		}
		if r := do(s, v, 3, 2, writeOf(1, cluster.MakeSeq(3, 1))); r.Status != chunk.OK {
			t.Fatal(r.Status)
		}
	}
	begun, wait := crowd(s, vol(5), 3, 2)
	for begun.Load() < 20 {
		do(s, vol(6), 3, 2, &chunk.Request{Op: chunk.OpStable})
	}
	for range 3 {
		if _, err := s.Purge(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	do(s, vol(5), 4, 1, &chunk.Request{Op: chunk.OpFence}) // the old owner stops at last
	wait()
	if _, err := s.Purge(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Purge(t.Context(), gone); n != 0 || err != nil {
		t.Fatalf("after the last purge there was something left of %d volumes, %v", n, err)
	}
	if r := do(s, vol(5), 1, 1, &chunk.Request{Op: chunk.OpFence}); r.Status != chunk.OK {
		t.Errorf("the fence of a deleted volume: %v", r.Status)
	}
	if r := do(s, vol(6), 2, 2, &chunk.Request{Op: chunk.OpFence}); r.Status != chunk.Fenced {
		t.Errorf("the other volume lost its fence: %v", r.Status)
	}
	if n := len(list(t, s, vol(6), 3, 2)); n != 1 {
		t.Errorf("the other volume has %d blocks", n)
	}
}

// TestFencesAndResidenciesSurviveARestart: also when the power goes right after the answer.
func TestFencesAndResidenciesSurviveARestart(t *testing.T) {
	dev := blockdev.NewMem(blockdev.MemOptions{Size: 16 << 20, VolatileCache: true})
	names := pagestore.FormatOptions{ClusterID: [16]byte{4}, DeviceUUID: [16]byte{1}}
	if err := pagestore.Format(t.Context(), dev, names); err != nil {
		t.Fatal(err)
	}
	attach := func() (*chunkd.Server, *pagestore.Store) {
		store, err := pagestore.Open(t.Context(), dev, pagestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := chunkd.New()
		s.Attach(chunkdtest.Device, store)
		return s, store
	}
	s, before := attach()
	defer before.Close()
	do(s, vol(5), 3, 1, writeOf(1, cluster.MakeSeq(3, 1)))
	do(s, vol(5), 7, 4, &chunk.Request{Op: chunk.OpBegin})
	dev = dev.CrashClone(1)
	s, store := attach()
	defer store.Close()
	if r := do(s, vol(5), 6, 4, &chunk.Request{Op: chunk.OpStable}); r.Status != chunk.Fenced || r.Known != 7 {
		t.Errorf("an older owner: %v, known %d", r.Status, r.Known)
	}
	if r := do(s, vol(5), 7, 1, &chunk.Request{Op: chunk.OpStable}); r.Status != chunk.NotMine {
		t.Errorf("the old residency: %v", r.Status)
	}
	if n := len(list(t, s, vol(5), 7, 4)); n != 0 {
		t.Errorf("%d blocks under the new residency", n)
	}
}
