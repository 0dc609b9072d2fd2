package openstack

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Volume is a volume of Cinder in one of the cluster's pools.
type Volume struct {
	ID     cluster.UUID // in Cinder
	Known  cluster.UUID // in the cluster: another one after a migration, or when it was there before Cinder
	Status string
	Group  cluster.UUID // that it is in; zero: in none
	Hosts  []string     // host NQNs of its attachments
	Vague  bool         // hosts may use it of which Cinder does not say the NQN
}

// Snapshot is a snapshot of Cinder.
type Snapshot struct {
	ID     cluster.UUID
	Volume cluster.UUID // in Cinder
	Moment cluster.UUID // group snapshot that it is a part of; zero: of none
	Status string
}

// Cinder is what Cinder has in one cluster.
type Cinder struct {
	Pools     []string // of the cluster, which its back ends offer
	Volumes   []Volume
	Snapshots []Snapshot // also of volumes elsewhere
	Groups    []Group    // also of volumes elsewhere
	Moments   []Moment   // also of groups elsewhere
}

// Cluster is what a cluster has.
type Cluster struct {
	Pools     []string
	Volumes   []wire.Volume
	Snapshots []wire.Snapshot
	Groups    []wire.Group
	Moments   []wire.GroupSnapshot
}

// Kind is what kind of difference one is.
type Kind string

// The kinds.
const (
	Missing  Kind = "missing"   // Cinder has it, the cluster does not
	Leftover Kind = "left over" // Cinder made it and does not know it any more
	Access   Kind = "access"    // a host may use it to which Cinder did not give it
	NoAccess Kind = "no access" // a host may not use it to which Cinder gave it
	Member   Kind = "member"    // a volume is in the group that Cinder did not put there
	NoMember Kind = "no member" // a volume is not in the group that Cinder put there
)

// Difference is one thing that the two sides do not agree about.
type Difference struct {
	Kind     Kind         `json:"kind"`
	Resource string       `json:"resource"` // "volume", "snapshot", "group" or "group snapshot"
	ID       cluster.UUID `json:"id"`       // in the cluster, where it is or should be
	Name     string       `json:"name,omitempty"`
	Host     string       `json:"host,omitempty"`  // NQN, where it is about access
	Volume   cluster.UUID `json:"volume,omitzero"` // where it is about members
	Repaired bool         `json:"repaired"`
}

const (
	volume   = "volume"
	snapshot = "snapshot"
	group    = "group"
	moment   = "group snapshot" // a word for it that is one
)

// order is that of the differences, and of repairs: what keeps others from being deleted goes first.
func order(resource string) int {
	return slices.Index([]string{moment, group, snapshot, volume}, resource)
}

// Compare lists the differences: those of group snapshots, of groups, of snapshots, and of volumes, each by
// id and what it is about.
func Compare(before Cluster, theirs Cinder, after Cluster) []Difference {
	c := comparison{theirs: theirs, pools: after.Pools, before: indexOf(before), after: indexOf(after),
		volumes: map[cluster.UUID]Volume{}, places: map[cluster.UUID]cluster.UUID{},
		snapshots: map[cluster.UUID]Snapshot{}, groups: map[cluster.UUID]Group{},
		moments: map[cluster.UUID]Moment{}}
	for _, v := range theirs.Volumes {
		c.volumes[v.Known], c.places[v.ID] = v, v.Known
	}
	for _, s := range theirs.Snapshots {
		c.snapshots[s.ID] = s
	}
	for _, g := range theirs.Groups {
		c.groups[g.ID] = g
	}
	for _, m := range theirs.Moments {
		c.moments[m.ID] = m
	}
	out := slices.Concat(c.ofMoments(after.Moments), c.ofGroups(after.Groups), c.ofSnapshots(after.Snapshots),
		c.ofVolumes(after.Volumes))
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(order(a.Resource)-order(b.Resource), bytes.Compare(a.ID[:], b.ID[:]),
			strings.Compare(a.Host, b.Host), bytes.Compare(a.Volume[:], b.Volume[:]))
	})
	return out
}

// index finds things of a cluster by id.
type index struct {
	volumes   map[cluster.UUID]wire.Volume
	snapshots map[cluster.UUID]wire.Snapshot
	groups    map[cluster.UUID]wire.Group
	moments   map[cluster.UUID]wire.GroupSnapshot
}

