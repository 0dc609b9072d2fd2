package placement

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Devices lists the present members of the pool, by number.
func (t *Table) Devices() []cluster.DeviceID {
	var out []cluster.DeviceID
	for _, m := range t.roster.Present() {
		out = append(out, m.Device)
	}
	slices.Sort(out)
	return out
}

// Apart reports whether a device is in another failure domain of the pool's level than all the others.
func (t *Table) Apart(d cluster.DeviceID, others []cluster.DeviceID) bool {
	pos, known := t.roster.At(d)
	return known && !slices.ContainsFunc(others, func(o cluster.DeviceID) bool {
		at, known := t.roster.At(o)
		return known && t.rule.upper[at] == t.rule.upper[pos]
	})
}
