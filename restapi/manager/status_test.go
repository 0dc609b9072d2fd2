package manager_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// alive keeps a node alive until the test ends.
func alive(t *testing.T, c *apitest.Cluster, n cluster.NodeID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Manager.KeepAlive(ctx, n) }()
	t.Cleanup(func() { cancel(); <-ended })
	waitFor(t, "online", func() bool {
		got, err := c.Manager.Node(t.Context(), n)
		return err == nil && got.Status == "online"
	})
}

// owned makes node n the owner of a volume, in its next epoch.
func owned(t *testing.T, c *apitest.Cluster, v wire.Volume, n cluster.NodeID,
	layout ...cluster.Boundary) cluster.VolumeKey {
	t.Helper()
	key := cluster.VolumeKey{VUID: v.VUID, Generation: v.Generation}
	a := store.NewArbiter(c.Store)
	o, rev, err := a.Owner(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	o.Gateway, o.Epoch, o.Layout = n, o.Epoch+1, layout
	if _, err := a.SwapOwner(t.Context(), key, rev, o); err != nil {
		t.Fatal(err)
	}
	return key
}

// TestStatus: owner, state and healing of a volume come from where the data plane keeps them, and its pool
// and the cluster sum them up.
func TestStatus(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	v := c.Volume(1, "v")
	ctx := t.Context()
	if v.Owner != nil || v.Health != wire.OK || v.Healing != nil {
		t.Errorf("new: %+v", v)
	}
	alive(t, c, 2)
	key := owned(t, c, v, 2, cluster.Boundary{Cursor: cluster.Groups})
	st := cluster.NodeStats{Node: 2, Volumes: []cluster.VolumeStats{{Key: key, Epoch: 1, State: "serving",
		Down: []cluster.DeviceID{3}, Away: 4, Stale: 1, MovingTo: 1, MovedGroups: 5, Copied: 4096}}}
	if err := c.Manager.PublishStats(ctx, st); err != nil {
		t.Fatal(err)
	}
	got, err := c.Manager.Volume(ctx, v.ID)
	want := &wire.Healing{Down: []cluster.DeviceID{3}, Away: 4, Stale: 1, Copied: 4096,
		Moving: &wire.Moving{Table: 1, Moved: 5, Groups: cluster.Groups}}
	if err != nil || got.Owner == nil || *got.Owner != (wire.Owner{Gateway: 2, Epoch: 1}) ||
		got.State != "serving" || got.Health != wire.Degraded || !reflect.DeepEqual(got.Healing, want) {
		t.Errorf("got %+v, healing %+v, %v", got, got.Healing, err)
	}
	exp, _, err := c.Manager.Allow(ctx, manager.OfVolume(v.ID), apitest.HostA, "")
	if err != nil || len(exp.Portals) != 3 || exp.Portals[0].Node != 2 || exp.Portals[0].Port != 4420 {
		t.Errorf("the owner's portal is not first: %+v, %v", exp, err)
	}
	h, err := c.Manager.Health(ctx)
	if err != nil || h.Etcd.Revision == 0 || h.Volumes.Degraded != 1 || h.Volumes.DegradedIDs[0] != v.ID ||
		h.Status != wire.Degraded {
		t.Errorf("health %+v, %v", h, err)
	}
	p, err := c.Manager.Pool(ctx, "gold")
	sum := wire.PoolHealing{Degraded: 1, Down: []cluster.DeviceID{3}, Moved: 5, Groups: cluster.Groups,
		Copied: 4096}
	if err != nil || !reflect.DeepEqual(p.Healing, sum) {
		t.Errorf("the pool's sum is %+v, %v", p.Healing, err)
	}
	owned(t, c, v, 2)
	got, err = c.Manager.Volume(ctx, v.ID)
	if err != nil || got.Health != wire.Unknown || got.Healing != nil || got.State != "" {
		t.Errorf("in the next epoch: %+v, %v", got, err)
	}
	if h, err = c.Manager.Health(ctx); err != nil || h.Volumes.Unknown != 1 || h.Volumes.Degraded != 0 {
		t.Errorf("health %+v, %v", h.Volumes, err)
	}
}
