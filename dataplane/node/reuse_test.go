package node

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestAReusedVUIDNeverShowsOldData: a volume with the VUID of one that was deleted is empty, although a
// device that holds the old data missed the deletion and comes back, and stays what was written to it when
// the old data goes, and after a restart of all nodes.
func TestAReusedVUIDNeverShowsOldData(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	first, cfg := w.create(4 << 20)
	secret := make([]byte, 4<<20)
	fill(secret, 1, 1)
	v := open(t, cfg)
	w.must(v.Write(t.Context(), secret, 0))
	v.Close()
	const away = cluster.NodeID(3)
	w.until("all copies are written", func() bool { return w.whole(first) })
	w.stop(away)
	w.ctl.change(func(s *cluster.State) {
		delete(s.Volumes, first.Key)
		delete(s.Owners, first.Key)
		s.LastSerial = cluster.VolumeKey{VUID: cluster.MaxVUID, Generation: 1}.Serial()
	})
	second, cfg := w.create(4 << 20)
	if second.Key.VUID != first.Key.VUID || second.Key.Generation == first.Key.Generation {
		t.Fatalf("after %v came %v", first.Key, second.Key)
	}
	v = open(t, cfg)
	want := make([]byte, len(secret))
	look := func(when string) {
		t.Helper()
		got := make([]byte, len(want))
		if err := v.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s the volume is not what was written to it: %v", when, err)
		}
	}
	look("at first")
	fill(want[1<<20:1<<20+4096], 1, 2)
	w.must(v.Write(t.Context(), want[1<<20:1<<20+512], 1<<20)) // a part of a block: the rest of it is zeros
	clear(want[1<<20+512 : 1<<20+4096])
	look("with a part of a block written")
	w.start(away)
	w.until("the device that was away is healed", func() bool { return w.whole(second) })
	look("with the device back that holds old data")
	w.until("the old data is purged", func() bool { return !w.holds(first.Key) })
	look("with the old data purged")
	for n := range w.running {
		w.stop(n)
	}
	w.startAll(3)
	look("after a restart of all nodes")
}

// holds tells whether a device of a node that runs has anything of a volume.
func (w *world) holds(key cluster.VolumeKey) bool {
	for _, r := range w.running {
		if r.node.disks.holds(key) {
			return true
		}
	}
	return false
}

func (d *disks) holds(key cluster.VolumeKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.mu.open {
		if k.store != nil && slices.Contains(k.store.Volumes(), key) {
			return true
		}
	}
	return false
}
