package node

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestADeletedVolumeIsPurged: nothing has ended of a volume that exists, nor on a device that is not served;
// what has ended is gone, also after a restart.
func TestADeletedVolumeIsPurged(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.startAll(2)
	vol, cfg := w.create(4 << 20)
	v := open(t, cfg)
	data := make([]byte, 1<<20)
	fill(data, 1, 1)
	w.must(v.Write(t.Context(), data, 0))
	v.Close()
	purge := cluster.PurgeAt{Purge: cluster.Purge{Key: vol.Key}, Revision: 10}
	ended := func() bool {
		_, ended := w.running[1].node.Purged(t.Context(), []cluster.PurgeAt{purge})[1].Ended(&purge)
		return ended
	}
	w.until("the device has the data", func() bool { return w.running[1].node.disks.holds(vol.Key) })
	if bytes, ended := w.running[1].node.Purged(t.Context(), []cluster.PurgeAt{purge})[1].Ended(&purge); ended ||
		bytes == 0 {
		t.Fatalf("while it exists: %d bytes, ended %v", bytes, ended)
	}
	w.ctl.change(func(s *cluster.State) {
		delete(s.Volumes, vol.Key)
		delete(s.Owners, vol.Key)
	})
	w.until("the purge ends on device 1", ended)
	if w.running[1].node.disks.holds(vol.Key) {
		t.Error("ended, and the volume is still there")
	}
	if st := w.running[1].node.Stats().Devices[0]; st.Returning != 0 {
		t.Errorf("ended, and %d bytes are to come back", st.Returning)
	}
	if all := w.running[1].node.Purged(t.Context(), []cluster.PurgeAt{purge}); len(all) != 1 {
		t.Errorf("node 1 speaks for devices of others: %v", all)
	}
	w.stop(1)
	w.start(1)
	w.until("device 1 is back", ended)
	if w.running[1].node.disks.holds(vol.Key) {
		t.Error("back after a restart")
	}
}
