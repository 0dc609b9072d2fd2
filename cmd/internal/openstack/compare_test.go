package openstack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func id(n int) cluster.UUID { return cluster.UUID{15: byte(n)} }

// made is a volume as the driver makes it.
func made(n int, hosts ...string) wire.Volume {
	return wire.Volume{ID: id(n), Name: "volume-" + id(n).String(), Pool: "gold", Hosts: hosts}
}

func taken(n, of int, hosts ...string) wire.Snapshot {
	return wire.Snapshot{ID: id(n), Name: "snapshot-" + id(n).String(), Volume: id(of), Hosts: hosts,
		State: cluster.SnapshotAvailable}
}

// known is a volume of Cinder that goes by its own id.
func known(n int, status string, hosts ...string) Volume {
	return Volume{ID: id(n), Known: id(n), Status: status, Hosts: hosts}
}

// has is a cluster with a volume and its snapshots.
func has(v wire.Volume, snapshots ...wire.Snapshot) Cluster {
	return Cluster{Volumes: []wire.Volume{v}, Snapshots: snapshots}
}

func knows(vs ...Volume) Cinder { return Cinder{Volumes: vs} }

// and adds a snapshot of volume 1 to what Cinder has.
func (c Cinder) and(n int, status string) Cinder {
	c.Snapshots = append(c.Snapshots, Snapshot{ID: id(n), Volume: id(1), Status: status})
	return c
}

// TestCompare: what two sides have, and how they differ.
func TestCompare(t *testing.T) {
	renamed, elsewhere := made(1), made(1)
	renamed.Name, elsewhere.Pool = "mine", "of nobody"
	managed, ending := taken(9, 1), taken(9, 1)
	managed.Name, ending.State = "monday", cluster.SnapshotDeleting
	copied := Volume{ID: id(1), Known: id(2), Status: "available"}
	vague := Volume{ID: id(1), Known: id(1), Status: "in-use", Vague: true}
	none := Cluster{}
	for _, x := range []struct {
		what          string
		before, after Cluster
		theirs        Cinder
		want          string
	}{
		{"nothing anywhere", none, none, knows(), ""},
		{"the same", has(made(1, "a"), taken(9, 1)), has(made(1, "a"), taken(9, 1)),
			knows(known(1, "in-use", "a")).and(9, "available"), ""},

		{"a volume is lost", none, none, knows(known(1, "available")), "missing volume 1"},
		{"it was never made", none, none, knows(known(1, "error"), known(2, "creating"), known(3, "deleting")), ""},
		{"it was made meanwhile", none, has(made(1)), knows(known(1, "available")), ""},
		{"it was deleted meanwhile", has(made(1)), none, knows(known(1, "available")), ""},
		{"it goes by another id", has(made(2)), has(made(2)), knows(copied), ""},

		{"a volume is left over", has(made(1)), has(made(1)), knows(), "left over volume 1"},
		{"one that is going", has(made(1)), none, knows(), ""},
		{"one that Cinder makes next", none, has(made(1)), knows(), ""},
		{"one that a person made", has(renamed), has(renamed), knows(), ""},
		{"one of another pool", has(elsewhere), has(elsewhere), knows(), ""},

		{"a host has access still", has(made(1, "a", "b")), has(made(1, "a", "b")), knows(known(1, "in-use", "b")),
			"access volume 1 a"},
		{"while an image is copied", has(made(1, "a")), has(made(1, "a")), knows(known(1, "uploading")), ""},
		{"since a moment", has(made(1)), has(made(1, "a")), knows(known(1, "available")), ""},
		{"by whom Cinder does not say", has(made(1, "a")), has(made(1, "a")), knows(vague), ""},
		{"a host has no access", has(made(1)), has(made(1)), knows(known(1, "in-use", "a")),
			"no access volume 1 a"},

		{"a snapshot is lost", has(made(1)), has(made(1)), knows(known(1, "available")).and(9, "available"),
			"missing snapshot 9"},
		{"it may be one from before", has(made(1), managed), has(made(1), managed),
			knows(known(1, "available")).and(8, "available"), ""},
		{"of a volume elsewhere", none, none, knows().and(9, "available"), ""},
		{"a snapshot is left over", has(made(1), taken(9, 1)), has(made(1), taken(9, 1)),
			knows(known(1, "available")), "left over snapshot 9"},
		{"with its volume", has(made(1), taken(9, 1)), has(made(1), taken(9, 1)), knows(),
			"left over snapshot 9; left over volume 1"},
		{"one that Cinder takes next", has(made(1)), has(made(1), taken(9, 1)), knows(known(1, "available")), ""},
		{"it is going", has(made(1), ending), has(made(1), ending), knows(known(1, "available")), ""},
		{"a host reads one still", has(made(1), taken(9, 1, "a")), has(made(1), taken(9, 1, "a")),
			knows(known(1, "available")).and(9, "available"), "access snapshot 9 a"},
		{"for a backup", has(made(1), taken(9, 1, "a")), has(made(1), taken(9, 1, "a")),
			knows(known(1, "backing-up")).and(9, "backing-up"), ""},
	} {
		if text := compared(x.before, x.theirs, x.after); text != x.want {
			t.Errorf("%s: %q, want %q", x.what, text, x.want)
		}
	}
}

// compared is how a Cinder with the pool gold and a cluster differ.
func compared(before Cluster, theirs Cinder, after Cluster) string {
	theirs.Pools = []string{"gold"}
	var out []string
	for _, d := range Compare(before, theirs, after) {
		text := fmt.Sprint(d.Kind, " ", d.Resource, " ", d.ID[15], " ", d.Host)
		if !d.Volume.IsZero() {
			text += fmt.Sprint(d.Volume[15])
		}
		out = append(out, strings.TrimSpace(text))
	}
	return strings.Join(out, "; ")
}
