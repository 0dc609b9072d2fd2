package manager_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// proofs are the messages of the events about erased volumes.
func proofs(c *apitest.Cluster) (out []string) {
	c.T.Helper()
	list, err := c.Manager.Events(c.T.Context(), manager.Page{}, manager.EventFilter{Kind: "volume.erased"})
	if err != nil {
		c.T.Fatal(err)
	}
	for _, e := range list.Items {
		out = append(out, e.Message)
	}
	return out
}

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
	if x := taskOf(c, id); x.State != wire.TaskRunning || x.Done != 0 || x.Total != 3 || x.Cancellable {
		t.Errorf("at first: %+v", x)
	}
	if _, err := c.Manager.CancelTask(ctx, id); code(err) != wire.NotSupported {
		t.Errorf("cancelled: %v", err)
	}
	list, err := c.Manager.PendingErasures(ctx, 2)
	if err != nil || len(list) != 1 || !slices.Equal(list[0].Devices, []cluster.DeviceID{2}) {
		t.Errorf("node 2 is to confirm %+v, %v", list, err)
	}
	confirm := func(by ...cluster.DeviceID) {
		t.Helper()
		if err := c.Manager.ConfirmErasure(ctx, v.ID, by...); err != nil {
			t.Fatal(err)
		}
	}
	confirm(1)
	confirm(1, 99) // again, and one that nobody asked
	if x := taskOf(c, id); x.Done != 1 || len(proofs(c)) != 0 {
		t.Errorf("after one device: %+v, %v", x, proofs(c))
	}
	extra := c.Device(c.Join(4), 1) // joined later: has nothing of it
	if _, err := c.Manager.ChangePool(ctx, "gold", poolChange(cluster.ChangeAdd, 0, extra), ""); err != nil {
		t.Fatal(err)
	}
	failed := wire.DeviceUpdate{State: cluster.DeviceFailed}
	if _, err := c.Manager.UpdateDevice(ctx, 3, failed, ""); err != nil {
		t.Fatal(err)
	}
	confirm(2)
	confirm()
	got := proofs(c)
	if len(got) != 1 {
		t.Fatalf("proofs: %q", got)
	}
	for _, part := range []string{key, `"k1"`, "devices [1 2]", "devices [3] have failed", v.Name} {
		if !strings.Contains(got[0], part) {
			t.Errorf("the proof does not say %s: %s", part, got[0])
		}
	}
	if x := taskOf(c, id); x.State != wire.TaskDone {
		t.Errorf("at the end: %+v", x)
	}
	if list, err := c.Manager.PendingErasures(ctx, 2); err != nil || len(list) != 0 {
		t.Errorf("still asked for: %+v, %v", list, err)
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
