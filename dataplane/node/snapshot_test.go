package node

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// snapshot asks for a snapshot that hosts may read, and waits for it.
func (w *world) snapshot(vol *cluster.Volume, n byte, hosts ...string) cluster.Snapshot {
	w.t.Helper()
	rec := cluster.Snapshot{UUID: cluster.UUID{5, n}, Name: string('a' + rune(n)), Volume: vol.UUID,
		Key: vol.Key, State: cluster.SnapshotCreating, Size: vol.Size, Hosts: hosts}
	w.ctl.change(func(s *cluster.State) {
		s.Snapshots[rec.UUID] = &cluster.SnapshotAt{Snapshot: rec, Revision: s.Revision}
	})
	w.until("the snapshot is taken", func() bool {
		rec = w.ctl.Newest().Snapshots[rec.UUID].Snapshot
		return rec.State == cluster.SnapshotAvailable
	})
	return rec
}

// TestHostsReadASnapshot, whose namespace says that it is write protected and is, on every owner's node.
func TestHostsReadASnapshot(t *testing.T) {
	w := newWorld(t, 3, 2)
	for n := cluster.NodeID(1); n <= 3; n++ {
		w.start(n)
	}
	vol, cfg := w.create(8 << 20)
	v := open(t, cfg)
	old, young := make([]byte, 1<<20), make([]byte, 1<<20)
	fill(old, 1, 1)
	fill(young, 1, 2)
	if err := v.Write(t.Context(), old, 0); err != nil {
		t.Fatal(err)
	}
	rec := w.snapshot(vol, 1, cfg.HostNQN)
	if err := v.Write(t.Context(), young, 0); err != nil {
		t.Fatal(err)
	}
	of := cfg
	of.SubNQN = cluster.SnapshotNQN(rec.UUID)
	s := open(t, of)
	look := func(when string) {
		t.Helper()
		got := make([]byte, len(old))
		if err := s.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got, old) {
			t.Fatalf("%s the snapshot is not what the volume was: %v", when, err)
		}
		if err := v.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got, young) {
			t.Fatalf("%s the volume is not what was written last: %v", when, err)
		}
	}
	look("at first")
	var refused nvme.Status
	err := s.Write(t.Context(), young, 0)
	if !errors.As(err, &refused) || refused.Code() != nvme.NamespaceWriteProtected {
		t.Errorf("a write to a snapshot: %v", err)
	}
	w.stop(w.owner(vol).Gateway)
	look("under the next owner")
}
