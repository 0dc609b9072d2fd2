package placement

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestPinnedColumns computes what decision 0045 weighs: of the reads of single blocks, which part would stay
// in a zone of three if the columns that lie there were data columns as far as possible, instead of as they
// are drawn; and which part of the columns would have to move for another zone to be the one. There are 36
// nodes with a device each, three to a rack, four racks to a zone.
func TestPinnedColumns(t *testing.T) {
	for _, x := range []struct {
		level                 cluster.DomainLevel
		n, p                  int
		drawn, pinned, change float64
	}{
		{cluster.DomainAZ, 2, 1, .333, .5, .443},
		{cluster.DomainAZ, 4, 2, .333, .5, .424},
		{cluster.DomainAZ, 8, 2, .333, .417, .257},
		{cluster.DomainNode, 2, 1, .333, .484, .402},
		{cluster.DomainNode, 4, 2, .333, .497, .423},
		{cluster.DomainNode, 8, 2, .333, .417, .258},
	} {
		policy := &cluster.Pool{Name: "p", Data: x.n, Parity: x.p, Domain: x.level, Relax: true}
		zone := map[cluster.DeviceID]string{}
		for i := range 36 {
			m := cluster.Member{Device: cluster.DeviceID(i + 1), Weight: 1,
				Domain: fmt.Sprintf("z%d/r%d/%d", i/12, i/3, i)}
			policy.Members = append(policy.Members, m)
			zone[m.Device], _, _ = strings.Cut(m.Domain, "/")
		}
		table, err := New(policy)
		if err != nil {
			t.Fatal(err)
		}
		var drawn, pinned, change float64
		for g := range Groups {
			row := table.Row(g)
			here := pin(row, x.n, zone, "z1")
			there := pin(row, x.n, zone, "z2")
			for c := range x.n {
				drawn += count(zone[row[c]] == "z1") / float64(x.n)
				pinned += count(zone[here[c]] == "z1") / float64(x.n)
			}
			for c := range row {
				change += count(here[c] != there[c]) / float64(len(row))
			}
		}
		got := []float64{drawn / Groups, pinned / Groups, change / Groups}
		for i, want := range []float64{x.drawn, x.pinned, x.change} {
			if math.Abs(got[i]-want) > 0.005 {
				t.Errorf("%d+%d, %s: %.3f, want %v", x.n, x.p, x.level, got, x)
				break
			}
		}
	}
}

// pin is a row with the columns of a zone among its n data columns, as far as these go round; as few as that
// takes change places.
func pin(row []cluster.DeviceID, n int, zone map[cluster.DeviceID]string, home string) []cluster.DeviceID {
	out := slices.Clone(row)
	for c := n; c < len(out); c++ {
		give := slices.IndexFunc(out[:n], func(d cluster.DeviceID) bool { return zone[d] != home })
		if zone[out[c]] == home && give >= 0 {
			out[give], out[c] = out[c], out[give]
		}
	}
	return out
}

func count(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
