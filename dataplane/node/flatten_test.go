package node

import (
	"bytes"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
)

// reparent changes the link of a clone to its parent.
func (w *world) reparent(clone cluster.VolumeKey, p *cluster.Parent) {
	w.ctl.change(func(s *cluster.State) {
		rec := *s.Volumes[clone]
		rec.Parent = p
		s.Volumes[clone] = &rec
	})
}

// shows reads a volume as a host.
func (w *world) shows(host *initiator.Volume, want []byte, when string) {
	w.t.Helper()
	got := make([]byte, len(want))
	if w.must(host.Read(w.t.Context(), got, 0)); !bytes.Equal(got, want) {
		w.t.Fatalf("%s the clone is not what it should be", when)
	}
}

// TestAFlattenedCloneStandsAlone: by an owner and the next one, while a host writes; a revert begins it anew;
// then the parent may go.
func TestAFlattenedCloneStandsAlone(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	const size = 4 << 20
	vol, cfg := w.create(size)
	want := make([]byte, size)
	fill(want[:size/2], 1, 1)
	v := open(t, cfg)
	w.must(v.Write(t.Context(), want[:size/2], 0))
	rec := w.snapshot(vol, 1)
	w.must(v.Write(t.Context(), make([]byte, size), 0))

	c, ccfg := w.clone(rec, size, 2)
	host := open(t, ccfg)
	write := func(off, n, seed int) {
		t.Helper()
		fill(want[off:off+n], off, uint64(seed))
		w.must(host.Write(t.Context(), want[off:off+n], int64(off)))
	}
	look := func(when string) {
		t.Helper()
		w.shows(host, want, when)
	}
	write(1<<20-512, 1024, 3)
	asked := *c.Parent
	asked.Flatten = true
	w.reparent(c.Key, &asked)
	w.stop(w.owner(c).Gateway)
	write(64<<10, 8<<10, 4)
	flat := func() bool { o := w.owner(c); return o.Independent() }
	w.until("the clone is flat", flat)
	look("flat")

	own := w.snapshot(c, 2)
	write(0, 4096, 5)
	w.revert(own.UUID)
	if flat() {
		t.Fatal("what was copied after the snapshot counts, and is hidden")
	}
	fill(want[:4096], 1, 1)
	w.until("the clone is flat again", func() bool { o := w.owner(c); return o.Flattened.At > own.Pin })
	if flat() {
		t.Error("its snapshot is older, and it does not need its parent")
	}
	w.ask(own.UUID, cluster.SnapshotDeleting)
	w.until("the clone needs no parent", flat)
	look("reverted")

	w.reparent(c.Key, nil)
	w.ctl.change(func(s *cluster.State) {
		delete(s.Volumes, vol.Key)
		delete(s.Owners, vol.Key)
		delete(s.Snapshots, rec.UUID)
	})
	look("without its parent")
	for n := range w.running {
		w.stop(n)
	}
	w.startAll(3)
	look("after a restart of all nodes")
}
