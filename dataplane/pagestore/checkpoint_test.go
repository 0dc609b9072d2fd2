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

// TestADenseLogIsBounded: a log that is far from full is not to be longer in records than recovery may take.
func TestADenseLogIsBounded(t *testing.T) {
	const writes = 5 * minReplay
	dev := blockdev.NewMem(blockdev.MemOptions{Size: 8192 * BlockSize, LogicalBlock: BlockSize})
	o := formatOptions()
	o.LogBlocks = 2048 // of 4 KiB: they hold some 200,000 records
	must(t, Format(t.Context(), dev, o))
	s := open(t, dev)
	newWriter(s, 1, 64, false).run(writes, false)
	if n := s.Stats().Traffic.Checkpoints; n < writes/minReplay {
		t.Errorf("%d checkpoints of %d writes", n, writes)
	}
	clone := dev.CrashClone(1)
	defer clone.Close()
	rep, err := Check(t.Context(), clone, CheckOptions{Data: true})
	must(t, err)
	if rep.LogRecords == 0 || rep.LogRecords > 3*minReplay/2 {
		t.Errorf("%d records are to be replayed", rep.LogRecords)
	}
	must(t, s.Close())
}
