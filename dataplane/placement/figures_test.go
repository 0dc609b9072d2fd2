package placement

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

var full = flag.Bool("placement.full", false, "hold the figures at every width, and with other weights")

// Figures that DESIGN promises.
const (
	mostMoved = 1.10 // times the minimum
	mostFill  = 1.02 // times the mean, at equal weights
)

// TestFigures holds what a change of a cluster may move, and how even the tables are: in clusters of 3 to
// 64 nodes with 4 devices each, for rows of 2 to 10.
func TestFigures(t *testing.T) {
	widths, weightings := []int{2, 3, 10}, [][]uint32{{100}}
	if *full {
		widths = []int{2, 3, 4, 5, 6, 7, 8, 9, 10}
		weightings = append(weightings, []uint32{100, 50, 25}, []uint32{7, 1, 1, 1, 1, 90, 3})
	}
	for _, nodes := range []int{3, 4, 6, 10, 64} {
		for _, width := range widths {
			for _, w := range weightings {
				if width <= nodes {
					t.Run(fmt.Sprintf("%d nodes, %d wide, weights %v", nodes, width, w), func(t *testing.T) {
						figures(t, nodes, width, w)
					})
				}
			}
		}
	}
}

// TestUnequalNodes: rows of five among six unequal nodes stand in the way of their own levelling.
func TestUnequalNodes(t *testing.T) { figures(t, 6, 5, []uint32{100, 50, 25}) }

// TestSurplusIsRelayed: a node that must suddenly be in every row finds, in the last of them, nobody that has
// a slot too many.
func TestSurplusIsRelayed(t *testing.T) {
	before := mustNew(t, pool(6, cluster.DomainNode, members(1, 20, 4, 10)))
	after := mustFold(t, before, join(cluster.Member{Device: 90_000, Weight: 4000, Domain: domainOf(7)}))
	even(t, after, ideal(after), false)
	if moved, minimum := Moves(before, after); float64(moved) > mostMoved*float64(minimum) {
		t.Errorf("moved %d slots, the minimum is %d", moved, minimum)
	}
}

// TestRoundingMovesNothing: with 66 slots per device, a device more must not make 2,000 shares round anew.
func TestRoundingMovesNothing(t *testing.T) {
	before := mustNew(t, pool(2, cluster.DomainNode, members(1, 500, 4, 1)))
	after := mustFold(t, before, join(cluster.Member{Device: 90_000, Weight: 1, Domain: domainOf(7)}))
	if moved, _ := Moves(before, after); moved > 2*Groups/2001+1 {
		t.Errorf("moved %d slots for a device that is to have %d", moved, 2*Groups/2001)
	}
}

func figures(t *testing.T, nodes, width int, weights []uint32) {
	before := mustNew(t, pool(width, cluster.DomainNode, members(1, nodes, 4, weights...)))
	had, alike := ideal(before), len(weights) == 1
	even(t, before, had, alike)
	last := cluster.DeviceID(100 * nodes)
	for name, c := range map[string]cluster.Change{
		"add device":  join(cluster.Member{Device: 999, Weight: weights[0], Domain: domainOf(1)}),
		"add node":    join(members(nodes+1, 1, 4, weights...)...),
		"fail device": leave(cluster.ChangeFail, 201),
		"remove node": leave(cluster.ChangeRemove, last, last+1, last+2, last+3),
		"heavier":     reweight(201, weights[0]*3/2+1),
		"lighter":     reweight(201, weights[0]/2+1),
	} {
		after, err := before.Fold(c)
		if nodes == width && name == "remove node" {
			if !errors.Is(err, ErrTooFewDomains) {
				t.Errorf("%s leaves too few: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		moved, _ := Moves(before, after)
		has := ideal(after)
		minimum := idealMoves(had, has)
		if float64(moved) > mostMoved*minimum && !alike {
			minimum += walledOff(before, had, has)
		}
		if float64(moved) > mostMoved*minimum {
			t.Errorf("%s: moved %d slots of %d, the minimum is %.2f", name, moved, len(after.slots), minimum)
		}
		even(t, after, has, alike && strings.HasSuffix(name, "node"))
	}
}

// even holds that every device has its ideal number of slots, give or take rounding among the devices and
// among the domains, and what is promised of the fullest one when all are alike.
func even(t *testing.T, table *Table, ideal []float64, alike bool) {
	t.Helper()
	mean, fills := float64(len(table.slots)), table.Balance()
	mean /= float64(len(fills))
	i := 0
	for pos, m := range table.roster.Members {
		if m.Weight == 0 {
			continue
		}
		f := fills[i]
		i++
		if f.Slots != f.Aim || math.Abs(float64(f.Slots)-ideal[pos]) > 2 {
			t.Errorf("device %d has %d slots, its aim is %d, its share %.2f", f.Device, f.Slots, f.Aim, ideal[pos])
		}
		if alike && float64(f.Slots) > mostFill*mean {
			t.Errorf("device %d has %d slots, the mean is %.2f", f.Device, f.Slots, mean)
		}
	}
}

// ideal is the share of every position in slots, as the design says it: by weight, but no domain has more
// than one slot of each row. It is found by trying how many slots a unit of weight must get.
func ideal(table *Table) []float64 {
	weight := map[string]float64{}
	for _, m := range table.roster.Members {
		weight[m.Path(table.policy.Domain)] += float64(m.Weight)
	}
	held := func(perUnit float64) (sum float64) {
		for _, w := range weight {
			sum += min(w*perUnit, Groups)
		}
		return sum
	}
	low, high := 0.0, float64(len(table.slots))
	for range 100 {
		if mid := (low + high) / 2; held(mid) < float64(len(table.slots)) {
			low = mid
		} else {
			high = mid
		}
	}
	out := make([]float64, len(table.roster.Members))
	for i, m := range table.roster.Members {
		w := weight[m.Path(table.policy.Domain)]
		if m.Weight > 0 {
			out[i] = min(w*high, Groups) * float64(m.Weight) / w
		}
	}
	return out
}

// idealMoves is what must move between two ideals.
func idealMoves(before, after []float64) (sum float64) {
	for i, n := range before {
		sum += max(0, n-after[i])
	}
	return sum
}
