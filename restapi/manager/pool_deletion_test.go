package manager_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// refusesPool fails unless a pool cannot be deleted, and the reason says all of this.
func refusesPool(c *apitest.Cluster, says ...string) {
	c.T.Helper()
	err := c.Manager.DeletePool(c.T.Context(), "gold", "")
	if code(err) != wire.PoolNotEmpty {
		c.T.Fatalf("got %v", err)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			c.T.Errorf("does not say %q: %v", part, err)
		}
	}
	c.Audit()
}

// TestDeletePool goes by what can be in a pool: volumes and snapshots, a volume that is only kept for its
// clone, and space that devices have to give back. When nothing is left the pool goes, its devices are free,
// and the voters stay.
func TestDeletePool(t *testing.T) {
	p := newPurging(t)
	c, ctx := p.Cluster, t.Context()
	p.Volume(1, "v")
	stop := p.Own()
	p.Snapshot(apitest.UUID(1), 10, "s")
	clone := wire.VolumeCreate{ID: apitest.UUID(2), Name: "clone",
		Source: &wire.Source{Snapshot: apitest.UUID(10)}}
	if _, _, err := p.Manager.CreateVolume(ctx, clone); err != nil {
		t.Fatal(err)
	}
	refusesPool(c, "2 volumes", "1 snapshots")
	p.delete(1)
	refusesPool(c, "1 volumes", "1 deleted volumes that are kept for clones")
	p.delete(2)
	waitFor(t, "nothing is hidden", func() bool {
		if err := p.Manager.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		return len(p.look()) == 2
	})
	stop()
	refusesPool(c, "2 deleted volumes whose space comes back", "devices [1 2 3]")
	list := p.look()
	for n := uint32(1); n <= 3; n++ {
		refusesPool(c)
		p.publish(n, cluster.PurgedOf(list, nothingLeft))
	}
	p.look()

	if err := p.Manager.DeletePool(ctx, "gold", `"stale"`); code(err) != wire.PreconditionFailed {
		t.Errorf("with an old ETag: %v", err)
	}
	pool, err := p.Manager.Pool(ctx, "gold")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Manager.DeletePool(ctx, "gold", pool.ETag); err != nil {
		t.Fatal(err)
	}
	c.Audit()
	if got := messages(c, "pool.deleted"); len(got) != 1 || !strings.Contains(got[0], "devices [1 2 3]") {
		t.Errorf("events: %q", got)
	}
	if err := p.Manager.DeletePool(ctx, "gold", ""); code(err) != wire.NotFound {
		t.Errorf("again: %v", err)
	}
	if x, err := p.Manager.Cluster(ctx); err != nil || x.Pools != 0 || len(x.Voters) != 3 {
		t.Errorf("without pools: %+v, %v", x, err)
	}
	for n := cluster.DeviceID(1); n <= 2; n++ {
		removed := wire.DeviceUpdate{State: cluster.DeviceRemoved}
		if _, err := p.Manager.UpdateDevice(ctx, n, removed, ""); err != nil {
			t.Errorf("device %d is not free: %v", n, err)
		}
	}
	c.Audit()
}

// TestAPoolOfTheSameName: what was erased in the old pool stays proved, and is no business of the new one; it
// has another number and counts from nothing.
func TestAPoolOfTheSameName(t *testing.T) {
	c, v := encrypted(t)
	ctx := t.Context()
	before, err := c.Manager.Pool(ctx, "gold")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Manager.PoolBalance(ctx, "gold"); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.EraseVolume(ctx, v.ID, ""); err != nil {
		t.Fatal(err)
	}
	refusesPool(c, "1 deleted volumes", "devices [1 2 3]")
	if err := purge(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.DeletePool(ctx, "gold", ""); err != nil {
		t.Fatal(err)
	}
	erased := func() {
		t.Helper()
		if x := taskOf(c, "erase-"+v.ID.String()); x.State != wire.TaskDone || x.Done != 3 || x.Total != 3 {
			t.Errorf("what was erased: %+v", x)
		}
	}
	erased()
	r := wire.PoolCreate{Name: "gold", Parity: new(int), Devices: []cluster.DeviceID{2}}
	after, created, err := c.Manager.CreatePool(ctx, r)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if after.ID <= before.ID || after.ETag == before.ETag || after.Volumes != 0 ||
		after.Capacity.Provisioned != 0 {
		t.Errorf("the new pool: %+v", after)
	}
	if b, err := c.Manager.PoolBalance(ctx, "gold"); err != nil || len(b.Devices) != 1 {
		t.Errorf("its table: %+v, %v", b, err)
	}
	erased()
	c.Audit()
}

// crossed is a store in which something else happens just before one commit.
type crossed struct {
	*store.Mem
	first func()
}

func (x *crossed) Commit(ctx context.Context, t store.Txn) (int64, error) {
	if f := x.first; f != nil {
		x.first = nil
		f()
	}
	return x.Mem.Commit(ctx, t)
}

// TestAPoolGoesWhileAVolumeComes: of two calls that were decided on the same records one is decided again.
func TestAPoolGoesWhileAVolumeComes(t *testing.T) {
	for name, x := range map[string]struct {
		// first happens before the commit of the deletion of the pool or, if created, of that of the volume.
		first           func(c *apitest.Cluster) error
		created         bool
		deletion, other wire.Code
	}{
		"the volume is first": {first: create, deletion: wire.PoolNotEmpty},
		"the volume is first, and gone again": {first: func(c *apitest.Cluster) error {
			if err := create(c); err != nil {
				return err
			}
			return c.Manager.DeleteVolume(c.T.Context(), apitest.UUID(1), "", false)
		}, deletion: wire.PoolNotEmpty},
		"the pool is first": {first: remove, created: true, other: wire.InvalidField},
		"the pool is first, and made again": {first: func(c *apitest.Cluster) error {
			if err := remove(c); err != nil {
				return err
			}
			_, _, err := c.Manager.CreatePool(c.T.Context(), wire.PoolCreate{Name: "gold", Parity: new(int)})
			return err
		}, created: true},
		"the pool changes": {first: func(c *apitest.Cluster) error {
			return errOf(c.Manager.UpdatePool(c.T.Context(), "gold", wire.PoolUpdate{Provisioning: wire.Thick}, ""))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &crossed{Mem: store.NewMem()}
			c := apitest.NewOn(t, s)
			c.Pool()
			s.first = func() {
				if err := x.first(c); err != nil {
					t.Error(err)
				}
			}
			do, want := remove, x.deletion
			if x.created {
				do, want = create, x.other
			}
			if err := do(c); code(err) != want {
				t.Errorf("got %v, want %q", err, want)
			}
			if s.first != nil {
				t.Error("nothing came between")
			}
			c.Audit()
		})
	}
}

func create(c *apitest.Cluster) error {
	return made(c.Manager.CreateVolume(c.T.Context(), wire.VolumeCreate{ID: apitest.UUID(1), Name: "v",
		Pool: "gold", Size: apitest.MiB}))
}

func remove(c *apitest.Cluster) error { return c.Manager.DeletePool(c.T.Context(), "gold", "") }
