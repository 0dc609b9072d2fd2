package openstack

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// grouping is a cluster with group 20 of volumes, among volumes 1 and 2.
func grouping(volumes ...cluster.UUID) Cluster {
	return Cluster{Pools: []string{"gold"}, Volumes: []wire.Volume{made(1), made(2)},
		Groups: []wire.Group{{ID: id(20), Name: groupName(id(20)), Volumes: volumes}}}
}

// at adds a group snapshot of volume 1.
func (c Cluster) at(n cluster.UUID) Cluster {
	c.Moments = append(c.Moments, wire.GroupSnapshot{ID: n, Name: groupName(n), Group: id(20),
		Snapshots: []wire.GroupPart{{Volume: id(1), Snapshot: id(11)}}})
	c.Snapshots = append(c.Snapshots, wire.Snapshot{ID: id(11), Name: groupName(n) + "-1", Volume: id(1),
		GroupSnapshot: n, State: cluster.SnapshotAvailable})
	return c
}

// groups is a Cinder whose volume 1 is in group 20, and volume 2 in none.
func groups(status string) Cinder {
	member := known(1, "available")
	member.Group = id(20)
	return Cinder{Volumes: []Volume{member, known(2, "available")},
		Groups: []Group{{ID: id(20), Consistent: true, Status: status}}}
}

// at adds group snapshot 30, and the snapshot that is its part.
func (c Cinder) at(status string) Cinder {
	c.Moments = append(c.Moments, Moment{ID: id(30), Group: id(20), Status: status})
	c.Snapshots = append(c.Snapshots, Snapshot{ID: id(31), Volume: id(1), Moment: id(30), Status: status})
	return c
}

// TestCompareGroups: what two sides have of groups, and how they differ.
func TestCompareGroups(t *testing.T) {
	ungrouped := Cluster{Pools: []string{"gold"}, Volumes: []wire.Volume{made(1), made(2)}}
	forgotten := knows(known(1, "available"), known(2, "available"))
	generic, empty, busy := groups("available"), groups("available"), groups("available")
	generic.Groups[0].Consistent = false
	empty.Volumes[0].Group = cluster.UUID{}
	busy.Volumes[0].Status = "extending"
	mine, elsewhere, shared := grouping(id(1)), grouping(id(1)), grouping()
	mine.Groups[0].Name = "mine"
	elsewhere.Volumes[0].Pool = "of nobody"
	shared.Pools = []string{"gold", "of another Cinder"}
	copying := forgotten
	copying.Groups = []Group{{ID: id(21), Consistent: true, Status: "creating"}}
	copied := forgotten
	copied.Groups = []Group{{ID: id(21), Consistent: true, Status: "available"}}
	g := grouping(id(1))
	source := sourceOf(id(21))
	for _, x := range []struct {
		what          string
		before, after Cluster
		theirs        Cinder
		want          string
	}{
		{"the same", g.at(id(30)), g.at(id(30)), groups("available").at("available"), ""},

		{"a group is lost", ungrouped, ungrouped, groups("available"), "missing group 20"},
		{"it was never made", ungrouped, ungrouped, groups("error"), ""},
		{"it was made meanwhile", ungrouped, g, groups("available"), ""},
		{"the cluster is not asked for such", ungrouped, ungrouped, generic, ""},
		{"it may be elsewhere", ungrouped, ungrouped, empty, ""},

		{"a group is left over", g, g, forgotten, "left over group 20"},
		{"one that Cinder makes next", ungrouped, g, forgotten, ""},
		{"one that a person made", mine, mine, forgotten, ""},
		{"one of another pool", elsewhere, elsewhere, forgotten, ""},
		{"one without volumes", grouping(), grouping(), forgotten, "left over group 20"},
		{"that another Cinder may have made", shared, shared, forgotten, ""},

		{"a volume is not in its group", grouping(), grouping(), groups("available"), "no member group 20 1"},
		{"since a moment", g, grouping(), groups("available"), ""},
		{"while it is changed", grouping(), grouping(), groups("updating"), ""},
		{"while something is done with it", grouping(), grouping(), busy, ""},
		{"another one is in it", grouping(id(1), id(2)), grouping(id(1), id(2)), groups("available"),
			"member group 20 2"},
		{"since a moment", g, grouping(id(1), id(2)), groups("available"), ""},
		{"one that Cinder does not know", grouping(id(1), id(3)), grouping(id(1), id(3)), groups("available"),
			"member group 20 3"},

		{"a group snapshot is lost", g, g, groups("available").at("available"), "missing group snapshot 30"},
		{"it was never taken", g, g, groups("available").at("error"), ""},
		{"it was taken meanwhile", g, g.at(id(30)), groups("available").at("available"), ""},
		{"a group snapshot is left over", g.at(id(30)), g.at(id(30)), groups("available"),
			"left over group snapshot 30"},
		{"with its group", g.at(id(30)), g.at(id(30)), forgotten,
			"left over group snapshot 30; left over group 20"},
		{"one that Cinder takes next", g, g.at(id(30)), groups("available"), ""},
		{"one that a group is being made of", grouping().at(source), grouping().at(source), copying,
			"left over group 20"},
		{"and was made of", ungrouped.at(source), ungrouped.at(source), copied,
			fmt.Sprint("left over group snapshot ", source[15])},
	} {
		if text := compared(x.before, x.theirs, x.after); text != x.want {
			t.Errorf("%s: %q, want %q", x.what, text, x.want)
		}
	}
}
