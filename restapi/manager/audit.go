package manager

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// Audit checks every rule that must hold between records, and lists what is broken. It is what "nothing is
// half created" means: the tests run it after every failure they make.
func (m *Manager) Audit(ctx context.Context) ([]string, error) {
	v, err := m.readMap(ctx, store.All(cluster.PrefixVolumes), store.All(cluster.PrefixNames),
		store.All(cluster.PrefixOwners), store.Key(cluster.KeyCounterVUID), store.Key(cluster.KeyCounterDevice),
		store.Key(cluster.KeyCounterNode), store.Key(cluster.KeyCounterPool),
		store.All(cluster.PrefixProjects), store.All(cluster.PrefixSnapshots),
		store.All(cluster.PrefixSnapshotNames), store.All(cluster.PrefixHiddenVolumes),
		store.All(cluster.PrefixHiddenSnapshots), store.All(cluster.PrefixUnclaimed),
		store.All(cluster.PrefixFlattening), store.All(cluster.PrefixProvisioned),
		store.All(cluster.PrefixGroups), store.All(cluster.PrefixGroupNames),
		store.All(cluster.PrefixGroupSnapshots), store.All(cluster.PrefixGroupSnapshotNames),
		store.All(cluster.PrefixSchedule), store.All(cluster.PrefixShrinking))
	if err != nil {
		return nil, err
	}
	a := &audit{v: v}
	snap := store.Snapshot{Results: v.extra}
	for i, limit := range []*uint64{&a.lastVUID, &a.lastDevice, &a.lastNode, &a.lastPool} {
		if *limit, err = counter(snap.One(3 + i)); err != nil {
			return nil, err
		}
	}
	a.auditMap()
	if err := a.volumes(v.extra[0], v.extra[1], v.extra[2]); err != nil {
		return nil, err
	}
	if err := a.projects(v.extra[0], v.extra[7]); err != nil {
		return nil, err
	}
	names := v.extra[9]
	names.Items = slices.Concat(names.Items, v.extra[11].Items)
	if err := a.snapshots(v.extra[8], names, v.extra[0], v.extra[2]); err != nil {
		return nil, err
	}
	if err := a.shrinking(v.extra[0], v.extra[20], names); err != nil {
		return nil, err
	}
	if err := a.clones(v.extra[0], v.extra[2], v.extra[8], v.extra[10], v.extra[12]); err != nil {
		return nil, err
	}
	if err := a.flattening(v.extra[0], v.extra[13]); err != nil {
		return nil, err
	}
	if err := a.provisioned(v.extra[0], v.extra[14]); err != nil {
		return nil, err
	}
	names = v.extra[16]
	names.Items = slices.Concat(names.Items, v.extra[18].Items)
	if err := a.groups(v.extra[15], v.extra[17], names, v.extra[0], v.extra[8]); err != nil {
		return nil, err
	}
	if err := a.schedules(v.extra[19], v.extra[0], v.extra[15]); err != nil {
		return nil, err
	}
	return a.broken, nil
}

type audit struct {
	v                                        *view
	lastVUID, lastDevice, lastNode, lastPool uint64
	broken                                   []string
}

func (a *audit) say(ok bool, format string, args ...any) {
	if !ok {
		a.broken = append(a.broken, fmt.Sprintf(format, args...))
	}
}

// auditMap checks references and counters within the map.
func (a *audit) auditMap() {
	uuids := make(map[cluster.UUID]bool)
	for n, node := range a.v.Nodes {
		a.say(a.v.revs[cluster.KeyNode(n)] != 0, "node %d is not at its key", n)
		a.say(uint64(n) <= a.lastNode, "node %d is above the counter %d", n, a.lastNode)
		a.say(!uuids[node.UUID], "two nodes have the uuid %s", node.UUID)
		uuids[node.UUID] = true
	}
	for n, d := range a.v.Devices {
		a.say(a.v.revs[cluster.KeyDevice(n)] != 0, "device %d is not at its key", n)
		a.say(uint64(n) <= a.lastDevice, "device %d is above the counter %d", n, a.lastDevice)
		a.say(a.v.Nodes[d.Node] != nil, "device %d is on node %d, which does not exist", n, d.Node)
		a.say(!uuids[d.UUID], "two devices have the uuid %s", d.UUID)
		uuids[d.UUID] = true
	}
	for name, p := range a.v.Pools {
		a.say(a.v.revs[cluster.KeyPool(name)] != 0, "pool %q is not at its key", name)
		a.say(uint64(p.ID) <= a.lastPool, "pool %q has id %d above the counter %d", name, p.ID, a.lastPool)
		a.say(p.Validate() == nil, "pool %q is malformed: %v", name, p.Validate())
		a.say(p.Validate() == nil, "pool %q is malformed: %v", name, p.Validate())
		for _, d := range p.Devices() {
			a.say(a.v.Devices[d] == nil || a.v.Devices[d].State == cluster.DeviceOnline,
				"pool %q is on device %d, which is not online", name, d)
		}
		for _, d := range p.Devices() {
			a.say(a.v.Devices[d] != nil, "pool %q is on device %d, which does not exist", name, d)
		}
	}
	voters := a.v.Voters.Nodes
	a.say(len(voters) > 0 || len(a.v.Pools) == 0, "%d voters and %d pools", len(voters), len(a.v.Pools))
	a.say(len(voters) == 0 || len(voters)%2 == 1, "an even number of voters: %v", voters)
	for _, n := range voters {
		a.say(a.v.Nodes[n] != nil, "voter %d does not exist", n)
	}
}

