package manager_test

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestErase: the key goes with the record, devices confirm one after the other, one fails meanwhile, and the
// event that ends it says all of that.
func TestErase(t *testing.T) {
	c, v := encrypted(t)
	ctx := t.Context()
	key := encryption(c, v.ID).DataKey.String()
	if err := c.Manager.EraseVolume(ctx, v.ID, ""); err != nil {
		t.Fatal(err)
	}
	all, err := c.Store.Read(ctx, store.All(cluster.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range all.Results[0].Items {
		if strings.Contains(string(it.Value), `"wrapped"`) {
			t.Errorf("%s holds a wrapped key: %s", it.Key, it.Value)
		}
	}
	c.Audit()
	id := "erase-" + v.ID.String()
	if x := taskOf(c, id); x.State != wire.TaskWaiting || x.Done != 0 || x.Total != 3 || x.Cancellable {
		t.Errorf("at first: %+v", x)
	}
	if _, err := c.Manager.CancelTask(ctx, id); code(err) != wire.NotSupported {
		t.Errorf("cancelled: %v", err)
	}
	p := &purging{c, t}
	list := p.look()
	p.publish(1, cluster.PurgedOf(list, nothingLeft))
	p.look()
	if x, got := taskOf(c, id), messages(c, "volume.erased"); x.Done != 1 || len(got) != 0 {
		t.Errorf("after one device: %+v, %v", x, got)
	}
	failed := wire.DeviceUpdate{State: cluster.DeviceFailed}
	extra := c.Device(c.Join(4), 1)
	if _, err := c.Manager.ChangePool(ctx, "gold", poolChange(cluster.ChangeAdd, 0, extra), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Manager.UpdateDevice(ctx, 3, failed, ""); err != nil {
		t.Fatal(err)
	}
	p.publish(2, cluster.PurgedOf(list, nothingLeft))
	p.look()
	p.publish(4, cluster.PurgedOf(list, nothingLeft))
	p.look()
	got := messages(c, "volume.erased")
	if len(got) != 1 {
		t.Fatalf("proofs: %q", got)
	}
	for _, part := range []string{key, `"k1"`, "devices [1 2 4]", "devices [3] have failed", v.Name} {
		if !strings.Contains(got[0], part) {
			t.Errorf("the proof does not say %s: %s", part, got[0])
		}
	}
	if x := taskOf(c, id); x.State != wire.TaskDone {
		t.Errorf("at the end: %+v", x)
	}
	if list := p.look(); len(list) != 0 || len(messages(c, "volume.erased")) != 1 {
		t.Errorf("still asked for: %+v", list)
	}
}

// TestWhatIsNotErased: no key, a key that others need, and hosts.
func TestWhatIsNotErased(t *testing.T) {
	c, v := encrypted(t)
	ctx := t.Context()
	plain := c.Volume(5, "plain")
	if err := c.Manager.EraseVolume(ctx, plain.ID, ""); code(err) != wire.NotSupported {
		t.Errorf("a volume without a key: %v", err)
	}
	if _, _, err := c.Manager.Allow(ctx, manager.OfVolume(v.ID), apitest.HostA, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.EraseVolume(ctx, v.ID, ""); code(err) != wire.VolumeExported {
		t.Errorf("an exported volume: %v", err)
	}
	if err := c.Manager.DisallowAll(ctx, manager.OfVolume(v.ID), ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.EraseVolume(ctx, v.ID, `"1"`); code(err) != wire.PreconditionFailed {
		t.Errorf("by an old ETag: %v", err)
	}
	c.Own()
	snap := c.Snapshot(v.ID, 10, "s")
	if err := c.Manager.EraseVolume(ctx, v.ID, ""); code(err) != wire.VolumeHasSnapshots {
		t.Errorf("with a snapshot: %v", err)
	}
	clone := wire.VolumeCreate{ID: apitest.UUID(6), Name: "clone", Source: &wire.Source{Snapshot: snap.ID}}
	if _, _, err := c.Manager.CreateVolume(ctx, clone); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.EraseVolume(ctx, clone.ID, ""); code(err) != wire.Conflict {
		t.Errorf("a clone, whose parent has the key: %v", err)
	}
	c.Audit()
}
