package placement

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func TestTooFewDomainsAreRefused(t *testing.T) {
	two := members(4, 2, 4, 1) // one rack
	if _, err := New(pool(3, cluster.DomainNode, two)); !errors.Is(err, ErrTooFewDomains) {
		t.Fatalf("three chunks on two nodes: %v", err)
	}
	if _, err := New(pool(3, cluster.DomainDevice, two)); err != nil {
		t.Fatalf("eight devices are enough at device level: %v", err)
	}
	relaxed := pool(3, cluster.DomainRack, two)
	relaxed.Relax = true
	if _, err := New(relaxed); !errors.Is(err, ErrTooFewDomains) {
		t.Fatalf("a relaxed pool goes one level down only: %v", err)
	}
	table := mustNew(t, pool(2, cluster.DomainNode, two))
	sum := table.Sum()
	if _, err := table.Fold(leave(cluster.ChangeRemove, 400, 401, 402, 403)); !errors.Is(err, ErrTooFewDomains) {
		t.Fatalf("one node is left: %v", err)
	}
	if _, err := table.Fold(leave(cluster.ChangeFail, 999)); err == nil {
		t.Fatal("a device that is no member failed")
	}
	if table.Sum() != sum || table.Number() != 0 {
		t.Fatal("a refused change left a trace")
	}
}

// TestEveryLevelKeepsChunksApart: az, rack, node and device.
func TestEveryLevelKeepsChunksApart(t *testing.T) {
	all := members(0, 12, 2, 1, 3) // 3 zones, 6 racks
	for level, width := range map[cluster.DomainLevel]int{cluster.DomainAZ: 3, cluster.DomainRack: 6,
		cluster.DomainNode: 7, cluster.DomainDevice: 13} {
		p := pool(width, level, all[1:]) // device 0 is none
		holdsRule(t, mustNew(t, p))
		p.Parity = 13
		if _, err := New(p); level != cluster.DomainDevice && !errors.Is(err, ErrTooFewDomains) {
			t.Errorf("14 chunks at level %s: %v", level, err)
		}
	}
}

// TestRelaxedPool: with two nodes for three chunks, no node has all three; when a third comes, each has
// one.
func TestRelaxedPool(t *testing.T) {
	p := pool(3, cluster.DomainNode, members(1, 2, 3, 1))
	p.Relax = true
	table := mustNew(t, p)
	if table.PerDomain() != 2 {
		t.Fatalf("%d chunks per node", table.PerDomain())
	}
	holdsRule(t, table)
	third := mustFold(t, table, join(members(3, 1, 3, 1)...))
	if third.PerDomain() != 1 {
		t.Fatalf("%d chunks per node of three", third.PerDomain())
	}
	holdsRule(t, third)
	if moved, minimum := Moves(table, third); minimum != Groups || moved > Groups+Groups/100 {
		t.Errorf("moved %d, minimum %d", moved, minimum)
	}
	again := mustFold(t, third, leave(cluster.ChangeFail, 300, 301, 302))
	if again.PerDomain() != 2 {
		t.Fatalf("%d chunks per node after the loss", again.PerDomain())
	}
	holdsRule(t, again)
}

// holdsRule checks every row against the domain paths, and that only present members hold slots.
func holdsRule(t require, table *Table) {
	t.Helper()
	level := table.policy.Domain
	domain, below := map[cluster.DeviceID]string{}, map[cluster.DeviceID]string{}
	for _, m := range table.roster.Present() {
		domain[m.Device], below[m.Device] = m.Path(level), m.Path(level.Below())
	}
	paths, paths2 := make([]string, table.width), make([]string, table.width)
	for _, row := range table.Rows() {
		for c, d := range row {
			if paths[c], paths2[c] = domain[d], below[d]; paths[c] == "" {
				t.Fatalf("row %v has device %d, which left", row, d)
			}
			met := 1
			for other := range c {
				if paths2[other] == paths2[c] {
					t.Fatalf("row %v has two chunks in %s", row, paths2[c])
				}
				if paths[other] == paths[c] {
					met++
				}
			}
			if met > table.PerDomain() {
				t.Fatalf("row %v has too many chunks in %s", row, paths[c])
			}
		}
	}
}

type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

