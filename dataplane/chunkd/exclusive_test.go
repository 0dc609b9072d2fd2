package chunkd_test

import (
	"fmt"
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
func do(s *chunkd.Server, v cluster.VolumeKey, epoch uint32, r *chunk.Request) *chunk.Request {
	done := make(answered, 1)
	r.Device, r.Vol, r.Epoch, r.Completer = chunkdtest.Device, v, epoch, done
	s.Submit(r)
	return <-done
}

func writeOf(page uint64, w cluster.Seq) *chunk.Request {
	data := make([]byte, cluster.BlockSize)
	data[0] = byte(w)
	return &chunk.Request{Op: chunk.OpWrite, Page: page, Count: 1, W: w, Data: data, Residency: chunk.Home(0),
		Blocks: []chunk.BlockInfo{{CRC: crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))}}}
}

func list(t *testing.T, s *chunkd.Server, v cluster.VolumeKey, epoch uint32) []chunk.Entry {
	t.Helper()
	r := do(s, v, epoch, &chunk.Request{Op: chunk.OpList, Count: chunk.MaxEntries})
	if r.Status != chunk.OK || r.More {
		t.Fatalf("list: %v, more %v", r.Status, r.More)
	}
	return r.Entries
}

// crowd lets writers go on under an epoch, each with several writes under way, until they are refused. wait
// returns when the last one has its answers.
func crowd(s *chunkd.Server, v cluster.VolumeKey, epoch uint32, pages int64) (
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
						r := do(s, v, epoch, writeOf(uint64(n%pages), cluster.MakeSeq(epoch, uint64(n))))
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
		begun, wait := crowd(s, vol(5), 1, 512)
		for begun.Load() < int64(10+round) {
			do(s, vol(6), 1, &chunk.Request{Op: chunk.OpSettle})
		}
		fence := &chunk.Request{Op: chunk.OpFence}
		if round%2 == 1 { // any request with a higher epoch stores the fence first
			fence = &chunk.Request{Op: chunk.OpList, Count: 1}
		}
		if r := do(s, vol(5), 2, fence); r.Status != chunk.OK {
			t.Fatal(r.Status)
		}
		there := list(t, s, vol(5), 2)
		wait()
		if now := list(t, s, vol(5), 2); !slices.Equal(there, now) {
			t.Fatalf("round %d: %d versions when the fence was answered, %d in the end", round, len(there), len(now))
		}
	}
}

// TestAResidencyBeginsAndStaysEmpty: nothing that was under way under the old number shows up under the new
// one, and who was overtaken is told.
func TestAResidencyBeginsAndStaysEmpty(t *testing.T) {
	for round := range 20 {
		s := newServer(t)
		begun, wait := crowd(s, vol(5), 1, 1)
		for begun.Load() < int64(10+round) {
			do(s, vol(6), 1, &chunk.Request{Op: chunk.OpSettle})
		}
		next := writeOf(0, cluster.MakeSeq(1, 1))
		next.Block, next.Residency = 7, chunk.Home(1)
		if r := do(s, vol(5), 1, next); r.Status != chunk.OK {
			t.Fatal(r.Status)
		}
		wait()
		now := list(t, s, vol(5), 1)
		if len(now) != 1 || now[0].Block != 7 || now[0].Residency != chunk.Home(1) {
			t.Fatalf("round %d: under the new number there are %+v", round, now)
		}
	}
}

