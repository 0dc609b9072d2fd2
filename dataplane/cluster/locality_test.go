package cluster

import (
	"maps"
	"testing"
)

// TestNear: a node is nearest to its own devices, then to those of its rack, then of its zone.
func TestNear(t *testing.T) {
	m := &Map{Nodes: map[NodeID]*Node{}, Devices: map[DeviceID]*Device{}}
	for i, domain := range []string{"a/r", "a/r", "a/s", "b/r", ""} {
		n, d := NodeID(i+1), DeviceID(i+1)
		m.Nodes[n], m.Devices[d] = &Node{Number: n, Domain: domain}, &Device{Number: d, Node: n}
	}
	m.Devices[6] = &Device{Number: 6, Node: 99} // of a node that is not known
	for node, want := range map[NodeID]map[DeviceID]int{
		1:  {1: 3, 2: 2, 3: 1, 4: 0, 5: 0, 6: 0},
		4:  {1: 0, 2: 0, 3: 0, 4: 3, 5: 0, 6: 0},
		99: {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0},
	} {
		if got := m.Near(node); !maps.Equal(got, want) {
			t.Errorf("from node %d: %v, want %v", node, got, want)
		}
	}
}

func TestNearness(t *testing.T) {
	for _, c := range []struct {
		home, path string
		want       int
	}{
		{"", "a/r/1", 0}, {"a", "a/r/1", 1}, {"a/r", "a/r/1", 2}, {"a/r/1", "a/r/1", 3}, {"a/r/11", "a/r/1", 2},
		{"a/s/1", "a/r/1", 1}, {"b/r/1", "a/r/1", 0}, {"a/r/1/x", "a/r/1", 3},
	} {
		if got := Nearness(c.home, c.path); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.path, c.home, got, c.want)
		}
	}
}