// volumes checks that every volume has its name and owner record, and that there are no others.
func (a *audit) volumes(volumes, names, owners store.Result) error {
	nameOf := make(map[string]string) // name key -> uuid
	for _, it := range names.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		nameOf[it.Key] = id.String()
	}
	ownerOf := make(map[string]bool)
	for _, it := range owners.Items {
		ownerOf[it.Key] = true
	}
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		id := rec.UUID.String()
		a.say(strings.HasSuffix(it.Key, id), "volume %s is at key %s", id, it.Key)
		a.say(rec.Validate() == nil, "volume %s is malformed: %v", id, rec.Validate())
		a.say(a.v.Pools[rec.Pool] != nil, "volume %s is in pool %q, which does not exist", id, rec.Pool)
		a.say(rec.Key.Serial() <= a.lastVUID, "volume %s has the key %v, above the counter (%d)", id,
			rec.Key, a.lastVUID)
		owner := cluster.KeyOwner(rec.Key)
		a.say(ownerOf[owner], "volume %s has no owner record, or shares it", id)
		delete(ownerOf, owner)
		if rec.Hidden {
			continue
		}
		name := cluster.KeyVolumeName(rec.Pool, rec.Name, rec.Project)
		a.say(nameOf[name] == id, "the name of volume %s points to %q", id, nameOf[name])
		delete(nameOf, name)
	}
	a.say(len(nameOf) == 0, "names without volume: %v", nameOf)
	a.say(len(ownerOf) == 0, "owner records without volume: %v", ownerOf)
	return nil
}

// projects checks that every project is charged for what it has.
func (a *audit) projects(volumes, projects store.Result) error {
	used := make(map[string]cluster.Usage)
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		if rec.Project != "" && !rec.Hidden {
			used[rec.Project] = used[rec.Project].Plus(1, int64(rec.Size))
		}
	}
	for _, it := range projects.Items {
		p, err := decode[cluster.Project](it)
		if err != nil {
			return err
		}
		a.say(it.Key == cluster.KeyProject(p.Name), "project %q is at key %s", p.Name, it.Key)
		a.say(p.Used == used[p.Name], "project %q is charged for %+v and has %+v", p.Name, p.Used, used[p.Name])
		delete(used, p.Name)
	}
	a.say(len(used) == 0, "projects without record: %v", used)
	return nil
}

// snapshots checks that every snapshot has its volume and its name, that there are no other names, that a
// volume is reverted to one of them at a time, and that the view lists of the volumes name the pins of their
// snapshots and no others.
func (a *audit) snapshots(snapshots, names, volumes, owners store.Result) error {
	nameOf := make(map[string]string) // name key -> uuid
	for _, it := range names.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		nameOf[it.Key] = id.String()
	}
	reverts := make(map[string]cluster.UUID) // key of the volume's record -> what it was asked last to be
	for _, it := range volumes.Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		reverts[it.Key] = cluster.UUID{}
		if rec.Revert != nil {
			reverts[it.Key] = rec.Revert.Snapshot
		}
	}
	pinned := make(map[string][]cluster.Seq) // by key of the owner record
	for _, it := range snapshots.Items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return err
		}
		a.say(it.Key == cluster.KeySnapshot(rec.UUID), "snapshot %s is at key %s", rec.UUID, it.Key)
		a.say(rec.Validate() == nil, "snapshot %s is malformed: %v", rec.UUID, rec.Validate())
		asked, exists := reverts[cluster.KeyVolume(rec.Volume)]
		a.say(exists, "snapshot %s is of volume %s, which does not exist", rec.UUID, rec.Volume)
		a.say(rec.State != cluster.SnapshotReverting || asked == rec.UUID, "volume %s is being reverted to %s, "+
			"and was asked last to be %s", rec.Volume, rec.UUID, asked)
		name := rec.NameKey()
		a.say(nameOf[name] == rec.UUID.String(), "the name of snapshot %s points to %q", rec.UUID, nameOf[name])
		delete(nameOf, name)
		if rec.Pin != 0 {
			key := cluster.KeyOwner(rec.Key)
			pinned[key] = append(pinned[key], rec.Pin)
		}
	}
	a.say(len(nameOf) == 0, "names without snapshot: %v", nameOf)
	for _, it := range owners.Items {
		owner, err := decode[cluster.Owner](it)
		if err != nil {
			return err
		}
		pins := pinned[it.Key]
		slices.Sort(pins)
		a.say(slices.Equal(owner.View.Pins, pins), "%s pins %v, its snapshots %v", it.Key, owner.View.Pins, pins)
	}
	return nil
}
