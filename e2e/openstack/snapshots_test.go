//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// snapshotsLive takes snapshots of a volume that a host writes, reads them, and goes back to one.
func (c cloud) snapshotsLive(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	v := c.create(t, "snapped", 1)
	a := c.attach(t, v.ID)
	host := open(t, a.Info, a.Info.HostNQN)
	old, young := random(64<<10), bytes.Repeat([]byte{0x5a}, 64<<10)
	c.write(ctx, t, host, old)
	first, taken := c.snap(t, v.ID, "first"), time.Now().Unix()
	c.write(ctx, t, host, young)
	c.cluster.Eventually("the next second, for Cinder finds the newest snapshot by seconds", func() error {
		if time.Now().Unix() == taken {
			return errors.New("it is the same one")
		}
		return nil
	})
	second := c.snap(t, v.ID, "second")
	c.expectSnapshots(t, v.ID, first.ID, second.ID)

	for id, want := range map[string][]byte{first.ID: old, second.ID: young} {
		if got := c.readSnapshot(ctx, t, id, len(want)); !bytes.Equal(got, want) {
			t.Errorf("snapshot %s does not show what was written before it", id)
		}
	}
	c.write(ctx, t, host, bytes.Repeat([]byte{0xee}, len(young)))
	if err := c.Detach(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := c.Revert(ctx, v.ID, second.ID); err != nil {
		t.Fatal(err)
	}
	c.expectData(ctx, t, v.ID, young)
	if err := c.Delete(ctx, v.ID); err == nil {
		t.Error("a volume with snapshots was deleted")
	}
	for i, s := range []openstack.Snapshot{first, second} {
		if err := c.DeleteSnapshot(ctx, s.ID); err != nil {
			t.Fatal(err)
		}
		c.expectSnapshots(t, v.ID, []string{second.ID}[i:]...)
	}
	if err := c.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	c.expectGone(t, v.ID)
}

// oddSnapshots deletes what Cinder cannot delete, and what is not there.
func (c cloud) oddSnapshots(t *testing.T) {
	ctx := t.Context()
	v := c.create(t, "odd", 1)
	s := c.snap(t, v.ID, "read")
	// Given by hand: to Cinder nobody reads it.
	if _, err := c.cluster.API.PutSnapshotExport(ctx, parse(t, s.ID), hostA().NQN); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteSnapshot(ctx, s.ID); err == nil {
		t.Error("a snapshot that a host may read was deleted")
	}
	c.expectSnapshots(t, v.ID, s.ID)
	if err := c.cluster.API.DeleteSnapshotExports(ctx, parse(t, s.ID)); err != nil {
		t.Fatal(err)
	}
	if err := c.cluster.API.DeleteSnapshot(ctx, parse(t, s.ID), ""); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Errorf("delete of a snapshot that the cluster does not have: %v", err)
	}

	stranger, err := c.cluster.API.CreateSnapshot(ctx, wire.SnapshotCreate{Volume: parse(t, v.ID), Name: "ours"})
	if err != nil {
		t.Fatal(err)
	}
	var status *openstack.StatusError
	if err := c.Delete(ctx, v.ID); !errors.As(err, &status) || status.Volume.Status != "available" {
		t.Errorf("delete of a volume with a snapshot that Cinder does not know: %v, should stay available", err)
	}
	c.managedSnapshot(t, v.ID, stranger)
	if err := c.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
}

// managedSnapshot takes a snapshot over, lets it go, takes it over again and deletes it.
func (c cloud) managedSnapshot(t *testing.T, volume string, stranger wire.Snapshot) {
	ctx := t.Context()
	id := stranger.ID.String()
	c.expectManageable(t, id, "")
	managed, err := c.ManageSnapshot(ctx, volume, id)
	if err != nil {
		t.Fatal(err)
	}
	if managed.ID == id || managed.GiB != 1 {
		t.Errorf("managed %+v, should have an id of its own and 1 GiB", managed)
	}
	c.expectManageable(t, id, managed.ID)
	if err := c.UnmanageSnapshot(ctx, managed.ID); err != nil {
		t.Fatal(err)
	}
	c.expectSnapshots(t, volume, id)
	if managed, err = c.ManageSnapshot(ctx, volume, id); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteSnapshot(ctx, managed.ID); err != nil {
		t.Fatal(err)
	}
	if left, err := c.cluster.API.AllSnapshotsOf(ctx, parse(t, volume), ""); err != nil || len(left) != 0 {
		t.Errorf("the cluster still has %+v, %v", left, err)
	}
}

