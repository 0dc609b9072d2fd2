package placement

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// walledOff is what must move beyond the surplus, because the rule keeps a part of it from all who lack: a
// device gains slots only in rows that its domain is not in, and of these perhaps not enough hold somebody
// who has too many. Each such slot moves by way of a third device, so it is counted once more.
//
// What can move directly is the largest flow from surplus to lack through the rows as they are.
func walledOff(before *Table, had, has []float64) float64 {
	f := newFlow(len(had))
	surplus, lack := 0.0, 0.0
	for pos := range had {
		more := max(0, has[pos]-had[pos])
		f.edge(source, f.giver(pos), max(0, had[pos]-has[pos]))
		f.edge(f.taker(pos), sink, more)
		surplus, lack = surplus+max(0, had[pos]-has[pos]), lack+more
	}
	rows := f.places(before, had, has)
	for at, slots := range rows {
		node := f.node()
		f.edge(f.giver(int(at.from)), node, float64(slots))
		for pos := range had {
			if d := before.rule.upper[pos]; has[pos] > had[pos] && at.domains&(1<<d) == 0 {
				f.edge(node, f.taker(pos), float64(slots))
			}
		}
	}
	return max(0, min(surplus, lack)-f.largest())
}

const source, sink = 0, 1

// flow is a network; edges[a][b] is what can still flow from a to b.
type flow struct {
	devices int
	edges   []map[int]float64
}

func newFlow(devices int) *flow {
	f := &flow{devices: devices}
	for range 2 + 2*devices {
		f.node()
	}
	return f
}

func (f *flow) giver(pos int) int { return 2 + pos }
func (f *flow) taker(pos int) int { return 2 + f.devices + pos }

func (f *flow) node() int {
	f.edges = append(f.edges, map[int]float64{})
	return len(f.edges) - 1
}

func (f *flow) edge(from, to int, most float64) {
	f.edges[from][to] += most
	f.edges[to][from] += 0
}

// place is what slots have in common: who holds them, and the domains of the others in the row, a bit each.
type place struct {
	from    int32
	domains uint64
}

// places counts the slots of devices that have too many.
func (f *flow) places(t *Table, had, has []float64) map[place]int {
	count := map[place]int{}
	for g := range Groups {
		row := t.row(g)
		for c, from := range row {
			if had[from] <= has[from] {
				continue
			}
			at := place{from: from}
			for other, pos := range row {
				if other != c {
					at.domains |= 1 << t.rule.upper[pos]
				}
			}
			count[at]++
		}
	}
	return count
}

// largest is the largest flow from the source to the sink, found way by way, the shortest first (Edmonds and
// Karp). What is left below a slot does not count.
func (f *flow) largest() (sum float64) {
	for {
		from := make([]int, len(f.edges))
		from[source] = source + 1
		for queue := []int{source}; len(queue) > 0 && from[sink] == 0; queue = queue[1:] {
			for to, room := range f.edges[queue[0]] {
				if room >= 1 && from[to] == 0 {
					from[to] = queue[0] + 1
					queue = append(queue, to)
				}
			}
		}
		if from[sink] == 0 {
			return sum
		}
		most := float64(Groups)
		for at := sink; at != source; at = from[at] - 1 {
			most = min(most, f.edges[from[at]-1][at])
		}
		for at := sink; at != source; at = from[at] - 1 {
			f.edges[from[at]-1][at] -= most
			f.edges[at][from[at]-1] += most
		}
		sum += most
	}
}

// TestWalledOff: rack 1 is in half of all slots and so in every row, until a device joins rack 0. The rows
// that rack 1 has left then hold that device and rack 2 only. When rack 1 gains, the others of rack 0 can
// give nothing there: they give to the one that joined, and that to rack 1.
func TestWalledOff(t *testing.T) {
	racks := pool(2, cluster.DomainRack, members(1, 4, 3, 9, 4, 7))
	first := mustFold(t, mustNew(t, racks), join(cluster.Member{Device: 5000, Weight: 8, Domain: domainOf(1)}))
	then := mustFold(t, first, reweight(300, 13))
	moved, minimum := Moves(first, then)
	more := walledOff(first, ideal(first), ideal(then))
	if best := float64(minimum) + more; more < 1000 || float64(moved) > best*1.02 || float64(moved) < best*0.98 {
		t.Errorf("moved %d, the minimum is %d and %.0f more because of the domains", moved, minimum, more)
	}
}
