package manager_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// publishPurged has node n say that its device, which has the same number, is so far.
func publishPurged(ctx context.Context, c *apitest.Cluster, n uint32, p *cluster.Purged) error {
	return c.Manager.PublishStats(ctx, cluster.NodeStats{Node: cluster.NodeID(n), Devices: []cluster.DeviceStats{
		{Device: cluster.DeviceID(n), Healthy: true, Total: apitest.DeviceSize, Purged: p}}})
}

func nothingLeft(*cluster.Purge) (uint64, bool) { return 0, false }

// purge has all devices of pool gold give back what was deleted.
func purge(ctx context.Context, c *apitest.Cluster) error {
	for {
		list, err := c.Manager.LookAtPurges(ctx)
		if err != nil {
			return err
		}
		var p *cluster.Purged
		if len(list) > 0 {
			p = cluster.PurgedOf(list, nothingLeft)
		}
		for n := uint32(1); n <= 3; n++ {
			if err := publishPurged(ctx, c, n, p); err != nil {
				return err
			}
		}
		if p == nil {
			return nil
		}
	}
}

// messages are those of the events of a kind.
func messages(c *apitest.Cluster, kind string) (out []string) {
	c.T.Helper()
	list, err := c.Manager.Events(c.T.Context(), manager.Page{}, manager.EventFilter{Kind: kind})
	if err != nil {
		c.T.Fatal(err)
	}
	for _, e := range list.Items {
		out = append(out, e.Message)
	}
	return out
}

// purging is a cluster in which things are deleted.
type purging struct {
	*apitest.Cluster
	t *testing.T
}

func newPurging(t *testing.T) *purging {
	c := apitest.New(t)
	c.Pool()
	return &purging{c, t}
}

func (p *purging) delete(n int) {
	p.t.Helper()
	if err := p.Manager.DeleteVolume(p.t.Context(), apitest.UUID(n), "", true); err != nil {
		p.t.Fatal(err)
	}
}

