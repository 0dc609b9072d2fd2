package placement

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func anyOf(cluster.DeviceID) bool { return true }

// TestAlternates: one is found exactly when there is one, it breaks no rule, and with all devices up it
// is the same on every node.
func TestAlternates(t *testing.T) {
	table := mustNew(t, pool(3, cluster.DomainNode, members(1, 5, 2, 3, 5)))
	table = mustFold(t, table, leave(cluster.ChangeFail, 100))
	rapid.Check(t, func(t *rapid.T) {
		group, column := rapid.IntRange(0, Groups-1).Draw(t, "group"), rapid.IntRange(0, 2).Draw(t, "column")
		down, used := map[cluster.DeviceID]bool{}, []cluster.DeviceID(nil)
		blocked := map[string]bool{}
		node := func(d cluster.DeviceID) string {
			pos, _ := table.roster.At(d)
			return table.roster.Members[pos].Domain
		}
		for c, d := range table.Row(group) {
			if c != column {
				blocked[node(d)] = true
			}
		}
		for _, m := range table.roster.Present() {
			down[m.Device] = rapid.Bool().Draw(t, "down")
			if rapid.IntRange(0, 7).Draw(t, "used") == 0 {
				used = append(used, m.Device)
				blocked[m.Domain] = true
			}
		}
		self := table.Row(group)[column]
		possible := map[cluster.DeviceID]bool{}
		for _, m := range table.roster.Present() {
			if !down[m.Device] && !blocked[m.Domain] && m.Device != self {
				possible[m.Device] = true
			}
		}
		ok := func(d cluster.DeviceID) bool { return !down[d] }
		got, found := table.Alternate(group, column, used, ok)
		if found != (len(possible) > 0) || found && !possible[got] {
			t.Fatalf("device %d, %v; possible are %v", got, found, possible)
		}
	})
}

// TestAlternatesAreSpread: the load of a failed device falls on all others by weight.
func TestAlternatesAreSpread(t *testing.T) {
	table := mustNew(t, pool(2, cluster.DomainNode, members(1, 10, 1, 1)))
	count, columns := map[cluster.DeviceID]int{}, 0
	for g := range Groups {
		for c, d := range table.Row(g) {
			if d == 500 {
				alternate, ok := table.Alternate(g, c, nil, anyOf)
				if !ok {
					t.Fatal("no alternate among ten nodes")
				}
				columns++
				count[alternate]++
			}
		}
	}
	for d, n := range count {
		if want := columns / 9; n < want*9/10 || n > want*11/10 {
			t.Errorf("device %d stands in %d times, want about %d", d, n, want)
		}
	}
}

// TestAlternateOfARelaxedPool shares a domain when no other is left, but never a device.
func TestAlternateOfARelaxedPool(t *testing.T) {
	p := pool(3, cluster.DomainNode, members(1, 3, 2, 1))
	strict := mustNew(t, p)
	only := func(d cluster.DeviceID) bool { return d/100 != strict.Row(0)[0]/100 }
	if d, ok := strict.Alternate(0, 0, nil, only); ok {
		t.Fatalf("device %d shares a node with another column", d)
	}
	p.Relax = true
	table := mustNew(t, p)
	first, ok := table.Alternate(0, 0, nil, only)
	second, ok2 := table.Alternate(0, 0, []cluster.DeviceID{first}, only)
	row := table.Row(0)
	for _, d := range []cluster.DeviceID{first, second} {
		if !ok || !ok2 || first == second || d == row[1] || d == row[2] {
			t.Fatalf("alternates %d and %d of row %v", first, second, row)
		}
	}
	if d, ok := table.Alternate(0, 0, []cluster.DeviceID{first, second}, only); ok {
		t.Fatalf("device %d is a third alternate on two nodes of two devices", d)
	}
}
