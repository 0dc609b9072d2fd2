package api_test

import (
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// blocks is so many of 4 KiB, each with a parity block.
func blocks(n uint64) wire.Amount {
	return wire.Amount{Data: n * cluster.BlockSize, Raw: 2 * n * cluster.BlockSize}
}

// TestSpaceOfAVolume: any node asks all that have devices, and adds up by snapshot. Who does not answer is
// named, device by device.
func TestSpaceOfAVolume(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v := w.Volume(1, "v")
	path := "/v1/volumes/" + v.ID.String() + "/space"
	ask := func(headers ...string) (out wire.VolumeSpace) {
		t.Helper()
		w.call("GET", path, "", headers...).into(t, &out)
		return out
	}
	first := w.Snapshot(v.ID, 11, "b")
	second := w.Snapshot(v.ID, 12, "a")
	got := ask()
	if !slices.Equal(got.Devices, []cluster.DeviceID{1}) || len(got.Missing) != 2 ||
		got.Missing[0].Device != 2 || got.Missing[1].Node != 3 || got.Missing[1].Reason == "" ||
		got.Present.Shared != blocks(1) {
		t.Fatalf("two nodes are away: %+v", got)
	}
	w.serveAll()
	got = ask()
	if !slices.Equal(got.Devices, []cluster.DeviceID{1, 2, 3}) || len(got.Missing) != 0 ||
		got.Present.Shared != blocks(3) || got.Pinned != blocks(6) {
		t.Fatalf("three nodes: %+v", got)
	}
	want := []wire.SnapshotSpace{{Snapshot: first.ID, Name: "b", Pin: first.Pin},
		{Snapshot: second.ID, Name: "a", Pin: second.Pin}}
	for i := range want {
		want[i].Holding = wire.Holding{Exclusive: blocks(3), Shared: blocks(3)}
	}
	if !slices.Equal(got.Snapshots, want) {
		t.Errorf("snapshots %+v, want %+v", got.Snapshots, want)
	}
	part := ask("Ashlar-Forwarded-By", "3")
	if !slices.Equal(part.Devices, []cluster.DeviceID{1}) || part.Snapshots[0].Name != "" {
		t.Errorf("the part of a node: %+v", part)
	}
}

// TestSpaceOfHiddenSnapshots: what was deleted and is kept for clones takes space, and has no name. Who does
// not see the volume is told that there is none.
func TestSpaceOfHiddenSnapshots(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v := w.Volume(1, "v")
	s := w.Snapshot(v.ID, 11, "s")
	clone := wire.VolumeCreate{ID: apitest.UUID(2), Name: "c", Source: &wire.Source{Snapshot: s.ID}}
	if _, _, err := w.Manager.CreateVolume(t.Context(), clone); err != nil {
		t.Fatal(err)
	}
	if r := w.call("DELETE", "/v1/snapshots/"+s.ID.String(), ""); r.status != 204 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	path := "/v1/volumes/" + v.ID.String() + "/space"
	var got wire.VolumeSpace
	w.call("GET", path, "").into(t, &got)
	if len(got.Snapshots) != 1 || !got.Snapshots[0].Hidden || !got.Snapshots[0].Snapshot.IsZero() ||
		got.Snapshots[0].Name != "" || got.Snapshots[0].Exclusive != blocks(1) {
		t.Errorf("%+v", got.Snapshots)
	}
	if r := w.as(w.token(auth.Tenant, "other"), "GET", path, ""); r.status != 404 {
		t.Errorf("another project: %d %s", r.status, r.body)
	}
}
