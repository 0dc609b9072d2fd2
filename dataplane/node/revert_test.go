package node

import (
	"bytes"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ask changes the state of a snapshot.
func (w *world) ask(id cluster.UUID, state cluster.SnapshotState) {
	w.ctl.change(func(s *cluster.State) {
		x := *s.Snapshots[id]
		x.State, x.Revision = state, s.Revision
		s.Snapshots[id] = &x
	})
}

// revert asks for a revert of a volume and waits for it.
func (w *world) revert(to cluster.UUID) {
	w.t.Helper()
	w.ask(to, cluster.SnapshotReverting)
	w.until("the volume is reverted", func() bool {
		return w.ctl.Newest().Snapshots[to].State == cluster.SnapshotAvailable
	})
}

// TestARevertBringsTheDataBack: hosts read what was, partial writes build on it, and all of that is so under
// the next owner and after a restart of all nodes.
func TestARevertBringsTheDataBack(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, cfg := w.create(8 << 20)
	v := open(t, cfg)
	want, later := make([]byte, 1<<20), make([]byte, 2<<20)
	fill(want, 1, 1)
	fill(later, 1, 2)
	write := func(data []byte, at int64) {
		t.Helper()
		if err := v.Write(t.Context(), data, at); err != nil {
			t.Fatal(err)
		}
	}
	look := func(when string) {
		t.Helper()
		got := make([]byte, len(later)) // behind the snapshot's data are zeros again
		if err := v.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got[:len(want)], want) ||
			!bytes.Equal(got[len(want):], make([]byte, len(later)-len(want))) {
			t.Fatalf("%s the volume is not what it was: %v", when, err)
		}
	}
	write(want, 0)
	snap := w.snapshot(vol, 1)
	write(later, 0)
	w.revert(snap.UUID)
	look("reverted")
	write(later[:512], 4096+512) // a part of a block
	copy(want[4096+512:], later[:512])
	look("with a part of a block written since")

	w.stop(w.owner(vol).Gateway)
	look("under the next owner")
	for n := range w.running {
		w.stop(n)
	}
	w.startAll(3)
	look("after a restart of all nodes")

	write(later, 0)
	w.revert(snap.UUID) // again, to the snapshot without that part
	fill(want, 1, 1)
	look("reverted again")
}
