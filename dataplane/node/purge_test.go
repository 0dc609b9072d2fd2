package node

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestADeletedVolumeIsPurgedAndConfirmed: nothing is confirmed of a volume that exists, nor by devices of
// others; what is confirmed is gone, also after a restart.
func TestADeletedVolumeIsPurgedAndConfirmed(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.startAll(2)
	vol, cfg := w.create(4 << 20)
	v := open(t, cfg)
	data := make([]byte, 1<<20)
	fill(data, 1, 1)
	w.must(v.Write(t.Context(), data, 0))
	v.Close()
	purge := func() []cluster.DeviceID {
		done, err := w.running[1].node.Purge(t.Context(), vol.Key, []cluster.DeviceID{1})
		if err != nil { // it is not served yet
			return nil
		}
		return done
	}
	if done := purge(); len(done) != 0 || !w.holds(vol.Key) {
		t.Fatalf("while it exists: %v", done)
	}
	w.ctl.change(func(s *cluster.State) {
		delete(s.Volumes, vol.Key)
		delete(s.Owners, vol.Key)
	})
	w.until("device 1 confirms", func() bool { return len(purge()) == 1 })
	if w.running[1].node.disks.holds(vol.Key) {
		t.Error("confirmed, and still there")
	}
	if done, err := w.running[1].node.Purge(t.Context(), vol.Key, []cluster.DeviceID{2}); err == nil {
		t.Errorf("a device of another node was confirmed: %v", done)
	}
	w.stop(1)
	w.start(1)
	w.until("device 1 is back", func() bool { return len(purge()) == 1 })
	if w.running[1].node.disks.holds(vol.Key) {
		t.Error("back after a restart")
	}
}
