package gateway

import (
	"encoding/binary"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

func snapID(n byte) cluster.UUID { return cluster.UUID{0xaa, n} }

// ask changes the record of a snapshot as the control plane does, and lets the gateways hear of it.
func (w *world) ask(n byte, state cluster.SnapshotState) {
	w.mu.Lock()
	x, ok := w.snaps[snapID(n)]
	if !ok {
		x.Snapshot = cluster.Snapshot{UUID: snapID(n), Name: "s", Volume: cluster.UUID{7}, Key: key(),
			Size: 1 << 20}
	}
	x.State = state
	x.Revision = max(x.Revision, w.record.Revision+9) + 1 // one of its own; the owner record keeps its
	w.snaps[snapID(n)] = x
	w.mu.Unlock()
	w.watch()
}

// snap is a snapshot's record; its state is empty when there is none.
func (w *world) snap(n byte) cluster.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.snaps[snapID(n)].Snapshot
}

func (w *world) untilSnap(n byte, state cluster.SnapshotState) {
	w.t.Helper()
	w.until("snapshot "+string(state), func() bool { return w.snap(n).State == state })
}

// take takes a snapshot and waits for it.
func (w *world) take(n byte) {
	w.t.Helper()
	w.ask(n, cluster.SnapshotCreating)
	w.untilSnap(n, cluster.SnapshotAvailable)
}

// on hands a command on the first block to a snapshot, as a gateway shows it.
func (w *world) on(n cluster.NodeID, snap byte, opcode uint8) *command {
	w.t.Helper()
	rec := w.snap(snap)
	ns, ok := w.gateway(n).Snapshot(&rec)
	if !ok {
		w.t.Fatalf("snapshot %d is not shown", snap)
	}
	c := &command{done: make(chan struct{}), data: make([]byte, cluster.BlockSize)}
	var cmd nvme.Command
	cmd.SetOpcode(opcode)
	cmd.SetNSID(1)
	cmd.SetNLB(cluster.BlockSize / cluster.LBASize)
	ns.Submit(nvmet.NewRequest(cmd, c.data, func(_ *nvmet.Request, st nvme.Status, _, _ uint32) {
		c.status = st
		close(c.done)
	}))
	return c
}

func (w *world) shows(n cluster.NodeID, snap byte, want uint64) {
	w.t.Helper()
	c := w.on(n, snap, nvme.OpRead)
	w.must(c, nvme.Success)
	if got := binary.LittleEndian.Uint64(c.data); got != want {
		w.t.Fatalf("snapshot %d shows %d, want %d", snap, got, want)
	}
}

// TestASnapshotShowsWhatWas while hosts go on, under the next owner too, until it is deleted.
func TestASnapshotShowsWhatWas(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.write(1, 20)
		w.take(2)
		w.write(1, 30)
		w.shows(1, 1, 10)
		w.shows(1, 2, 20)
		w.read(1, 30)
		w.must(w.on(1, 1, nvme.OpWrite), nvme.NamespaceWriteProtected.NoRetry())
		w.start(2)
		w.stop(1)
		w.until("serving", func() bool { return w.serving(2) })
		w.write(2, 40)
		w.shows(2, 1, 10)
		w.shows(2, 2, 20)
		w.ask(1, cluster.SnapshotDeleting)
		w.untilSnap(1, "")
		w.shows(2, 2, 20)
		if v := w.owner().View; len(v.Pins) != 1 || v.Pins[0] != w.snap(2).Pin {
			t.Errorf("the view list is %+v", v)
		}
	})
}

// TestASnapshotIsFinishedByTheNextOwner: whatever was left undone when the owner died.
func TestASnapshotIsFinishedByTheNextOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask(1, cluster.SnapshotCreating) // before anybody has owned the volume
		w.start(1)
		w.untilSnap(1, cluster.SnapshotAvailable)
		w.write(1, 10)
		w.set(true, 1, 0) // the owner reaches etcd no more
		w.ask(2, cluster.SnapshotCreating)
		w.ask(1, cluster.SnapshotDeleting)
		w.write(1, 20)
		w.start(2)
		w.kill(1)
		w.untilSnap(2, cluster.SnapshotAvailable)
		w.untilSnap(1, "")
		w.write(2, 30)
		w.shows(2, 2, 20)
	})
}

// TestALostAnswerTakesOneSnapshot: the change was made, but the owner did not hear of it.
func TestALostAnswerTakesOneSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.mu.Lock()
		w.lost = true
		w.mu.Unlock()
		w.take(1)
		w.write(1, 20)
		pass(2 * tickEvery)
		w.take(2)
		w.write(1, 30)
		w.shows(1, 1, 10)
		w.shows(1, 2, 20)
		if v := w.owner().View; v.Version != 2 || len(v.Pins) != 2 {
			t.Errorf("the view list is %+v", v)
		}
		if !w.serving(1) {
			t.Error("the owner gave up")
		}
	})
}

// TestASnapshotThatIsNotWantedAnyMore leaves no pin behind: neither one that was recorded, nor one that was
// taken.
func TestASnapshotThatIsNotWantedAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.change(func(*cluster.Owner) {}) // so that the first attempt finds another revision
		w.ask(1, cluster.SnapshotCreating)
		w.ask(1, cluster.SnapshotDeleting)
		w.untilSnap(1, "")
		if v := w.owner().View; len(v.Pins) != 0 {
			t.Errorf("the view list is %+v", v)
		}
		w.take(2)
		w.write(1, 20)
		w.shows(1, 2, 0)
	})
}