func (c cloud) expectManageable(t *testing.T, id, managedAs string) {
	t.Helper()
	list, err := c.ManageableSnapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Reference["source-id"] == id {
			if s.CinderID != managedAs || s.Safe != (managedAs == "") || s.GiB != 1 {
				t.Errorf("manageable %+v, should be Cinder's %q", s, managedAs)
			}
			return
		}
	}
	t.Errorf("snapshot %s is not among the manageable %+v", id, list)
}

func (c cloud) snap(t *testing.T, volume, name string) openstack.Snapshot {
	t.Helper()
	s, err := c.CreateSnapshot(t.Context(), volume, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// expectSnapshots checks that the cluster has just these snapshots of a volume, and Cinder no other.
func (c cloud) expectSnapshots(t *testing.T, volume string, ids ...string) {
	t.Helper()
	ours, err := c.cluster.API.AllSnapshotsOf(t.Context(), parse(t, volume), "")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, s := range ours {
		have = append(have, s.ID.String())
		if s.State != "available" || s.Size != gib {
			t.Errorf("snapshot %+v, should be available and of 1 GiB", s)
		}
	}
	slices.Sort(have)
	slices.Sort(ids)
	if !slices.Equal(have, ids) {
		t.Errorf("the cluster has snapshots %v, should have %v", have, ids)
	}
	theirs, err := c.Snapshots(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range theirs {
		if !slices.Contains(ids, s.ID) {
			t.Errorf("Cinder has snapshot %+v, the cluster does not", s)
		}
	}
}

func (c cloud) write(ctx context.Context, t *testing.T, host *initiator.Volume, data []byte) {
	t.Helper()
	if err := host.Write(ctx, data, 0); err != nil {
		t.Fatal(err)
	}
}

// expectData attaches a volume and checks what it begins with.
func (c cloud) expectData(ctx context.Context, t *testing.T, volume string, want []byte) {
	t.Helper()
	if !bytes.Equal(c.read(ctx, t, volume, len(want)), want) {
		t.Errorf("volume %s does not begin as it should", volume)
	}
}

// read attaches a volume and reads its first n bytes.
func (c cloud) read(ctx context.Context, t *testing.T, volume string, n int) []byte {
	t.Helper()
	a := c.attach(t, volume)
	host := open(t, a.Info, a.Info.HostNQN)
	got := make([]byte, n)
	if err := host.Read(ctx, got, 0); err != nil {
		t.Fatal(err)
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Detach(ctx, a); err != nil {
		t.Fatal(err)
	}
	return got
}

// readSnapshot reads the beginning of a snapshot as a host would for a backup.
func (c cloud) readSnapshot(ctx context.Context, t *testing.T, id string, n int) []byte {
	t.Helper()
	nqn := hostA().NQN
	export, err := c.cluster.API.PutSnapshotExport(ctx, parse(t, id), nqn)
	if err != nil {
		t.Fatal(err)
	}
	info := openstack.ConnectionInfo{TargetNQN: export.NQN, HostNQN: nqn}
	for _, p := range export.Portals {
		info.Portals = append(info.Portals,
			openstack.Portal{Address: p.Address, Port: strconv.Itoa(int(p.Port)), Transport: "tcp"})
	}
	host := open(t, info, nqn)
	got := make([]byte, n)
	if err := host.Read(ctx, got, 0); err != nil {
		t.Fatal(err)
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if err := c.cluster.API.DeleteSnapshotExports(ctx, parse(t, id)); err != nil {
		t.Fatal(err)
	}
	return got
}
