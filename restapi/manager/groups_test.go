package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// grouped makes volumes 1 to n in group 20 of a project, or of none.
func grouped(c *apitest.Cluster, n int, project string) wire.Group {
	c.T.Helper()
	r := wire.GroupCreate{ID: apitest.UUID(20), Name: "db", Project: project}
	for i := range n {
		v, _, err := c.Manager.CreateVolume(c.T.Context(), wire.VolumeCreate{ID: apitest.UUID(i + 1),
			Project: project,
			Name:    fmt.Sprint("v", i+1), Pool: "gold", Size: 16 * apitest.MiB})
		if err != nil {
			c.T.Fatal(err)
		}
		r.Volumes = append(r.Volumes, v.ID)
	}
	g, created, err := c.Manager.CreateGroup(c.T.Context(), r)
	if err != nil || !created {
		c.T.Fatal(err)
	}
	return g
}

// together takes group snapshot n of group 20; Own must have been called.
func together(c *apitest.Cluster, n int, name string) wire.GroupSnapshot {
	c.T.Helper()
	s, _, err := c.Manager.CreateGroupSnapshot(c.T.Context(), wire.GroupSnapshotCreate{ID: apitest.UUID(n),
		Group: apitest.UUID(20), Name: name})
	if err != nil || s.State != cluster.SnapshotAvailable {
		c.T.Fatalf("group snapshot %s is %s: %v", name, s.State, err)
	}
	return s
}

// groupChanges: two volumes in a group with a snapshot, and one in none.
func groupChanges() []change {
	prepare := func(c *apitest.Cluster) {
		c.Pool()
		stop := c.Own()
		grouped(c, 2, "acme")
		together(c, 30, "monday")
		stop()
		if err := made(c.Manager.CreateVolume(c.T.Context(), wire.VolumeCreate{ID: apitest.UUID(9), Name: "v9",
			Project: "acme", Pool: "gold", Size: apitest.MiB})); err != nil {
			c.T.Fatal(err)
		}
	}
	on := func(do func(m *manager.Manager, ctx context.Context) error) func(*apitest.Cluster) doer {
		return func(c *apitest.Cluster) doer {
			prepare(c)
			return func(ctx context.Context) error {
				return do(c.Manager, manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 64))))
			}
		}
	}
	create := func(r wire.GroupCreate) func(m *manager.Manager, ctx context.Context) error {
		return func(m *manager.Manager, ctx context.Context) error {
			_, _, err := m.CreateGroup(ctx, r)
			return err
		}
	}
	return []change{
		{"make a group", on(create(wire.GroupCreate{Name: "h", Project: "acme",
			Volumes: []cluster.UUID{apitest.UUID(9)}}))},
		{"clone a group", on(create(wire.GroupCreate{Name: "h", Project: "acme",
			Source: &wire.GroupSource{Snapshot: apitest.UUID(30)}}))},
		{"change a group", on(func(m *manager.Manager, ctx context.Context) error {
			return errOf(m.UpdateGroup(ctx, apitest.UUID(20), wire.GroupUpdate{Name: new("x"),
				Add: []cluster.UUID{apitest.UUID(9)}, Remove: []cluster.UUID{apitest.UUID(1)}}, ""))
		})},
		{"take a group snapshot", on(func(m *manager.Manager, ctx context.Context) error {
			_, _, err := m.CreateGroupSnapshot(ctx, wire.GroupSnapshotCreate{Group: apitest.UUID(20), Name: "tuesday"})
			return err
		})},
		{"rename a group snapshot", on(func(m *manager.Manager, ctx context.Context) error {
			r := wire.SnapshotUpdate{Name: new("sunday")}
			return errOf(m.UpdateGroupSnapshot(ctx, apitest.UUID(30), r, ""))
		})},
		{"revert a group", on(func(m *manager.Manager, ctx context.Context) error {
			_, _, err := m.RevertGroup(ctx, apitest.UUID(20), wire.GroupRevert{Snapshot: apitest.UUID(30)}, "")
			return err
		})},
		{"delete a group snapshot", on(func(m *manager.Manager, ctx context.Context) error {
			return m.DeleteGroupSnapshot(ctx, apitest.UUID(30), "")
		})},
		{"delete a group", func(c *apitest.Cluster) doer {
			c.Pool()
			grouped(c, 0, "")
			return func(ctx context.Context) error { return c.Manager.DeleteGroup(ctx, apitest.UUID(20), "") }
		}},
	}
}

