package placement

import (
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// testMap has nodes with some devices each; weights repeat over the devices.
func testMap(nodes, perNode int, weights ...uint32) (*cluster.Map, []cluster.DeviceID) {
	m := &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{}, Devices: map[cluster.DeviceID]*cluster.Device{}}
	var ids []cluster.DeviceID
	for n := 1; n <= nodes; n++ {
		m.Nodes[cluster.NodeID(n)] = &cluster.Node{Number: cluster.NodeID(n)}
		for range perNode {
			d := &cluster.Device{Number: cluster.DeviceID(len(ids) + 1), Node: cluster.NodeID(n),
				Weight: weights[len(ids)%len(weights)], State: cluster.DeviceOnline}
			m.Devices[d.Number] = d
			ids = append(ids, d.Number)
		}
	}
	return m, ids
}

func pool(width int, level cluster.DomainLevel, ids []cluster.DeviceID) *cluster.Pool {
	return &cluster.Pool{Name: "p", Data: 1, Parity: width - 1, Domain: level, Devices: ids}
}

func TestRowsUseDifferentDomains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 6).Draw(t, "nodes")
		m, ids := testMap(nodes, rapid.IntRange(1, 4).Draw(t, "per node"), 1, 7, 3)
		width := rapid.IntRange(1, nodes).Draw(t, "width")
		table, err := New(pool(width, cluster.DomainNode, ids), m)
		if err != nil {
			t.Fatal(err)
		}
		for g := 0; g < Groups; g += 97 {
			seen := map[cluster.NodeID]bool{}
			for _, d := range table.Row(g) {
				if seen[m.Devices[d].Node] {
					t.Fatalf("group %d has two chunks on one node: %v", g, table.Row(g))
				}
				seen[m.Devices[d].Node] = true
			}
		}
	})
}

func TestTooFewDomainsAreRefused(t *testing.T) {
	m, ids := testMap(2, 4, 1)
	if _, err := New(pool(3, cluster.DomainNode, ids), m); !errors.Is(err, ErrTooFewDomains) {
		t.Fatalf("got %v", err)
	}
	if _, err := New(pool(3, cluster.DomainDevice, ids), m); err != nil {
		t.Fatalf("eight devices are enough at device level: %v", err)
	}
}

// TestSharesFollowWeights: with one chunk per page, each device gets its share to within 5 %.
func TestSharesFollowWeights(t *testing.T) {
	m, ids := testMap(4, 2, 10, 20, 40)
	table, err := New(pool(1, cluster.DomainDevice, ids), m)
	if err != nil {
		t.Fatal(err)
	}
	count := map[cluster.DeviceID]int{}
	total := uint32(0)
	for g := range Groups {
		count[table.Row(g)[0]]++
	}
	for _, id := range ids {
		total += m.Devices[id].Weight
	}
	for _, id := range ids {
		want := float64(Groups) * float64(m.Devices[id].Weight) / float64(total)
		if got := float64(count[id]); got < 0.95*want || got > 1.05*want {
			t.Errorf("device %d: %v groups, want about %v", id, got, want)
		}
	}
}

// TestAddingADeviceMovesOnlyToIt: the property that makes the list bucket worth its name.
func TestAddingADeviceMovesOnlyToIt(t *testing.T) {
	m, ids := testMap(5, 2, 3, 5)
	before, err := New(pool(1, cluster.DomainDevice, ids[:9]), m)
	if err != nil {
		t.Fatal(err)
	}
	after, err := New(pool(1, cluster.DomainDevice, ids), m)
	if err != nil {
		t.Fatal(err)
	}
	for g := range Groups {
		if a, b := before.Row(g)[0], after.Row(g)[0]; a != b && b != ids[9] {
			t.Fatalf("group %d moved from %d to %d, not to the new device", g, a, b)
		}
	}
}

// TestGoldenTables pins the tables: another result would move data in every cluster that exists.
func TestGoldenTables(t *testing.T) {
	for _, x := range []struct {
		nodes, per, width int
		weights           []uint32
		want              uint32
	}{
		{3, 1, 2, []uint32{1}, 0x80dbff51},
		{3, 2, 3, []uint32{16, 32}, 0xe1d103d9},
		{6, 4, 3, []uint32{100, 250, 75}, 0x637b04ca},
	} {
		m, ids := testMap(x.nodes, x.per, x.weights...)
		table, err := New(pool(x.width, cluster.DomainNode, ids), m)
		if err != nil {
			t.Fatal(err)
		}
		sum := crc32.NewIEEE()
		for _, d := range table.devices {
			fmt.Fprintf(sum, "%d,", d)
		}
		if got := sum.Sum32(); got != x.want {
			t.Errorf("%d nodes of %d devices, width %d: checksum %#08x, want %#08x", x.nodes, x.per, x.width, got,
				x.want)
		}
	}
	if g := Group(cluster.VolumeKey{VUID: 7, Generation: 2}, 12345); g != 23659 {
		t.Errorf("group of volume 7, page 12345: %d", g)
	}
}

func BenchmarkLookup(b *testing.B) {
	m, ids := testMap(64, 16, 4, 8)
	table, err := New(pool(3, cluster.DomainNode, ids), m)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	vol, sum := cluster.VolumeKey{VUID: 9, Generation: 1}, cluster.DeviceID(0)
	for i := range b.N {
		sum += table.Row(Group(vol, uint64(i)))[0]
	}
	_ = sum
}

func BenchmarkNewTable(b *testing.B) {
	m, ids := testMap(16, 4, 4, 8)
	for range b.N {
		if _, err := New(pool(3, cluster.DomainNode, ids), m); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRowsAreTheDifferentRowsOfTheTable(t *testing.T) {
	m := &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{}, Devices: map[cluster.DeviceID]*cluster.Device{}}
	pool := &cluster.Pool{Name: "p", Data: 1, Parity: 1, Domain: cluster.DomainNode}
	for i := 1; i <= 4; i++ {
		n, d := cluster.NodeID(i), cluster.DeviceID(i)
		m.Nodes[n] = &cluster.Node{Number: n}
		m.Devices[d] = &cluster.Device{Number: d, Node: n, Weight: 1}
		pool.Devices = append(pool.Devices, d)
	}
	table, err := New(pool, m)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range table.Rows() {
		if listed[fmt.Sprint(row)] {
			t.Fatalf("row %v is listed twice", row)
		}
		listed[fmt.Sprint(row)] = true
	}
	for g := range Groups {
		if !listed[fmt.Sprint(table.Row(g))] {
			t.Fatalf("row %v of group %d is not listed", table.Row(g), g)
		}
	}
	if len(listed) != 4*3 {
		t.Fatalf("%d rows, want each ordered pair of four devices", len(listed))
	}
}
