package manager_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func poolChange(kind cluster.ChangeKind, weight uint32, devices ...cluster.DeviceID) wire.PoolChange {
	return wire.PoolChange{Kind: kind, Devices: devices, Weight: weight}
}

// TestPoolsOfEveryCode: what is asked for, on three nodes with three devices each, and what becomes of it.
func TestPoolsOfEveryCode(t *testing.T) {
	c := apitest.New(t)
	for n := 1; n <= 3; n++ {
		if n > 1 {
			c.Join(n)
		}
		for d := 1; d <= 3; d++ {
			c.Device(cluster.NodeID(n), d)
		}
	}
	zero, one, three := 0, 1, 3
	for _, x := range []struct {
		ask    wire.PoolCreate
		shape  [3]int // data, parity, min_columns
		usable uint64 // of 9 devices
		why    string // of a refusal
	}{
		{wire.PoolCreate{Name: "default"}, [3]int{1, 1, 1}, 4608, ""},
		{wire.PoolCreate{Name: "bare", Parity: &zero}, [3]int{1, 0, 1}, 9216, ""},
		{wire.PoolCreate{Name: "ec", Code: "rs", Domain: "device"}, [3]int{4, 2, 4}, 6144, ""},
		{wire.PoolCreate{Name: "rdp", Code: "rdp", Domain: "device", MinColumns: 6}, [3]int{4, 2, 6}, 6144, ""},
		{wire.PoolCreate{Name: "small", Code: "rs", Data: 2, Parity: &one}, [3]int{2, 1, 2}, 6144, ""},
		{wire.PoolCreate{Name: "relaxed", Code: "rs", Relax: true}, [3]int{4, 2, 4}, 6144, ""},
		{wire.PoolCreate{Name: "x", Code: "rs"}, [3]int{}, 0,
			`there are 3; possible: the same with relax (up to 2 chunks in one node), ` +
				`the same at level "device" (there are 9), rs 1+2 at level "node"`},
		{wire.PoolCreate{Name: "x", Parity: &three}, [3]int{}, 0, `3 copies at level "node"`},
		{wire.PoolCreate{Name: "x", Code: "rs", Data: 8, Domain: "device"}, [3]int{}, 0,
			`rs 7+2 at level "device"`},
	} {
		p, created, err := c.Manager.CreatePool(t.Context(), x.ask)
		if x.why != "" {
			if code(err) != wire.NotEnoughDomains || !strings.Contains(err.Error(), x.why) {
				t.Errorf("%s: %v, want %q", x.ask.Name, err, x.why)
			}
			continue
		}
		if err != nil || !created || [3]int{p.Data, p.Parity, p.MinColumns} != x.shape ||
			p.Capacity.Total != x.usable*apitest.MiB || p.Usable != float64(p.Data)/float64(p.Data+p.Parity) {
			t.Errorf("%s: %+v, %v", x.ask.Name, p, err)
		}
		if _, created, err = c.Manager.CreatePool(t.Context(), x.ask); created || err != nil {
			t.Errorf("%s again: %v, %v", x.ask.Name, created, err)
		}
	}
	c.Audit()
}

// TestDevicesComeAndGo is the life of a pool: it grows, is levelled, loses a device and gives one back.
func TestDevicesComeAndGo(t *testing.T) {
	c := apitest.New(t)
	c.Pool() // devices 1 to 3 on nodes 1 to 3
	four := c.Device(1, 2)
	five := c.Device(2, 2)
	table := uint32(0)
	change := func(by uint32, r wire.PoolChange, want ...cluster.DeviceID) {
		t.Helper()
		p, err := c.Manager.ChangePool(t.Context(), "gold", r, "")
		if table += by; err != nil || !slices.Equal(p.Devices, want) || p.Table != table {
			t.Fatalf("%+v: devices %v at table %d, %v; want %v at %d", r, p.Devices, p.Table, err, want, table)
		}
	}
	refused := func(want wire.Code, r wire.PoolChange) {
		t.Helper()
		if _, err := c.Manager.ChangePool(t.Context(), "gold", r, ""); code(err) != want {
			t.Fatalf("%+v: %v, want %s", r, err, want)
		}
	}
	change(1, poolChange("add", 0, five, four), 1, 2, 3, four, five)
	change(0, poolChange("add", 0, five), 1, 2, 3, four, five)
	change(1, poolChange("reweight", 8, four), 1, 2, 3, four, five)
	change(0, poolChange("reweight", 8, four), 1, 2, 3, four, five)
	change(1, poolChange("remove", 0, 1), 2, 3, four, five)
	change(0, poolChange("remove", 0, 1), 2, 3, four, five)
	refused(wire.Conflict, poolChange("add", 0, 1))
	b, err := c.Manager.PoolBalance(t.Context(), "gold")
	if err != nil || b.Table != 3 || len(b.Devices) != 4 || b.LastChange == nil || b.LastChange.Minimum == 0 ||
		float64(b.LastChange.Moved) > 1.1*float64(b.LastChange.Minimum) {
		t.Errorf("balance %+v, moves %+v, %v", b, b.LastChange, err)
	}
	refused(wire.NotEnoughDomains, poolChange("remove", 0, 3, four)) // all that is left would be on node 2
	change(1, poolChange("remove", 0, 3), 2, four, five)
	c.Audit()
}

