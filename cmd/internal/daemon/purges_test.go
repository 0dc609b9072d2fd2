package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestAnErasureIsProved by a real daemon: a volume that a host has written is erased, its device confirms,
// and the event says so.
func TestAnErasureIsProved(t *testing.T) {
	o := testOptions(t, "a")
	o.KeyFile = filepath.Join(t.TempDir(), "keys")
	key, err := seal.NewClusterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := (keyring.File{Path: o.KeyFile}).Add("k1", key); err != nil {
		t.Fatal(err)
	}
	w := newWhole(t, o)
	if _, err := w.c.RotateKey(w.ctx, wire.KeyRotation{To: "k1"}); err != nil {
		t.Fatal(err)
	}
	if w.volume, err = w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: "secret", Pool: "gold", Size: 16 << 20,
		Encryption: cluster.AES256XTS}); err != nil {
		t.Fatal(err)
	}
	w.write(5)
	id := w.volume.ID
	if err := w.c.EraseVolume(w.ctx, id, ""); !client.Is(err, wire.VolumeExported) {
		t.Errorf("while a host may use it: %v", err)
	}
	if err := w.c.DeleteExport(w.ctx, id, testHost); err != nil {
		t.Fatal(err)
	}
	if err := w.c.EraseVolume(w.ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, w.ctx, "the device confirms", func() error {
		x, err := w.c.GetTask(w.ctx, "erase-"+id.String())
		if err == nil && x.State != wire.TaskDone {
			err = errors.New("the task is " + string(x.State))
		}
		return err
	})
	list, err := w.c.ListEvents(w.ctx, client.EventListOpts{Kind: "volume.erased", Subject: id.String()})
	if err != nil || len(list.Items) != 1 || !strings.Contains(list.Items[0].Message, "devices [1]") {
		t.Errorf("the proof: %+v, %v", list.Items, err)
	}
}

// TestPurgesAreFollowed by a real daemon: of a snapshot that a volume was written over, then of the volume.
func TestPurgesAreFollowed(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.write(5)
	s, err := w.c.CreateSnapshot(w.ctx, wire.SnapshotCreate{Volume: w.volume.ID, Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	w.write(5)
	if err := w.c.DeleteSnapshot(w.ctx, s.ID, ""); err != nil {
		t.Fatal(err)
	}
	told := func(kind string) {
		t.Helper()
		eventually(t, w.ctx, kind, func() error {
			list, err := w.c.ListEvents(w.ctx, client.EventListOpts{Kind: kind, Subject: w.volume.ID.String()})
			if err == nil && (len(list.Items) != 1 || !strings.Contains(list.Items[0].Message, "devices [1]")) {
				err = fmt.Errorf("events: %+v", list.Items)
			}
			return err
		})
	}
	told("snapshot.purged")
	if err := w.c.DeleteExport(w.ctx, w.volume.ID, testHost); err != nil {
		t.Fatal(err)
	}
	if err := w.c.DeleteVolume(w.ctx, w.volume.ID, ""); err != nil {
		t.Fatal(err)
	}
	id := "purge-" + w.volume.ID.String()
	if x, err := w.c.GetTask(w.ctx, id); err != nil || x.State != wire.TaskRunning || x.Total != 1 {
		t.Errorf("at first: %+v, %v", x, err)
	}
	told("volume.purged")
	if _, err := w.c.GetTask(w.ctx, id); !client.Is(err, wire.NotFound) {
		t.Errorf("after its end: %v", err)
	}
}
