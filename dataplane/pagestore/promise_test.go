package pagestore

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestPromises: what a volume can spare is what is free, less what others were promised and do not have, and
// some more if it has no promise itself.
func TestPromises(t *testing.T) {
	s := open(t, formatted(t, 2000, 0))
	const first, second, extra = 640, 128, (640 + 128) / overwriteShare
	s.Promise(map[cluster.VolumeKey]uint64{vol(1): first, vol(2): second})
	fill := func(v uint32, from, to uint64) {
		for w := from; w < to; w++ {
			must(t, write(s, ext(v, w, 0, 1), seq(1, w+1), w))
		}
		for range countEvery { // what is counted now and then is counted now
			must(t, setStable(s, vol(v), stable(seq(1, to))))
			to++
		}
	}
	spare := func(when string, promised1, promised2 uint64) {
		t.Helper()
		free := s.Free()
		for v, want := range map[uint32]uint64{1: free - promised2, 2: free - promised1,
			3: free - promised1 - promised2 - extra} {
			if got := s.Spare(vol(v)); got != want {
				t.Errorf("%s: volume %d can spare %d blocks of %d, want %d", when, v, got, free, want)
			}
		}
	}
	spare("nothing is written", first, second)
	fill(3, 0, 100)
	spare("another one was written", first, second)
	fill(1, 0, 100)
	fill(2, 0, second+50)
	spare("some was written, and more than was promised", first-100, 0)
	must(t, wait(func(done func(error)) { s.DropVolume(vol(1), done) }))
	fill(3, 200, 201)
	spare("one was dropped", first, 0)
	s.Promise(map[cluster.VolumeKey]uint64{vol(1): 1 << 40})
	if got := s.Spare(vol(3)); got != 0 {
		t.Errorf("%d blocks to spare when more is promised than there is", got)
	}
	s.Promise(nil)
	if got := s.Spare(vol(3)); got != s.Free() {
		t.Errorf("%d blocks to spare, %d are free, nothing is promised", got, s.Free())
	}
	closeAndCheck(t, s)
}
