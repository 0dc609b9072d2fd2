//go:build e2e

package openstack_test

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// groupsLive takes snapshots of two volumes at one moment, while a host writes to one after the other, and
// makes groups from them.
func (c cloud) groupsLive(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	must := func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	must("", c.CreateType(ctx, "grouped", nil))
	group := must(c.CreateGroup(ctx, "both", must(c.CreateGroupType(ctx, "consistent")), "grouped"))
	var ids [3]string
	for i, name := range []string{"first", "second", "third"} {
		v, err := c.CreateInGroup(ctx, name, "grouped", group)
		ids[i] = must(v.ID, err)
	}
	must("", c.UpdateGroup(ctx, group, "", ids[2]))
	must("", c.Delete(ctx, ids[2]))
	if err := c.Delete(ctx, ids[0]); err == nil {
		t.Error("a volume in a group was deleted")
	}

	end := c.countOnBoth(ctx, t, ids[0], ids[1])
	moment := must(c.CreateGroupSnapshot(ctx, group, "moment"))
	last := end()
	ofSnapshot := must(c.CreateGroupFrom(ctx, "of-snapshot", "group_snapshot_id", moment))
	ofGroup := must(c.CreateGroupFrom(ctx, "of-group", "source_group_id", group))
	var snapshots [2]string
	for i := range snapshots {
		theirs, err := c.Snapshots(ctx, ids[i])
		if err != nil || len(theirs) != 1 {
			t.Fatalf("snapshots of %s: %v, %v", ids[i], theirs, err)
		}
		snapshots[i] = theirs[0].ID
	}
	first, second := c.counts(ctx, t, ofSnapshot, snapshots)
	if first == 0 || first > last || second != first && second+1 != first {
		t.Errorf("the snapshot shows %d, then %d: no moment before %d", first, second, last)
	}
	t.Logf("a snapshot at %d and %d of %d", first, second, last)
	if first, second = c.counts(ctx, t, ofGroup, [2]string(ids[:2])); first != last || second != last {
		t.Errorf("the group shows %d and %d, should be %d", first, second, last)
	}
	c.audit(ctx, t)

	must("", c.DeleteGroupSnapshot(ctx, moment))
	for _, id := range []string{group, ofSnapshot, ofGroup} {
		must("", c.DeleteGroup(ctx, id))
	}
	c.expectNoGroups(t)
}

// groupCallsKilled kills cinder-volume with the calls about groups under way. Cinder goes on with none of
// them, and all of it can be deleted.
func (c cloud) groupCallsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	must := func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	must("", c.CreateType(ctx, "crash-grouped", nil))
	kind := must(c.CreateGroupType(ctx, "crash-consistent"))
	var groups [5]string
	for i := range groups {
		groups[i] = must(c.CreateGroup(ctx, "crash-group", kind, "crash-grouped"))
		v, err := c.CreateInGroup(ctx, "crash-member", "crash-grouped", groups[i])
		must(v.ID, err)
	}
	added, err := c.CreateVolumeOfType(ctx, "crash-added", 1, "crash-grouped")
	must(added.ID, err)
	source := must(c.CreateGroupSnapshot(ctx, groups[0], "source"))
	going := must(c.CreateGroupSnapshot(ctx, groups[1], "going"))
	var begun, cloned, taken string
	c.killAmid(t, 6, func() {
		begun = must(c.BeginGroup(ctx, "crash-new", kind, "crash-grouped"))
		cloned = must(c.BeginGroupFrom(ctx, "crash-clone", "group_snapshot_id", source))
		taken = must(c.BeginGroupSnapshot(ctx, groups[2], "taken"))
		must("", c.BeginDeleteGroupSnapshot(ctx, going))
		must("", c.BeginUpdateGroup(ctx, groups[3], added.ID, ""))
		must("", c.BeginDeleteGroup(ctx, groups[4]))
	})

	c.audit(ctx, t)
	for _, id := range []string{begun, cloned} {
		must("", c.DeleteGroup(ctx, id))
	}
	for _, id := range []string{taken, going, source} {
		must("", c.EndGroupSnapshot(ctx, id))
	}
	for _, id := range groups {
		must("", c.DeleteGroup(ctx, id))
	}
	must("", c.Delete(ctx, added.ID)) // of which Cinder does not know that it is in a group, if it is
	c.expectGone(t, added.ID)
	c.expectNoGroups(t)
	c.audit(ctx, t)
}

// countOnBoth has a host write rising numbers, each to one volume and then to the other, until end is called,
// which returns the last.
func (c cloud) countOnBoth(ctx context.Context, t *testing.T, first, second string) (end func() uint64) {
	t.Helper()
	a, b := c.attach(t, first), c.attach(t, second)
	one, two := open(t, a.Info, a.Info.HostNQN), open(t, b.Info, b.Info.HostNQN)
	var stopped atomic.Bool
	begun, ended := make(chan struct{}), make(chan uint64, 1)
	go func() {
		n := uint64(0)
		defer func() { ended <- n }()
		for !stopped.Load() {
			block := binary.LittleEndian.AppendUint64(make([]byte, 0, 4096), n+1)[:4096]
			if one.Write(ctx, block, 0) != nil || two.Write(ctx, block, 0) != nil {
				return
			}
			if n++; n == 1 {
				close(begun)
			}
		}
	}()
	select {
	case <-begun:
	case <-ctx.Done():
		t.Fatal("no write came to an end")
	}
	return func() uint64 {
		t.Helper()
		stopped.Store(true)
		n := <-ended
		for _, attached := range []openstack.Attachment{a, b} {
			if err := c.Detach(ctx, attached); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
}

// counts reads the numbers in the volumes of a group that began as these snapshots or volumes.
func (c cloud) counts(ctx context.Context, t *testing.T, group string, sources [2]string) (a, b uint64) {
	t.Helper()
	members, err := c.Members(ctx, group)
	if err != nil || len(members) != 2 {
		t.Fatalf("members of %s: %+v, %v", group, members, err)
	}
	numbers := map[string]uint64{}
	for _, m := range members {
		numbers[m.SnapshotID+m.SourceID] = binary.LittleEndian.Uint64(c.read(ctx, t, m.ID, 4096))
	}
	for _, source := range sources {
		if _, ok := numbers[source]; !ok {
			t.Errorf("no volume of group %s began as %s: %+v", group, source, members)
		}
	}
	return numbers[sources[0]], numbers[sources[1]]
}

// expectNoGroups checks that nothing about groups is left in the cluster.
func (c cloud) expectNoGroups(t *testing.T) {
	t.Helper()
	groups, err := c.cluster.API.AllGroups(t.Context(), "")
	if err != nil || len(groups) > 0 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	snapshots, err := c.cluster.API.AllSnapshots(t.Context())
	if err != nil || len(snapshots) > 0 {
		t.Errorf("snapshots %+v, %v", snapshots, err)
	}
}
