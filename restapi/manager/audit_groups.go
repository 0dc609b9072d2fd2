package manager

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// groups checks that groups and their volumes name each other, that the parts of every group snapshot are
// there, in one state as far as being made goes, and that all have their names and there are no others.
func (a *audit) groups(groups, sets, names, volumes, snapshots store.Result) error {
	nameOf := make(map[string]cluster.UUID)
	for _, it := range names.Items {
		id, err := decode[cluster.UUID](it)
		if err != nil {
			return err
		}
		nameOf[it.Key] = id
	}
	named := func(key string, id cluster.UUID) {
		a.say(nameOf[key] == id, "the name of %s points to %s", id, nameOf[key])
		delete(nameOf, key)
	}
	in := make(map[cluster.UUID]cluster.UUID) // the group of a volume, as the group says
	exists := make(map[cluster.UUID]bool)
	for _, it := range groups.Items {
		g, err := decode[cluster.Group](it)
		if err != nil {
			return err
		}
		a.say(it.Key == cluster.KeyGroup(g.UUID) && g.Validate() == nil, "group %s is malformed: %v", it.Key,
			g.Validate())
		named(cluster.KeyGroupName(g.Name, g.Project), g.UUID)
		exists[g.UUID] = true
		for _, u := range g.Volumes {
			a.say(in[u].IsZero(), "volume %s is in two groups", u)
			in[u] = g.UUID
		}
	}
	for _, it := range volumes.Items {
		v, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		a.say(v.Group == in[v.UUID], "volume %s says it is in group %s, and that is %s", v.UUID, v.Group,
			in[v.UUID])
		delete(in, v.UUID)
	}
	a.say(len(in) == 0, "groups name volumes that do not exist: %v", in)
	if err := a.groupSnapshots(sets, snapshots, exists, named); err != nil {
		return err
	}
	a.say(len(nameOf) == 0, "names of no group or group snapshot: %v", nameOf)
	return nil
}

func (a *audit) groupSnapshots(sets, snapshots store.Result, groups map[cluster.UUID]bool,
	named func(string, cluster.UUID)) error {
	parts := make(map[cluster.UUID]cluster.Snapshot)
	for _, it := range snapshots.Items {
		s, err := decode[cluster.Snapshot](it)
		if err != nil {
			return err
		}
		if s.Set != nil {
			parts[s.UUID] = s
		}
	}
	for _, it := range sets.Items {
		g, err := decode[cluster.GroupSnapshot](it)
		if err != nil {
			return err
		}
		a.say(it.Key == cluster.KeyGroupSnapshot(g.UUID) && g.Validate() == nil,
			"group snapshot %s is malformed: %v",
			it.Key, g.Validate())
		a.say(groups[g.Group], "group snapshot %s is of group %s, which does not exist", g.UUID, g.Group)
		named(cluster.KeyGroupSnapshotName(g.Group, g.Name), g.UUID)
		creating := 0
		for _, u := range g.Snapshots {
			p, ok := parts[u]
			delete(parts, u)
			a.say(ok && p.Set.UUID == g.UUID && p.Name == g.Name && !p.Hidden &&
				int(p.Set.Volumes) == len(g.Snapshots) && p.State != cluster.SnapshotDeleting,
				"part %s of group snapshot %s: %+v", u, g.UUID, p)
			if p.State == cluster.SnapshotCreating {
				creating++
			}
		}
		a.say(creating == 0 || creating == len(g.Snapshots), "%d of %d parts of group snapshot %s are made",
			len(g.Snapshots)-creating, len(g.Snapshots), g.UUID)
	}
	for _, p := range parts { // their group snapshot was deleted
		a.say(p.Hidden || p.State == cluster.SnapshotDeleting, "snapshot %s is part of no group snapshot", p.UUID)
	}
	return nil
}
