package placement

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Alternate names the device that stands in for an unavailable column of a group: the draw of the column
// goes on over the present members, without those that are not ok (down, full) and without used ones
// (alternates that the page has already). No failure domain of another column or of a used device is
// chosen; the domain of the unavailable device itself may be. If there is no such device and the pool's
// policy relaxes, a used domain is good enough, in another domain of the level below.
//
// The answer depends on the table and the arguments only. It is recorded by who asks: a later table may
// name another one.
func (t *Table) Alternate(group, column int, used []cluster.DeviceID, ok func(cluster.DeviceID) bool,
) (cluster.DeviceID, bool) {
	taken := slices.Clone(t.row(group))
	for _, d := range used {
		if pos, known := t.roster.At(d); known {
			taken = append(taken, int32(pos))
		}
	}
	self := taken[column]
	accept := func(r *rule) func(pos int32) bool {
		return func(pos int32) bool {
			return pos != self && r.fits(taken, column, pos) && ok(t.roster.Members[pos].Device)
		}
	}
	pos, found := t.list.draw(group, column, accept(&t.rule))
	if !found && t.policy.Relax {
		relaxed := t.rule
		relaxed.limit = len(taken) + 1
		pos, found = t.list.draw(group, column, accept(&relaxed))
	}
	if !found {
		return 0, false
	}
	return t.roster.Members[pos].Device, true
}