func indexOf(c Cluster) index {
	x := index{map[cluster.UUID]wire.Volume{}, map[cluster.UUID]wire.Snapshot{}, map[cluster.UUID]wire.Group{},
		map[cluster.UUID]wire.GroupSnapshot{}}
	for _, v := range c.Volumes {
		x.volumes[v.ID] = v
	}
	for _, s := range c.Snapshots {
		x.snapshots[s.ID] = s
	}
	for _, g := range c.Groups {
		x.groups[g.ID] = g
	}
	for _, m := range c.Moments {
		x.moments[m.ID] = m
	}
	return x
}

type comparison struct {
	theirs        Cinder
	pools         []string // of the cluster
	before, after index
	volumes       map[cluster.UUID]Volume       // of Cinder, by id in the cluster
	places        map[cluster.UUID]cluster.UUID // id in Cinder to id in the cluster
	snapshots     map[cluster.UUID]Snapshot     // of Cinder
	groups        map[cluster.UUID]Group        // of Cinder
	moments       map[cluster.UUID]Moment       // of Cinder
}

func (c *comparison) ofVolumes(present []wire.Volume) (out []Difference) {
	for _, v := range c.theirs.Volumes {
		_, was := c.before.volumes[v.Known]
		_, is := c.after.volumes[v.Known]
		if !was && !is && atRest(v.Status) {
			out = append(out, Difference{Kind: Missing, Resource: volume, ID: v.Known,
				Name: "volume-" + v.ID.String()})
		}
	}
	for _, v := range present {
		was, stayed := c.before.volumes[v.ID]
		known, theirs := c.volumes[v.ID]
		switch {
		case !stayed:
		case theirs && atRest(known.Status):
			out = append(out, accessOf(known, v, was)...)
		case !theirs && v.Name == "volume-"+v.ID.String() && slices.Contains(c.theirs.Pools, v.Pool):
			out = append(out, Difference{Kind: Leftover, Resource: volume, ID: v.ID, Name: v.Name})
		}
	}
	return out
}

// accessOf compares the hosts of a volume, which the cluster had both times.
func accessOf(theirs Volume, v, was wire.Volume) (out []Difference) {
	d := Difference{Resource: volume, ID: v.ID, Name: v.Name}
	for _, host := range v.Hosts {
		if !theirs.Vague && !slices.Contains(theirs.Hosts, host) && slices.Contains(was.Hosts, host) {
			d.Kind, d.Host = Access, host
			out = append(out, d)
		}
	}
	for _, host := range theirs.Hosts {
		if !slices.Contains(v.Hosts, host) && !slices.Contains(was.Hosts, host) {
			d.Kind, d.Host = NoAccess, host
			out = append(out, d)
		}
	}
	return out
}

func (c *comparison) ofSnapshots(present []wire.Snapshot) (out []Difference) {
	foreign := map[cluster.UUID]bool{} // volumes with a snapshot that may be one that Cinder took over
	for _, s := range present {
		foreign[s.Volume] = foreign[s.Volume] || !named(s) && s.GroupSnapshot.IsZero()
	}
	for _, s := range c.theirs.Snapshots {
		place, ours := c.places[s.Volume]
		_, was := c.before.snapshots[s.ID]
		_, is := c.after.snapshots[s.ID]
		if ours && !was && !is && !foreign[place] && s.Status == "available" && !c.isPart(s) {
			out = append(out, Difference{Kind: Missing, Resource: snapshot, ID: s.ID,
				Name: "snapshot-" + s.ID.String()})
		}
	}
	for _, s := range present {
		was, stayed := c.before.snapshots[s.ID]
		known, theirs := c.snapshots[s.ID]
		pool := c.after.volumes[s.Volume].Pool
		switch {
		case !stayed || !named(s) || s.State == cluster.SnapshotDeleting || !slices.Contains(c.theirs.Pools, pool):
		case !theirs:
			out = append(out, Difference{Kind: Leftover, Resource: snapshot, ID: s.ID, Name: s.Name})
		case known.Status == "available":
			// Only a backup reads one, and then it says so.
			for _, host := range s.Hosts {
				if slices.Contains(was.Hosts, host) {
					out = append(out, Difference{Kind: Access, Resource: snapshot, ID: s.ID, Name: s.Name,
						Host: host})
				}
			}
		}
	}
	return out
}

// named says whether a snapshot has the name that Cinder gives.
func named(s wire.Snapshot) bool { return s.Name == "snapshot-"+s.ID.String() }

// atRest says whether nothing is going on with a volume of this status, and it is whole.
func atRest(status string) bool { return status == "available" || status == "in-use" }
