package delta

import (
	"maps"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

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
