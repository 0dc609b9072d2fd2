package manager_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// poolHolds is what pool gold of apitest holds: three devices of 1 GiB, two copies.
const poolHolds = 3 * apitest.DeviceSize / 2

// provisioned makes a volume and tells why not.
func provisioned(c *apitest.Cluster, n int, size uint64, how string) error {
	_, _, err := c.Manager.CreateVolume(c.T.Context(), wire.VolumeCreate{ID: apitest.UUID(n),
		Name: fmt.Sprint("v", n), Pool: "gold", Size: size, Provisioning: how})
	return err
}

func bound(c *apitest.Cluster, ratio float64) {
	c.T.Helper()
	_, err := c.Manager.UpdatePool(c.T.Context(), "gold", wire.PoolUpdate{Overcommit: &ratio}, "")
	if err != nil {
		c.T.Fatal(err)
	}
}

// wantFigures compares what the pool says it is asked for.
func wantFigures(c *apitest.Cluster, asked, reserved uint64) {
	c.T.Helper()
	p, err := c.Manager.Pool(c.T.Context(), "gold")
	if err != nil || p.Capacity.Provisioned != asked || p.Capacity.Reserved != reserved {
		c.T.Errorf("%+v, %v; want %d provisioned, %d of it reserved", p.Capacity, err, asked, reserved)
	}
	c.Audit()
}

// TestOvercommit: thin volumes are bounded by the ratio when they are made and when they grow; what is
// deleted makes room, and a lower ratio takes nothing away.
func TestOvercommit(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	if err := provisioned(c, 1, 100*poolHolds, ""); err != nil {
		t.Fatalf("while nothing bounds it: %v", err)
	}
	wantFigures(c, 100*poolHolds, 0)
	bound(c, 2)
	err := provisioned(c, 2, 4096, wire.Thin)
	for _, number := range []string{fmt.Sprint(poolHolds), fmt.Sprint(100*poolHolds + 4096), "ratio 2"} {
		if code(err) != wire.PoolOvercommitted || !strings.Contains(err.Error(), number) {
			t.Errorf("beyond the ratio: %v, which does not say %s", err, number)
		}
	}
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(1), "", false); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.PublishStats(t.Context(), cluster.NodeStats{Node: 1,
		Devices: []cluster.DeviceStats{{Device: 1, Error: "does not answer"}}}); err != nil {
		t.Fatal(err)
	}
	if err := provisioned(c, 3, 2*poolHolds-4096, ""); err != nil {
		t.Errorf("within the ratio, with a device down: %v", err)
	}
	grow := func(to uint64) error {
		return errOf(c.Manager.UpdateVolume(t.Context(), apitest.UUID(3), wire.VolumeUpdate{Size: &to}, ""))
	}
	if err := grow(2 * poolHolds); err != nil {
		t.Errorf("up to the ratio: %v", err)
	}
	if err := grow(2*poolHolds + 4096); code(err) != wire.PoolOvercommitted {
		t.Errorf("growing beyond the ratio: %v", err)
	}
	bound(c, 1)
	name := "still.changed"
	if err := errOf(c.Manager.UpdateVolume(t.Context(), apitest.UUID(3), wire.VolumeUpdate{Name: &name},
		"")); err != nil {
		t.Errorf("what asks for nothing more: %v", err)
	}
	wantFigures(c, 2*poolHolds, 0)
}

// TestThickVolumes have their size set aside: together they never exceed what the pool holds, and thin ones
// share what is left.
func TestThickVolumes(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	if err := provisioned(c, 1, poolHolds/2, wire.Thick); err != nil {
		t.Fatal(err)
	}
	err := provisioned(c, 2, poolHolds/2+4096, wire.Thick)
	if code(err) != wire.PoolOvercommitted || !strings.Contains(err.Error(), fmt.Sprint(poolHolds+4096)) {
		t.Errorf("thick volumes beyond what the pool holds: %v", err)
	}
	bound(c, 1)
	if err := provisioned(c, 3, poolHolds/2+4096, ""); code(err) != wire.PoolOvercommitted {
		t.Errorf("a thin volume in what is set aside: %v", err)
	}
	if err := provisioned(c, 3, poolHolds/4, ""); err != nil {
		t.Error(err)
	}
	wantFigures(c, 3*poolHolds/4, poolHolds/2)
	as := func(n int, how string) error {
		u := wire.VolumeUpdate{Provisioning: how}
		return errOf(c.Manager.UpdateVolume(t.Context(), apitest.UUID(n), u, ""))
	}
	if err := errors.Join(as(3, wire.Thick), as(3, wire.Thick), as(1, wire.Thin)); err != nil {
		t.Errorf("thin to thick and back: %v", err)
	}
	wantFigures(c, 3*poolHolds/4, poolHolds/4)
	if err := as(1, "fat"); code(err) != wire.InvalidField {
		t.Errorf("neither thin nor thick: %v", err)
	}
	if _, err := c.Manager.UpdatePool(t.Context(), "gold", wire.PoolUpdate{Provisioning: wire.Thick},
		""); err != nil {
		t.Fatal(err)
	}
	if v := c.Volume(4, "as.the.pool"); v.Provisioning != wire.Thick {
		t.Errorf("in a pool of thick volumes: %+v", v.VolumePolicy)
	}
}

// TestClonesCount: a clone asks for its whole size, and a volume that is hidden for it goes on counting.
func TestClonesCount(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	c.Volume(1, "source")
	snap := c.Snapshot(apitest.UUID(1), 10, "s")
	_, _, err := c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{ID: apitest.UUID(2), Name: "clone",
		Source: &wire.Source{Snapshot: snap.ID}, Provisioning: wire.Thick})
	if err != nil {
		t.Fatal(err)
	}
	wantFigures(c, 32*apitest.MiB, 16*apitest.MiB)
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(1), "", true); err != nil {
		t.Fatal(err)
	}
	wantFigures(c, 32*apitest.MiB, 16*apitest.MiB)
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(2), "", false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "what was hidden is gone", func() bool {
		if err := c.Manager.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		p, err := c.Manager.Pool(t.Context(), "gold")
		return err == nil && p.Capacity.Provisioned == 0
	})
	wantFigures(c, 0, 0)
}

// TestOvercommitUnderARace: of many who ask at the same time, so many get it as fit.
func TestOvercommitUnderARace(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	bound(c, 1)
	const asked, fit = 12, 5
	var wg sync.WaitGroup
	made := make([]error, asked)
	for i := range asked {
		wg.Go(func() { made[i] = provisioned(c, i+1, poolHolds/fit&^4095, "") })
	}
	wg.Wait()
	got := 0
	for _, err := range made {
		var refused *manager.Error
		switch {
		case err == nil:
			got++
		case !errors.As(err, &refused) || refused.Code != wire.PoolOvercommitted:
			t.Errorf("neither made nor refused: %v", err)
		}
	}
	if got != fit {
		t.Errorf("%d were made, %d fit", got, fit)
	}
	c.Audit()
}

// TestVolumesFromBeforeAreCounted: a cluster that never counted begins with what its volumes have.
func TestVolumesFromBeforeAreCounted(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Volume(1, "old")
	key := cluster.KeyProvisioned("gold")
	uncount := store.Txn{Delete: []string{key}, Blind: []string{key}}
	if _, err := c.Store.Commit(t.Context(), uncount); err != nil {
		t.Fatal(err)
	}
	c.Volume(2, "new")
	wantFigures(c, 32*apitest.MiB, 0)
}