// TestHistories folds random changes and holds, after each: the rule, full aims, what may move, the
// numbers of the slots, that the earlier table did not change, and in the end that a replay gives the
// same table.
func TestHistories(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue { // 100 take long: tables are large
		_ = f.Value.Set("25")
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	rapid.Check(t, func(t *rapid.T) {
		nodes, perNode := rapid.IntRange(2, 6).Draw(t, "nodes"), rapid.IntRange(1, 3).Draw(t, "per node")
		p := pool(rapid.IntRange(1, min(4, nodes+1)).Draw(t, "width"),
			rapid.SampledFrom([]cluster.DomainLevel{cluster.DomainRack, cluster.DomainNode,
				cluster.DomainDevice}).Draw(t, "level"), members(1, nodes, perNode, 9, 4, 7))
		p.Relax = rapid.Bool().Draw(t, "relax")
		table, err := New(p)
		if err != nil {
			t.Skip("too few domains to begin with")
		}
		since := make([]uint32, len(table.slots))
		for range rapid.IntRange(1, 2).Draw(t, "changes") {
			c := drawChange(t, table)
			sum, list, roster := table.Sum(), table.list.clone(), table.roster.Clone()
			next, err := table.Fold(c)
			if table.Sum() != sum || !reflect.DeepEqual(table.list, list) || !reflect.DeepEqual(table.roster, roster) {
				t.Fatal("the fold changed the earlier table")
			}
			if errors.Is(err, ErrTooFewDomains) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			p.Changes = append(p.Changes, c)
			holdsRule(t, next)
			survivorsStay(t, table, next)
			for i := range since {
				if table.devices[i] != next.devices[i] {
					since[i] = uint32(len(p.Changes))
				}
				if got := next.Since(i/p.Width(), i%p.Width()); got != since[i] {
					t.Fatalf("slot %d is held since table %d, it says %d", i, since[i], got)
				}
			}
			table = next
		}
		again, err := New(p)
		if err != nil || again.Sum() != table.Sum() || again.Number() != uint32(len(p.Changes)) {
			t.Fatalf("the replay gives another table (%v)", err)
		}
	})
}

// survivorsStay: who is there before and after hands over its surplus and no more, in as far as the rule
// does not make others pass slots on; and all have what they are to have.
func survivorsStay(t *rapid.T, before, after *Table) {
	moved, minimum := Moves(before, after)
	relaxed := before.PerDomain() + after.PerDomain() - 2
	if float64(moved) > mostMoved*float64(minimum)+10 && relaxed == 0 {
		more := walledOff(before, ideal(before), ideal(after))
		if float64(moved) > mostMoved*(float64(minimum)+more)+10 {
			t.Fatalf("moved %d slots, the minimum is %d and %.0f because of the domains", moved, minimum, more)
		}
	}
	for _, f := range after.Balance() {
		if f.Slots != f.Aim || f.Share > f.Cap+1.0/Groups {
			t.Fatalf("unlevel: %+v", f)
		}
	}
}

func drawChange(t *rapid.T, table *Table) cluster.Change {
	present := table.roster.Present()
	d := rapid.SampledFrom(present).Draw(t, "device")
	switch rapid.SampledFrom([]string{"device", "node", "fail", "remove node", "reweight"}).Draw(t, "change") {
	case "device":
		return join(cluster.Member{Device: cluster.DeviceID(5000 + len(table.roster.Members)), Weight: 8,
			Domain: d.Domain})
	case "node":
		return join(members(10+len(table.roster.Members), 1, 2, 6)...)
	case "fail":
		return leave(cluster.ChangeFail, d.Device)
	case "remove node":
		c := cluster.Change{Kind: cluster.ChangeRemove}
		for _, m := range present {
			if m.Domain == d.Domain {
				c.Members = append(c.Members, cluster.Member{Device: m.Device})
			}
		}
		return c
	default:
		return reweight(d.Device, rapid.Uint32Range(1, 20).Draw(t, "weight"))
	}
}

// TestBalanceReportsTheCap: a node with half of all capacity can fill only a third of the slots when
// every row has three nodes.
func TestBalanceReportsTheCap(t *testing.T) {
	all := members(1, 4, 1, 10)
	all[0].Weight = 30
	for i, f := range mustNew(t, pool(3, cluster.DomainNode, all)).Balance() {
		want := Fill{Device: all[i].Device, Weight: 10, Slots: 2 * Groups / 3, Aim: 2 * Groups / 3, Wanted: 1.0 / 6,
			Cap: 1.0 / 3}
		if i == 0 {
			want = Fill{Device: 100, Weight: 30, Slots: Groups, Aim: Groups, Wanted: 0.5, Cap: 1.0 / 3}
		}
		f.Slots, f.Aim = f.Slots-f.Slots%2, f.Aim-f.Aim%2 // two thirds of the groups is no whole number
		want.Slots, want.Aim = want.Slots-want.Slots%2, want.Aim-want.Aim%2
		if math.Abs(f.Share-float64(f.Slots)/(3*Groups)) > 1e-4 {
			t.Errorf("%d slots are no share of %f", f.Slots, f.Share)
		}
		if f.Share = 0; f != want {
			t.Errorf("got  %+v\nwant %+v", f, want)
		}
	}
}

// TestLateDevicesAreEverywhere: a device that joins is in all columns alike, and two that join one after
// the other meet no more often than others do.
func TestLateDevicesAreEverywhere(t *testing.T) {
	table := mustNew(t, pool(3, cluster.DomainNode, members(1, 8, 1, 1)))
	table = mustFold(t, table, join(members(9, 1, 1, 1)...))
	table = mustFold(t, table, join(members(10, 1, 1, 1)...))
	columns, together := map[int]int{}, 0
	for g := range Groups {
		row := table.Row(g)
		if c := slices.Index(row, 1000); c >= 0 {
			columns[c]++
			if slices.Contains(row, 900) {
				together++
			}
		}
	}
	for c := range 3 {
		if want := Groups / 10; columns[c] < want*95/100 || columns[c] > want*105/100 {
			t.Errorf("column %d has the new device %d times, want about %d", c, columns[c], want)
		}
	}
	if want := Groups * 6 / 90; together < want*80/100 || together > want*120/100 {
		t.Errorf("the late devices meet %d times, any two do about %d times", together, want)
	}
}

// TestRowsAreTheDifferentRowsOfTheTable: what a rule about every row has to look at.
func TestRowsAreTheDifferentRowsOfTheTable(t *testing.T) {
	table := mustNew(t, pool(2, cluster.DomainNode, members(1, 4, 1, 1)))
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

// TestGoldenTables pins the tables: another result would move data in every cluster that exists.
func TestGoldenTables(t *testing.T) {
	big := pool(3, cluster.DomainNode, members(1, 6, 4, 100, 250, 75))
	big.Changes = []cluster.Change{
		join(members(7, 1, 4, 120)...), leave(cluster.ChangeFail, 203), reweight(301, 40),
		leave(cluster.ChangeRemove, 400, 401, 402, 403), reweight(302, 400), leave(cluster.ChangeFail, 100, 701),
	}
	relaxed := pool(4, cluster.DomainRack, members(2, 4, 2, 16, 32))
	relaxed.Relax = true
	relaxed.Changes = []cluster.Change{join(members(6, 1, 2, 16)...)}
	for name, x := range map[string]struct {
		pool *cluster.Pool
		want uint64
	}{
		"one device per node": {pool(2, cluster.DomainNode, members(1, 3, 1, 1)), 0xd0796fea1c789c2f},
		"two weights":         {pool(3, cluster.DomainNode, members(1, 3, 2, 16, 32)), 0x2c7915f9ed252147},
		"one copy":            {pool(1, cluster.DomainDevice, members(1, 9, 9, 5, 6, 7)), 0x57b86d4390545859},
		"a history":           {big, 0x589c720401ffeefa},
		"relaxed":             {relaxed, 0x9a3cc5bcd49d9657},
	} {
		if got := mustNew(t, x.pool).Sum(); got != x.want {
			t.Errorf("%s: sum %#016x, want %#016x", name, got, x.want)
		}
	}
	if g := Group(cluster.VolumeKey{VUID: 7, Generation: 2}, 12345); g != 23659 {
		t.Errorf("group of volume 7, page 12345: %d", g)
	}
}