// TestAWipeIsAlone: no entry that was put before it is answered shows up after it.
func TestAWipeIsAlone(t *testing.T) {
	s := newServer(t)
	var puts sync.WaitGroup
	for i := range uint64(100) {
		puts.Add(1)
		go func() {
			defer puts.Done()
			do(s, vol(5), 1, &chunk.Request{Op: chunk.OpJournalPut, Control: chunk.Control{
				Journal: []chunk.JournalEntry{{Page: i, Seq: cluster.MakeSeq(1, i+1)}}}})
		}()
	}
	do(s, vol(5), 2, &chunk.Request{Op: chunk.OpJournalWipe})
	for range 2 {
		r := do(s, vol(5), 2, &chunk.Request{Op: chunk.OpJournalList, Count: 200})
		if r.Status != chunk.OK || len(r.Journal) != 0 {
			t.Fatalf("%v, %d entries after the wipe", r.Status, len(r.Journal))
		}
		puts.Wait()
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
			r := do(s, vol(5), epoch, &chunk.Request{Op: chunk.OpFence})
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
	if r := do(s, vol(5), 1, &chunk.Request{Op: chunk.OpFence}); r.Status != chunk.Fenced || r.Known != 62 {
		t.Fatalf("%v, known %d", r.Status, r.Known)
	}
}

// TestPurgeTakesOnlyDeletedVolumes: everything of a deleted volume goes, whatever its owner, who has not
// heard of it yet, does meanwhile; what belongs to others stays.
func TestPurgeTakesOnlyDeletedVolumes(t *testing.T) {
	s := newServer(t)
	gone := func(v cluster.VolumeKey) bool { return v == vol(5) }
	for _, v := range []cluster.VolumeKey{vol(5), vol(6)} {
		for _, r := range everything() {
			if do(s, v, 3, r); r.Status != chunk.OK {
				t.Fatalf("%#x: %v", r.Op, r.Status)
			}
		}
	}
	begun, wait := crowd(s, vol(5), 3, 512)
	for begun.Load() < 20 {
		do(s, vol(6), 3, &chunk.Request{Op: chunk.OpList, Count: 1})
	}
	for range 3 {
		if _, err := s.Purge(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	do(s, vol(5), 4, &chunk.Request{Op: chunk.OpFence}) // the old owner stops at last
	wait()
	if _, err := s.Purge(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Purge(t.Context(), gone); n != 0 || err != nil {
		t.Fatalf("after the last purge there was something left of %d volumes, %v", n, err)
	}
	if left := held(t, s, vol(5), 1); left != "known 1 settled 0 view 0 blocks 0 journal 0" {
		t.Errorf("of the deleted volume there is: %s", left)
	}
	if left := held(t, s, vol(6), 3); left != "known 3 settled 3 view 4 blocks 1 journal 1" {
		t.Errorf("of the other volume there is: %s", left)
	}
}

// everything is one request of each kind that leaves something on a device.
func everything() []*chunk.Request {
	return []*chunk.Request{writeOf(1, cluster.MakeSeq(3, 1)), {Op: chunk.OpSettle},
		{Op: chunk.OpView, Control: chunk.Control{View: chunk.View{Version: 4}}},
		{Op: chunk.OpJournalPut, Control: chunk.Control{Journal: []chunk.JournalEntry{{Page: 1,
			Seq: cluster.MakeSeq(3, 1)}}}}}
}

// held tells what there is of a volume.
func held(t *testing.T, s *chunkd.Server, v cluster.VolumeKey, epoch uint32) string {
	t.Helper()
	f := do(s, v, epoch, &chunk.Request{Op: chunk.OpFence})
	j := do(s, v, epoch, &chunk.Request{Op: chunk.OpJournalList, Count: 100})
	return fmt.Sprintf("known %d settled %d view %d blocks %d journal %d", f.Known, f.Settled, f.Viewed,
		len(list(t, s, v, epoch)), len(j.Journal))
}

// TestWhatWasAnsweredSurvivesARestart: also when the power goes right after the answer.
func TestWhatWasAnsweredSurvivesARestart(t *testing.T) {
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
	for _, r := range everything() {
		do(s, vol(5), 3, r)
	}
	for _, n := range []uint64{5, 4} {
		do(s, vol(5), 3, &chunk.Request{Op: chunk.OpJournalPut, Control: chunk.Control{
			Journal: []chunk.JournalEntry{{Page: 1, Seq: cluster.MakeSeq(3, n)}}}})
	}
	do(s, vol(5), 7, &chunk.Request{Op: chunk.OpFence})
	dev = dev.CrashClone(1)
	s, store := attach()
	defer store.Close()
	if r := do(s, vol(5), 6, &chunk.Request{Op: chunk.OpSettle}); r.Status != chunk.Fenced || r.Known != 7 {
		t.Errorf("an older owner: %v, known %d", r.Status, r.Known)
	}
	if r := do(s, vol(5), 7, writeOf(1, cluster.MakeSeq(7, 1))); r.Status != chunk.NotMine {
		t.Errorf("the owner before its fence: %v", r.Status)
	}
	if got := held(t, s, vol(5), 7); got != "known 7 settled 3 view 4 blocks 1 journal 1" {
		t.Error(got)
	}
	r := do(s, vol(5), 7, &chunk.Request{Op: chunk.OpJournalList, Count: 9})
	if len(r.Journal) != 1 || r.Journal[0].Seq != cluster.MakeSeq(3, 5) {
		t.Errorf("journal %+v", r.Journal)
	}
}

// BenchmarkHead is the path of a request without a device: what a server adds.
func BenchmarkHead(b *testing.B) {
	s, done := newServer(b), make(answered, 1)
	r := &chunk.Request{Op: chunk.OpHead, Device: chunkdtest.Device, Vol: vol(5), Epoch: 1, Count: 1,
		Residency: chunk.Home(0), Blocks: make([]chunk.BlockInfo, 1), Completer: done}
	b.ReportAllocs()
	for b.Loop() {
		s.Submit(r)
		<-done
	}
}

// BenchmarkWrite overwrites a block of a device in memory.
func BenchmarkWrite(b *testing.B) {
	s, done := newServer(b), make(answered, 1)
	r := writeOf(1, 0)
	r.Device, r.Vol, r.Epoch, r.Completer = chunkdtest.Device, vol(5), 1, done
	b.ReportAllocs()
	for i := uint64(1); b.Loop(); i++ {
		r.Stable, r.W = cluster.MakeSeq(1, i-1), cluster.MakeSeq(1, i)
		s.Submit(r)
		<-done
	}
}

// TestAClosedStoreSaysNothing: a request that meets the end of its device's service is refused. What a closed
// store knows is nothing, and nothing would be a fact.
func TestAClosedStoreSaysNothing(t *testing.T) {
	dev := blockdev.NewMem(blockdev.MemOptions{Size: 16 << 20})
	names := pagestore.FormatOptions{ClusterID: [16]byte{4}, DeviceUUID: [16]byte{1}}
	if err := pagestore.Format(t.Context(), dev, names); err != nil {
		t.Fatal(err)
	}
	store, err := pagestore.Open(t.Context(), dev, pagestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := chunkd.New()
	s.Attach(chunkdtest.Device, store)
	if r := do(s, vol(5), 1, writeOf(0, cluster.MakeSeq(1, 1))); r.Status != chunk.OK {
		t.Fatal(r.Status)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*chunk.Request{{Op: chunk.OpList, Count: 8}, {Op: chunk.OpList, Mode: chunk.ListUnstable,
		Count: 8}, {Op: chunk.OpFence}} {
		if r := do(s, vol(5), 1, r); r.Status == chunk.OK {
			t.Errorf("%v: answered with %d versions, settled %d", r.Op, len(r.Entries), r.Settled)
		}
	}
}