// TestAFailedDeviceLeavesAllItsPools in one step, or none: no pool is left with too few domains.
func TestAFailedDeviceLeavesAllItsPools(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	spare := c.Device(1, 2)
	ctx := t.Context()
	two := 2
	if _, _, err := c.Manager.CreatePool(ctx, wire.PoolCreate{Name: "wide", Parity: &two,
		Devices: []cluster.DeviceID{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	fail := func(d cluster.DeviceID) error {
		return errOf(c.Manager.UpdateDevice(ctx, d, wire.DeviceUpdate{State: cluster.DeviceFailed}, ""))
	}
	if err := fail(1); code(err) != wire.NotEnoughDomains || !strings.Contains(err.Error(), `pool "wide"`) {
		t.Fatalf("a pool would be too small: %v", err)
	}
	if p, _ := c.Manager.Pool(ctx, "gold"); len(p.Devices) != 3 {
		t.Fatalf("the refusal changed a pool: %v", p.Devices)
	}
	if _, err := c.Manager.ChangePool(ctx, "wide", poolChange("add", 0, spare), ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := fail(1); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]cluster.DeviceID{"gold": {2, 3}, "wide": {2, 3, spare}} {
		if p, err := c.Manager.Pool(ctx, name); err != nil || !slices.Equal(p.Devices, want) {
			t.Errorf("pool %s is on %v, %v", name, p.Devices, err)
		}
	}
	if _, err := c.Manager.ChangePool(ctx, "gold", poolChange("add", 0, 1), ""); code(err) != wire.Conflict {
		t.Errorf("a failed device came back: %v", err)
	}
	d, created, err := c.Manager.AddDevice(ctx, manager.DeviceAdd{Node: 1, UUID: apitest.UUID(80),
		Path: "/dev/nvme1n1", Size: apitest.DeviceSize})
	if err != nil || !created || d.Number != spare+1 {
		t.Errorf("another disk at its place: %+v, %v", d, err)
	}
	c.Audit()
}

// TestADeviceIsRemovedWhenNothingIsOnIt: no pool, and no volume that has still to move away.
func TestADeviceIsRemovedWhenNothingIsOnIt(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Device(1, 2)
	v := c.Volume(1, "v")
	ctx := t.Context()
	remove := func() wire.Code {
		_, err := c.Manager.UpdateDevice(ctx, 1, wire.DeviceUpdate{State: cluster.DeviceRemoved}, "")
		return code(err)
	}
	owned(t, c, v, 2, cluster.Boundary{Cursor: cluster.Groups})
	for i, step := range []struct {
		do   func()
		want wire.Code
	}{
		{func() {}, wire.Conflict},
		{func() { _, _ = c.Manager.ChangePool(ctx, "gold", poolChange("add", 0, 4), "") }, wire.Conflict},
		{func() { _, _ = c.Manager.ChangePool(ctx, "gold", poolChange("remove", 0, 1), "") }, wire.Conflict},
		{func() { owned(t, c, v, 2) }, wire.Conflict},
		{func() {
			owned(t, c, v, 2, cluster.Boundary{Table: 2, Cursor: 9}, cluster.Boundary{Cursor: cluster.Groups})
		}, wire.Conflict},
		{func() { owned(t, c, v, 2, cluster.Boundary{Table: 2, Cursor: cluster.Groups}) }, ""},
	} {
		step.do()
		if got := remove(); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	d, err := c.Manager.Device(ctx, 1)
	if err != nil || d.State != cluster.DeviceRemoved {
		t.Errorf("got %+v, %v", d, err)
	}
	if _, err := c.Manager.UpdateDevice(ctx, 1, wire.DeviceUpdate{State: cluster.DeviceFailed}, ""); code(err) !=
		wire.Conflict {
		t.Errorf("failed after it was removed: %v", err)
	}
	c.Audit()
}

// TestAPoolKeepsRoomForItsData: a device is not taken away when the others cannot hold what there is.
func TestAPoolKeepsRoomForItsData(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	for n := cluster.NodeID(1); n <= 3; n++ {
		st := cluster.NodeStats{Node: n, Devices: []cluster.DeviceStats{{Device: cluster.DeviceID(n),
			Total: 100 << 20, Free: 20 << 20, Healthy: true}}}
		if err := c.Manager.PublishStats(t.Context(), st); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Manager.ChangePool(t.Context(), "gold", poolChange("remove", 0, 2), "")
	if code(err) != wire.Conflict || !strings.Contains(err.Error(), "room") {
		t.Errorf("got %v", err)
	}
}
