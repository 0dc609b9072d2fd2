package delta

import (
	"maps"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestNewsAreBelievedByWhoKnowsTheStateBefore, and by nobody else.
func TestNewsAreBelievedByWhoKnowsTheStateBefore(t *testing.T) {
	one, two := cluster.VolumeKey{VUID: 1, Generation: 1}, cluster.VolumeKey{VUID: 2, Generation: 1}
	was := &cluster.State{Revision: 7}
	is := &cluster.State{Revision: 9, News: &cluster.News{Since: 7, Volumes: []cluster.VolumeKey{one},
		Owners: []cluster.VolumeKey{two}}, Volumes: map[cluster.VolumeKey]*cluster.Volume{one: {}, two: {}},
		Owners: map[cluster.VolumeKey]*cluster.OwnerAt{one: {}, two: {}}}
	if v, o := Volumes(was, is), Owners(was, is); !slices.Equal(v, is.News.Volumes) ||
		!slices.Equal(o, is.News.Owners) {
		t.Errorf("volumes %v, owners %v", v, o)
	}
	was.Revision = 6
	if v, o := Volumes(was, is), Owners(was, is); len(v) != 2 || len(o) != 2 {
		t.Errorf("who has missed a state: volumes %v, owners %v", v, o)
	}
}

// TestKeys: what is new, another one or gone is told; what two states share is not.
func TestKeys(t *testing.T) {
	was := map[cluster.NodeID]*cluster.Node{1: {}, 2: {}, 3: {}}
	is := maps.Clone(was)
	if got := Keys(was, is); len(got) != 0 {
		t.Errorf("of a copy %v changed", got)
	}
	is[2], is[4] = &cluster.Node{}, &cluster.Node{}
	delete(is, 3)
	got := Keys(was, is)
	if slices.Sort(got); !slices.Equal(got, []cluster.NodeID{2, 3, 4}) {
		t.Errorf("%v changed", got)
	}
	if got := Keys(nil, was); len(got) != len(was) {
		t.Errorf("at first %v changed", got)
	}
	was[1] = &cluster.Node{} // nobody may do that: nothing of a shared collection is looked at
	if got := Keys(was, was); len(got) != 0 {
		t.Errorf("of the same collection %v changed", got)
	}
}
