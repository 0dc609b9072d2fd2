package daemon

import (
	"crypto/rand"
	"errors"
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
