package pagestore

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// TestManyGoroutines writes and reads the same blocks from several goroutines, on a nearly full device, so
// that blocks are freed and used again while they are being read. A read sees a version that was the newest
// at some time during it.
func TestManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	file, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: 400 * BlockSize})
	must(t, err)
	defer file.Close()
	for name, dev := range map[string]blockdev.Device{"mem": newMem(t, 400, true), "file": file} {
		t.Run(name, func(t *testing.T) {
			o := formatOptions()
			o.LogBlocks = 32
			must(t, Format(t.Context(), dev, o))
			s := open(t, dev)
			manyGoroutines(t, s)
			closeAndCheck(t, s)
		})
	}
}

func manyGoroutines(t *testing.T, s *Store) {
	const writers, pages, rounds = 4, 8, 300
	var counter, stop atomic.Uint64
	var acked [writers * pages]atomic.Uint64
	var wg, readers sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			data, crc := make([]byte, 4*BlockSize), make([]uint32, 4)
			for range rounds {
				page := w*pages + rand.Uint64N(pages) // each page has one writer, as a row has one owner
				n := counter.Add(1)
				for i := range crc {
					binary.LittleEndian.PutUint64(data[i*BlockSize:], n)
					crc[i] = checksum(data[i*BlockSize:][:BlockSize])
				}
				req := &Write{Extent: ext(uint32(w)+1, page, 0, 4), W: seq(1, n), Data: data, CRC: crc,
					Columns: columnsOf(1, 4),
					Stable:  seq(1, n-1)}
				if err := do(s, req); err != nil {
					t.Errorf("write %d: %v", n, err)
					return
				}
				acked[page].Store(n)
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for stop.Load() == 0 && !t.Failed() {
				page := rand.Uint64N(writers * pages)
				before := acked[page].Load()
				data, info := read(t, s, ext(uint32(page/pages)+1, page, 0, 4), 0)
				for i := range info {
					got := info[i].W.Counter()
					if info[i].State.Spoiled() || got < before ||
						got > 0 && binary.LittleEndian.Uint64(data[i*BlockSize:]) != got {
						t.Errorf("page %d block %d: %+v after %d was acknowledged", page, i, info[i], before)
					}
				}
			}
		})
	}
	wg.Wait()
	stop.Store(1)
	readers.Wait()
}

// TestLargeVolumeIsPurgedInPieces while others go on; what is left at Close is free after the next Open.
func TestLargeVolumeIsPurgedInPieces(t *testing.T) {
	dev := newMem(t, 40_000, false)
	must(t, Format(t.Context(), dev, formatOptions()))
	s := open(t, dev)
	total := s.Stats().TotalBlocks
	for round := range uint64(2) {
		for p := range uint64(100) {
			must(t, write(s, ext(1, p, 0, 128), seq(1, round*1000+p+1), p))
		}
		must(t, wait(func(done func(error)) { s.DropVolume(vol(1), done) }))
		expectState(t, s, ext(1, 3, 0, 1), 0, pagemap.Absent)
		if round == 0 {
			eventually(t, "all space is back", func() bool { return s.Stats().FreeBlocks == total })
		}
	}
	must(t, write(s, ext(1, 3, 0, 1), seq(2, 1), 9)) // the same key begins anew
	if rep := closeAndCheck(t, s); rep.Usage.Live != 1 {
		t.Fatalf("after Close %+v", rep.Usage)
	}
	s = open(t, dev)
	expect(t, s, ext(1, 3, 0, 1), seq(2, 1), 9)
	closeAndCheck(t, s)
}

// TestRequestsBeyondTheLog keeps more requests waiting than the log has room for, for several laps of it: all
// of them end.
func TestRequestsBeyondTheLog(t *testing.T) {
	s := open(t, formatted(t, 2000, 16))
	const n = 900 // writes at a time, each with 10 undos, which need a record only
	done := make(chan error, 11*n)
	for w := uint64(0); s.Stats().Traffic.LogBytes < 3*s.Stats().Log.Bytes; {
		for range n {
			w++
			data, crc := fill(3, w)
			s.Write(&Write{Extent: ext(1, w%10, 0, 3), W: seq(1, w), Stable: seq(1, w-1), Data: data, CRC: crc,
				Columns: columnsOf(1, 3), Done: func(_ *Write, err error) { done <- err }})
			for range 10 {
				s.Undo(ext(1, 99, 0, 1), seq(1, w), func(err error) { done <- err })
			}
		}
		for range 11 * n {
			if err := <-done; err != nil && !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
		}
	}
	if st := s.Stats(); st.Log.Used > st.Log.Bytes || st.Traffic.Checkpoints == 0 {
		t.Fatalf("%+v", st)
	}
	closeAndCheck(t, s)
}
