package placement

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// members are the devices of nodes numbered from first, perNode each; weights repeat over the devices. Two
// nodes share a rack, two racks an availability zone. Device numbers follow from the node's.
func members(first, nodes, perNode int, weights ...uint32) []cluster.Member {
	var out []cluster.Member
	for n := first; n < first+nodes; n++ {
		for i := range perNode {
			out = append(out, cluster.Member{Device: cluster.DeviceID(100*n + i),
				Weight: weights[(n*perNode+i)%len(weights)], Domain: domainOf(n)})
		}
	}
	return out
}

func domainOf(node int) string { return fmt.Sprintf("az%d/rack%d/%d", node/4, node/2, node) }

func pool(width int, level cluster.DomainLevel, members []cluster.Member) *cluster.Pool {
	return &cluster.Pool{Name: "p", Data: 1, Parity: width - 1, Domain: level, Members: members}
}

// leave is a change that takes devices away.
func leave(kind cluster.ChangeKind, devices ...cluster.DeviceID) cluster.Change {
	c := cluster.Change{Kind: kind}
	for _, d := range devices {
		c.Members = append(c.Members, cluster.Member{Device: d})
	}
	return c
}

func join(members ...cluster.Member) cluster.Change {
	return cluster.Change{Kind: cluster.ChangeAdd, Members: members}
}

func reweight(d cluster.DeviceID, weight uint32) cluster.Change {
	return cluster.Change{Kind: cluster.ChangeReweight, Members: []cluster.Member{{Device: d, Weight: weight}}}
}

func mustNew(t testing.TB, p *cluster.Pool) *Table {
	t.Helper()
	table, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func mustFold(t testing.TB, table *Table, c cluster.Change) *Table {
	t.Helper()
	next, err := table.Fold(c)
	if err != nil {
		t.Fatal(err)
	}
	return next
}
