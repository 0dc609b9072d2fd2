package pagestore

import (
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
)

// TestCheckpointLeavesNothingToReplay, whenever the power fails behind it.
func TestCheckpointLeavesNothingToReplay(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	replayed := func() (records, number uint64) {
		clone := dev.CrashClone(1)
		defer clone.Close()
		rep, err := Check(t.Context(), clone, CheckOptions{Data: true})
		must(t, err)
		return rep.LogRecords, rep.Checkpoint
	}
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 1), 1))
	if n, _ := replayed(); n == 0 {
		t.Fatal("nothing was to be replayed")
	}
	must(t, s.Checkpoint())
	n, number := replayed()
	if n != 0 {
		t.Errorf("%d records are to be replayed", n)
	}
	must(t, s.Checkpoint()) // nothing has changed
	if _, again := replayed(); again != number {
		t.Errorf("checkpoint %d says what %d said", again, number)
	}
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 2), 2))
	must(t, s.Checkpoint())
	dev.Crash(1)
	s = open(t, dev)
	expect(t, s, ext(1, 0, 0, 4), seq(1, 2), 2)
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 3), 3))
	dev.Inject(blockdev.Fault{Kind: blockdev.FlushError})
	if err := s.Checkpoint(); !errors.Is(err, ErrIO) {
		t.Errorf("a device that fails: %v", err)
	}
	must(t, s.Close())
	if err := s.Checkpoint(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