// TestAGroupLives: volumes come and go, and snapshots keep what they were taken of.
func TestAGroupLives(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	g := grouped(c, 2, "")
	vol, err := c.Manager.Volume(t.Context(), apitest.UUID(1))
	if err != nil || vol.Group != g.ID {
		t.Fatalf("the volume says it is in %v, %v", vol.Group, err)
	}
	first := together(c, 30, "monday")
	if len(first.Snapshots) != 2 {
		t.Fatalf("%+v", first)
	}
	c.Audit()
	c.Volume(3, "v3")
	change := wire.GroupUpdate{Add: []cluster.UUID{apitest.UUID(3)}, Remove: []cluster.UUID{apitest.UUID(1)}}
	g, err = c.Manager.UpdateGroup(t.Context(), g.ID, change, g.ETag)
	if err != nil || !slices.Equal(g.Volumes, []cluster.UUID{apitest.UUID(2), apitest.UUID(3)}) {
		t.Fatalf("%+v, %v", g, err)
	}
	again, err := c.Manager.UpdateGroup(t.Context(), g.ID, change, "")
	if err != nil || again.ETag != g.ETag {
		t.Errorf("the same again changed it: %v", err)
	}
	second := together(c, 31, "tuesday")
	if second.Snapshots[1].Volume != apitest.UUID(3) {
		t.Errorf("%+v", second)
	}
	c.Audit()

	r := wire.GroupRevert{Snapshot: apitest.UUID(30)}
	_, _, err = c.Manager.RevertGroup(t.Context(), g.ID, r, "")
	var refused *manager.Error
	if !errors.As(err, &refused) || refused.Code != wire.SnapshotNotNewest { // volume 2 has a newer one
		t.Errorf("%v", err)
	}
	r.Force = true
	if _, done, err := c.Manager.RevertGroup(t.Context(), g.ID, r, ""); err != nil || !done {
		t.Errorf("done %v, %v", done, err)
	}
	for n, want := range map[int]int{1: 1, 2: 1, 3: 0} { // volume 1 has left, and was part of it
		v, err := c.Manager.Volume(t.Context(), apitest.UUID(n))
		if err != nil || (v.Revert != nil) != (want == 1) {
			t.Errorf("volume %d was reverted: %+v, %v", n, v.Revert, err)
		}
	}
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(1), "", true); err == nil {
		t.Error("a volume was deleted that a group snapshot shows")
	}
	for _, id := range []int{30, 31} {
		if err := c.Manager.DeleteGroupSnapshot(t.Context(), apitest.UUID(id), ""); err != nil {
			t.Error(err)
		}
	}
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(1), "", false); err != nil {
		t.Error(err)
	}
	c.Audit()
}

// TestClonesOfAGroup are in a group of their own, and outlive what they were made from.
func TestClonesOfAGroup(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	grouped(c, 2, "acme")
	together(c, 30, "monday")
	g, _, err := c.Manager.CreateGroup(t.Context(), wire.GroupCreate{ID: apitest.UUID(40), Name: "test",
		Project: "acme",
		Source:  &wire.GroupSource{Snapshot: apitest.UUID(30)}})
	if err != nil || len(g.Volumes) != 2 {
		t.Fatalf("%+v, %v", g, err)
	}
	c.Audit()
	for i, id := range g.Volumes {
		v, err := c.Manager.Volume(t.Context(), id)
		if err != nil || v.Name != fmt.Sprint("test-v", i+1) || v.Parent == nil || v.Group != g.ID ||
			v.Parent.Volume != apitest.UUID(i+1) {
			t.Errorf("clone %d: %+v, %v", i, v, err)
		}
	}
	p, err := c.Manager.Project(t.Context(), "acme")
	if err != nil || p.Used.Volumes != 4 {
		t.Errorf("the project is charged for %+v, %v", p.Used, err)
	}
	if err := c.Manager.DeleteGroupSnapshot(t.Context(), apitest.UUID(30), ""); err != nil {
		t.Fatal(err)
	}
	c.Audit()
	leave := wire.GroupUpdate{Remove: g.Volumes}
	if _, err := c.Manager.UpdateGroup(t.Context(), g.ID, leave, ""); err != nil {
		t.Fatal(err)
	}
	for _, id := range g.Volumes {
		if err := c.Manager.DeleteVolume(t.Context(), id, "", false); err != nil {
			t.Error(err)
		}
	}
	waitFor(t, "the hidden parts are gone", func() bool {
		read, err := c.Store.Read(t.Context(), store.All(cluster.PrefixSnapshots))
		return err == nil && len(read.Results[0].Items) == 0
	})
	c.Audit()
}

