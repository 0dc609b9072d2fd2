package pagestore

import (
	"errors"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/scrub"
)

// verifyAll goes through a store once.
func verifyAll(t *testing.T, s *Store) (total scrub.Found, steps int) {
	t.Helper()
	v := s.NewVerifier()
	for after := (scrub.Position{}); ; steps++ {
		got, err := v.Next(after)
		must(t, err)
		if got.End {
			return total, steps
		}
		total.Bytes, total.Bad, total.New = total.Bytes+got.Bytes, total.Bad+got.Bad, total.New+got.New
		after = got.At
	}
}

func listBad(s *Store, v cluster.VolumeKey, piece int) (out []pagemap.Cursor) {
	buf := make([]pagemap.Entry, piece)
	var after pagemap.Cursor
	for more := true; more; {
		var n int
		n, more = s.ListBad(v, after, buf)
		for _, e := range buf[:n] {
			out = append(out, e.Cursor)
		}
		if n > 0 {
			after = buf[n-1].Cursor
		}
	}
	return out
}

// TestVerifyReadsEveryVersion: the newest and what it hides, pinned or unstable, of every volume and column,
// each once; tombstones have nothing to read.
func TestVerifyReadsEveryVersion(t *testing.T) {
	dev := formatted(t, 8000, 0)
	s := open(t, dev)
	want, n := uint64(0), uint64(0)
	for _, v := range []uint32{1, 2, 9} {
		for page := range uint64(3) {
			for layer := range uint16(4) {
				n++
				must(t, write(s, ext(v, page, layer*5, 40-9*layer), seq(1, n), n))
				want += uint64(40 - 9*layer)
			}
		}
	}
	n++
	must(t, do(s, &Write{Extent: ext(1, 0, 3, 2), W: seq(1, n), Tombstone: true}))
	if got, _ := verifyAll(t, s); got != (scrub.Found{Bytes: want * BlockSize}) {
		t.Fatalf("read %+v, want %d blocks", got, want)
	}
	closeAndCheck(t, s)
}

// TestVerifyGoesThroughLongChains in bounded steps.
func TestVerifyGoesThroughLongChains(t *testing.T) {
	dev := formatted(t, 8000, 0)
	s := open(t, dev)
	for n := range uint64(900) {
		must(t, write(s, ext(1, 7, uint16(n%3), 1), seq(1, n+1), n))
	}
	got, steps := verifyAll(t, s)
	if got.Bytes != 900*BlockSize || steps < 2 {
		t.Fatalf("%d blocks in %d steps, want 900 in a few", got.Bytes/BlockSize, steps)
	}
	closeAndCheck(t, s)
}

// TestVerifyFindsRotBehindNewerVersions, and what is bad is listed until it is written again.
func TestVerifyFindsRotBehindNewerVersions(t *testing.T) {
	dev := formatted(t, 2000, 0)
	s := open(t, dev)
	for n := range uint64(3) {
		must(t, write(s, ext(4, 0, 0, 8), seq(1, n+1), n))
	}
	must(t, write(s, ext(5, 1, 0, 8), seq(1, 9), 9))
	dev.Corrupt(located(t, s, ext(4, 0, 2, 1), seq(1, 1))+99, 1)
	dev.Corrupt(located(t, s, ext(4, 0, 2, 1), seq(1, 3))+99, 1)
	dev.Inject(blockdev.Fault{Kind: blockdev.ReadError, Off: located(t, s, ext(5, 1, 7, 1), seq(1, 9)),
		Len: BlockSize})
	if got, _ := verifyAll(t, s); got.New != 3 || got.Bad != 3 || got.Bytes != 32*BlockSize {
		t.Fatalf("first pass %+v", got)
	}
	if got, _ := verifyAll(t, s); got.New != 0 || got.Bad != 3 {
		t.Fatalf("second pass %+v", got)
	}
	if got := s.BadVolumes(); !slices.Equal(got, []cluster.VolumeKey{vol(4), vol(5)}) {
		t.Fatalf("volumes with bad versions %v", got)
	}
	want := []pagemap.Cursor{{Block: 2, W: seq(1, 3)}, {Block: 2, W: seq(1, 1)}}
	for _, piece := range []int{1, 2, 5} {
		if got := listBad(s, vol(4), piece); !slices.Equal(got, want) {
			t.Fatalf("listed %v, want %v", got, want)
		}
	}
	dev.Heal()
	must(t, write(s, ext(4, 0, 0, 8), seq(1, 3), 2))
	if got := listBad(s, vol(4), 5); !slices.Equal(got, want[1:]) {
		t.Fatalf("after the repair of the newest %v", got)
	}
	must(t, write(s, ext(4, 0, 0, 8), seq(1, 1), 0))
	must(t, wait(func(done func(error)) { s.DropVolume(vol(5), done) }))
	if got := s.BadVolumes(); len(got) != 0 {
		t.Fatalf("nothing is bad any more, but %v", got)
	}
	if got, _ := verifyAll(t, s); got != (scrub.Found{Bytes: 24 * BlockSize}) {
		t.Fatalf("third pass %+v", got)
	}
	closeAndCheck(t, s)
}

// TestARecoveredMapTellsWhatIsBad: what a checkpoint calls bad is listed without being read.
func TestARecoveredMapTellsWhatIsBad(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(3, 0, 0, 4), seq(1, 1), 1))
	dev.Corrupt(located(t, s, ext(3, 0, 1, 1), seq(1, 1)), 1)
	verifyAll(t, s)
	clear(s.mu.bad)
	s.mu.bad.find(s.mu.m)
	if got := listBad(s, vol(3), 1); !slices.Equal(got, []pagemap.Cursor{{Block: 1, W: seq(1, 1)}}) {
		t.Fatalf("listed %v", got)
	}
	closeAndCheck(t, s)
}

// TestVerifyEndsWithTheStore: a pass under way hears of it.
func TestVerifyEndsWithTheStore(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(3, 0, 0, 4), seq(1, 1), 1))
	v := s.NewVerifier()
	closeAndCheck(t, s)
	if _, err := v.Next(scrub.Position{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}
