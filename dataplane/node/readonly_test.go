package node

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// TestAReadOnlyVolume refuses the writes of a host that has been connected all the time, under every owner,
// until it may be written again.
func TestAReadOnlyVolume(t *testing.T) {
	w := newWorld(t, 3, 2)
	w.startAll(3)
	vol, cfg := w.create(8 << 20)
	v := open(t, cfg)
	want, got := make([]byte, 64<<10), make([]byte, 64<<10)
	fill(want, 1, 1)
	w.must(v.Write(t.Context(), want, 0))
	set := func(on bool) {
		w.ctl.change(func(s *cluster.State) { s.Volumes[vol.Key].ReadOnly = on })
	}
	refused := func() bool {
		var st nvme.Status
		err := v.Write(t.Context(), want[:4096], 4<<20)
		return errors.As(err, &st) && st.Code() == nvme.NamespaceWriteProtected
	}
	set(true)
	w.until("writes are refused", refused)
	w.stop(w.owner(vol).Gateway)
	if !refused() {
		t.Error("the next owner lets a host write")
	}
	if err := v.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was written before: %v", err)
	}
	set(false)
	w.until("writes are let in again", func() bool { return v.Write(t.Context(), want[:4096], 4<<20) == nil })
}