// TestAFullGroup is as large as can be, and everything that is one transaction still is.
func TestAFullGroup(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	g := grouped(c, cluster.MaxGroupVolumes, "acme")
	together(c, 30, "monday")
	made, _, err := c.Manager.CreateGroup(t.Context(), wire.GroupCreate{ID: apitest.UUID(40), Name: "test",
		Project: "acme",
		Source:  &wire.GroupSource{Snapshot: apitest.UUID(30)}})
	if err != nil || len(made.Volumes) != len(g.Volumes) {
		t.Fatal(err)
	}
	r := wire.GroupRevert{Snapshot: apitest.UUID(30)}
	if _, done, err := c.Manager.RevertGroup(t.Context(), g.ID, r, ""); err != nil || !done {
		t.Errorf("done %v, %v", done, err)
	}
	swap := wire.GroupUpdate{Remove: made.Volumes}
	if _, err := c.Manager.UpdateGroup(t.Context(), made.ID, swap, ""); err != nil {
		t.Error(err)
	}
	_, err = c.Manager.UpdateGroup(t.Context(), g.ID, wire.GroupUpdate{Add: made.Volumes[:1]}, "")
	var refused *manager.Error
	if !errors.As(err, &refused) || refused.Field != "add" {
		t.Errorf("one more: %v", err)
	}
	other := wire.GroupUpdate{Remove: g.Volumes, Add: made.Volumes}
	if _, err := c.Manager.UpdateGroup(t.Context(), g.ID, other, ""); err != nil {
		t.Errorf("all others: %v", err)
	}
	renamed := wire.SnapshotUpdate{Name: new("tuesday")}
	if _, err := c.Manager.UpdateGroupSnapshot(t.Context(), apitest.UUID(30), renamed, ""); err != nil {
		t.Error(err)
	}
	c.Audit()
	if err := c.Manager.DeleteGroupSnapshot(t.Context(), apitest.UUID(30), ""); err != nil {
		t.Error(err)
	}
	c.Audit()
}

// TestTheNameOfAGroupSnapshotIsThatOfItsParts: where one of them cannot have it, none gets it.
func TestTheNameOfAGroupSnapshotIsThatOfItsParts(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	grouped(c, 2, "")
	together(c, 30, "monday")
	together(c, 31, "tuesday")
	c.Snapshot(apitest.UUID(2), 32, "single")
	for _, taken := range []string{"tuesday", "single"} {
		r := wire.SnapshotUpdate{Name: &taken}
		_, err := c.Manager.UpdateGroupSnapshot(t.Context(), apitest.UUID(30), r, "")
		var refused *manager.Error
		if !errors.As(err, &refused) || refused.Code != wire.Conflict || refused.Field != "name" {
			t.Errorf("renamed to %q: %v", taken, err)
		}
	}
	r := wire.SnapshotUpdate{Name: new("wednesday"), Description: new("d")}
	s, err := c.Manager.UpdateGroupSnapshot(t.Context(), apitest.UUID(30), r, "")
	if err != nil || s.Name != "wednesday" || s.Description != "d" {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, p := range s.Snapshots {
		if part, err := c.Manager.Snapshot(t.Context(), p.Snapshot); err != nil || part.Name != "wednesday" {
			t.Errorf("a part is called %q, %v", part.Name, err)
		}
	}
	together(c, 33, "monday")
	c.Audit()
}