// look lists what has not ended.
func (p *purging) look() []cluster.PurgeAt {
	p.t.Helper()
	list, err := p.Manager.LookAtPurges(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	p.Audit()
	return list
}

func (p *purging) publish(n uint32, is *cluster.Purged) {
	p.t.Helper()
	if err := publishPurged(p.t.Context(), p.Cluster, n, is); err != nil {
		p.t.Fatal(err)
	}
}

// TestPurge: devices give the space of a volume back one after the other, one is away, one fails, and the
// event that ends it says all of that.
func TestPurge(t *testing.T) {
	p := newPurging(t)
	p.Volume(1, "v")
	alive(t, p.Cluster, 1)
	alive(t, p.Cluster, 2)
	p.publish(1, nil)
	p.publish(2, nil)
	p.delete(1)
	id := "purge-" + apitest.UUID(1).String()
	list := p.look()
	if x := taskOf(p.Cluster, id); x.State != wire.TaskRunning || x.Done != 0 || x.Total != 3 ||
		!strings.Contains(x.Detail, "volume v of pool gold") || !strings.Contains(x.Detail, "[3] are away") {
		t.Errorf("at first: %+v", x)
	}
	if _, err := p.Manager.CancelTask(t.Context(), id); code(err) != wire.NotSupported {
		t.Errorf("cancelled: %v", err)
	}
	p.publish(1, cluster.PurgedOf(list, nothingLeft))
	p.publish(2, cluster.PurgedOf(list, func(*cluster.Purge) (uint64, bool) { return 8192, true }))
	if x := taskOf(p.Cluster, id); x.Done != 1 || !strings.Contains(x.Detail, "[2]") ||
		!strings.Contains(x.Detail, "8192 bytes") {
		t.Errorf("after one device: %+v", x)
	}
	p.publish(2, cluster.PurgedOf(list, nothingLeft))
	if x := taskOf(p.Cluster, id); x.Done != 2 || x.State != wire.TaskWaiting || len(p.look()) != 1 {
		t.Errorf("with one that is away: %+v", x)
	}
	failed := wire.DeviceUpdate{State: cluster.DeviceFailed}
	extra := p.Device(p.Join(4), 1)
	add := poolChange(cluster.ChangeAdd, 0, extra)
	if _, err := p.Manager.ChangePool(t.Context(), "gold", add, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Manager.UpdateDevice(t.Context(), 3, failed, ""); err != nil {
		t.Fatal(err)
	}
	p.publish(uint32(extra), cluster.PurgedOf(list, nothingLeft))
	if got := p.look(); len(got) != 0 {
		t.Errorf("still waited for: %+v", got)
	}
	got := messages(p.Cluster, "volume.purged")
	if len(got) != 1 || !strings.Contains(got[0], "devices [1 2 4]") ||
		!strings.Contains(got[0], "[3] have failed") {
		t.Errorf("at the end: %q", got)
	}
	if x := taskOf(p.Cluster, id); x.ID != "" {
		t.Errorf("a task of what is not there any more: %+v", x)
	}
}

// TestWhatADeviceSaidBeforeIsNoAnswer: what it was through with says nothing of what is deleted later, also
// when that is the same id.
func TestWhatADeviceSaidBeforeIsNoAnswer(t *testing.T) {
	p := newPurging(t)
	for range 2 {
		p.Volume(1, "v")
		p.delete(1)
		list := p.look()
		if len(list) != 1 {
			t.Fatalf("waited for: %+v", list)
		}
		for n := uint32(1); n <= 3; n++ {
			if len(p.look()) != 1 {
				t.Fatalf("ended without device %d", n)
			}
			p.publish(n, cluster.PurgedOf(list, nothingLeft))
		}
	}
	p.look()
	if got := messages(p.Cluster, "volume.purged"); len(got) != 2 {
		t.Errorf("purged: %q", got)
	}
}

// TestSnapshotsArePurged: the devices of the pool give back what only the snapshot saw; when the volume goes,
// too, that is a part of the volume's purge. What people deleted before, and clones kept, is no news.
func TestSnapshotsArePurged(t *testing.T) {
	p := newPurging(t)
	p.Volume(1, "v")
	defer p.Own()()
	for n := range 3 {
		p.Snapshot(apitest.UUID(1), 10+n, fmt.Sprint("s", n))
	}
	clone := wire.VolumeCreate{ID: apitest.UUID(2), Name: "clone",
		Source: &wire.Source{Snapshot: apitest.UUID(12)}}
	if _, _, err := p.Manager.CreateVolume(t.Context(), clone); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, gone, err := p.Manager.DeleteSnapshot(t.Context(), apitest.UUID(10+n), ""); err != nil || !gone {
			t.Fatal(gone, err)
		}
	}
	list := p.look()
	if len(list) != 2 || list[0].UUID != apitest.UUID(10) || list[0].View == 0 {
		t.Fatalf("waited for: %+v", list)
	}
	for n := uint32(1); n <= 3; n++ {
		p.publish(n, cluster.PurgedOf(list, func(x *cluster.Purge) (uint64, bool) {
			return 0, x.UUID == apitest.UUID(11)
		}))
	}
	if got := p.look(); len(got) != 1 || got[0].UUID != apitest.UUID(11) {
		t.Errorf("still waited for: %+v", got)
	}
	if got := listed(p.Cluster); !slices.Equal(got, []string{"purge-" + apitest.UUID(11).String()}) {
		t.Errorf("tasks: %v", got)
	}
	p.delete(2)
	p.delete(1) // hidden first, if the snapshot is still on its way out
	waitFor(t, "the volume to go", func() bool {
		if err := p.Manager.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		return !slices.ContainsFunc(p.look(), func(x cluster.PurgeAt) bool { return x.Pin != 0 })
	})
	if err := purge(t.Context(), p.Cluster); err != nil {
		t.Fatal(err)
	}
	if got := messages(p.Cluster, "snapshot.purged"); len(got) != 1 || !strings.Contains(got[0], "s0") {
		t.Errorf("snapshots purged: %q", got)
	}
	if got := messages(p.Cluster, "volume.purged"); len(got) != 2 {
		t.Errorf("volumes purged: %q", got)
	}
}

// TestPurgesAreBounded: while a device is away for long the oldest are not followed any more, and that is
// said; a proof is waited for.
func TestPurgesAreBounded(t *testing.T) {
	c, v := encrypted(t)
	p := &purging{c, t}
	if err := c.Manager.EraseVolume(t.Context(), v.ID, ""); err != nil {
		t.Fatal(err)
	}
	for n := 2; n < 6; n++ {
		c.Volume(n, fmt.Sprint("v", n))
		p.delete(n)
	}
	left, err := c.Manager.LookAtPurgesAtMost(t.Context(), 3)
	if err != nil || len(left) != 3 {
		t.Fatalf("%d are followed, %v", len(left), err)
	}
	got := messages(c, "volume.purge_unfollowed")
	slices.Sort(got) // events of one moment come in any order
	if len(got) != 2 || !strings.Contains(got[0], "volume v2") || !strings.Contains(got[1], "volume v3") ||
		!strings.Contains(got[1], "devices [1 2 3]") {
		t.Errorf("not followed: %q", got)
	}
	if !slices.ContainsFunc(left, func(x cluster.PurgeAt) bool { return x.UUID == v.ID }) {
		t.Errorf("the erasure is forgotten: %+v", left)
	}
	p.Audit()
}

// TestPurgesOfOthersAreNotSeen by tenants.
func TestPurgesOfOthersAreNotSeen(t *testing.T) {
	p := newPurging(t)
	v := wire.VolumeCreate{ID: apitest.UUID(1), Name: "v", Pool: "gold", Size: apitest.MiB, Project: "acme"}
	if _, _, err := p.Manager.CreateVolume(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	p.delete(1)
	for project, want := range map[string]int{"acme": 1, "other": 0} {
		tenant := auth.With(t.Context(), auth.Principal{Role: auth.Tenant, Project: project})
		got, err := p.Manager.Tasks(tenant, manager.Page{}, manager.TaskFilter{})
		if err != nil || len(got.Items) != want {
			t.Errorf("project %s sees %+v, %v", project, got.Items, err)
		}
	}
}

// TestManyDeletions: as many purges as deletions at most, and etcd holds nothing more when they have ended.
func TestManyDeletions(t *testing.T) {
	p := newPurging(t)
	const many = 300
	for n := range many {
		p.Volume(1+n, fmt.Sprint("v", n))
		p.delete(1 + n)
	}
	list := p.look()
	if len(list) != many {
		t.Fatalf("%d purges of %d deletions", len(list), many)
	}
	if err := purge(t.Context(), p.Cluster); err != nil {
		t.Fatal(err)
	}
	left, err := p.Store.Read(t.Context(), store.All(cluster.PrefixPurges))
	if err != nil || len(left.Results[0].Items) != 0 {
		t.Errorf("%d records are left, %v", len(left.Results[0].Items), err)
	}
	if got := messages(p.Cluster, "volume.purged"); len(got) == 0 {
		t.Error("no event tells of it")
	}
}
