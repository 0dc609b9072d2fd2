package openstack

import (
	"slices"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Group is a group of Cinder.
type Group struct {
	ID         cluster.UUID
	Consistent bool // its type asks for snapshots of one moment; else the cluster knows nothing of it
	Status     string
}

// Moment is a group snapshot of Cinder.
type Moment struct {
	ID     cluster.UUID
	Group  cluster.UUID
	Status string
}

// ofGroups compares groups. Cinder does not say where a group without volumes is, so none is missing.
func (c *comparison) ofGroups(present []wire.Group) (out []Difference) {
	used := map[cluster.UUID]bool{}
	for _, v := range c.theirs.Volumes {
		used[v.Group] = true
	}
	for _, g := range c.theirs.Groups {
		_, was := c.before.groups[g.ID]
		_, is := c.after.groups[g.ID]
		if used[g.ID] && !was && !is && g.Consistent && g.Status == "available" {
			out = append(out, Difference{Kind: Missing, Resource: group, ID: g.ID, Name: groupName(g.ID)})
		}
	}
	for _, g := range present {
		was, stayed := c.before.groups[g.ID]
		known, theirs := c.groups[g.ID]
		switch {
		case !stayed:
		case theirs && known.Consistent && known.Status == "available":
			out = append(out, c.membersOf(g, was)...)
		case !theirs && g.Name == groupName(g.ID) && c.areOurs(g.Volumes):
			out = append(out, Difference{Kind: Leftover, Resource: group, ID: g.ID, Name: g.Name})
		}
	}
	return out
}

// membersOf compares the volumes of a group, which both have and the cluster had both times.
func (c *comparison) membersOf(g, was wire.Group) (out []Difference) {
	d := Difference{Resource: group, ID: g.ID, Name: g.Name}
	for _, v := range c.theirs.Volumes {
		_, there := c.after.volumes[v.Known]
		if v.Group == g.ID && there && atRest(v.Status) && !slices.Contains(g.Volumes, v.Known) &&
			!slices.Contains(was.Volumes, v.Known) {
			d.Kind, d.Volume = NoMember, v.Known
			out = append(out, d)
		}
	}
	for _, id := range g.Volumes {
		known, theirs := c.volumes[id]
		if known.Group != g.ID && slices.Contains(was.Volumes, id) && (!theirs || atRest(known.Status)) {
			d.Kind, d.Volume = Member, id
			out = append(out, d)
		}
	}
	return out
}

// ofMoments compares group snapshots.
func (c *comparison) ofMoments(present []wire.GroupSnapshot) (out []Difference) {
	for _, m := range c.theirs.Moments {
		_, was := c.before.moments[m.ID]
		_, is := c.after.moments[m.ID]
		_, ours := c.after.groups[m.Group]
		if ours && !was && !is && m.Status == "available" && c.groups[m.Group].Consistent {
			out = append(out, Difference{Kind: Missing, Resource: moment, ID: m.ID, Name: groupName(m.ID)})
		}
	}
	passing := map[cluster.UUID]bool{} // those that groups are being made of
	for _, g := range c.theirs.Groups {
		passing[sourceOf(g.ID)] = g.Status != "available"
	}
	for _, m := range present {
		_, stayed := c.before.moments[m.ID]
		_, theirs := c.moments[m.ID]
		var volumes []cluster.UUID
		for _, part := range m.Snapshots {
			volumes = append(volumes, part.Volume)
		}
		if stayed && !theirs && !passing[m.ID] && m.Name == groupName(m.ID) && c.areOurs(volumes) {
			out = append(out, Difference{Kind: Leftover, Resource: moment, ID: m.ID, Name: m.Name})
		}
	}
	return out
}

// areOurs says whether no other Cinder can have made a group of these volumes: all are in pools of this one
// or, if there are none, all pools are its.
func (c *comparison) areOurs(volumes []cluster.UUID) bool {
	elsewhere := func(pool string) bool { return !slices.Contains(c.theirs.Pools, pool) }
	if len(volumes) == 0 {
		return !slices.ContainsFunc(c.pools, elsewhere)
	}
	return !slices.ContainsFunc(volumes, func(id cluster.UUID) bool {
		return elsewhere(c.after.volumes[id].Pool)
	})
}

// isPart says whether a snapshot of Cinder is a part of a group snapshot that the cluster should have, under
// another id.
func (c *comparison) isPart(s Snapshot) bool {
	m, ok := c.moments[s.Moment]
	return ok && c.groups[m.Group].Consistent
}

// groupName is how the driver names groups and group snapshots.
func groupName(id cluster.UUID) string { return "group-" + id.String() }

// sourceOf is the id of the group snapshot that the driver takes of a group to make another one of it.
func sourceOf(made cluster.UUID) cluster.UUID {
	return cluster.UUID(uuid.NewSHA1(uuid.UUID(made), []byte("source")))
}
