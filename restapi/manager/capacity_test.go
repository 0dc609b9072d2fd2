package manager

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func TestUsable(t *testing.T) {
	for name, c := range map[string]struct {
		domains     []uint64
		data, width int
		want        uint64
	}{
		"one copy":               {[]uint64{10, 20}, 1, 1, 30},
		"two equal":              {[]uint64{10, 10}, 1, 2, 10},
		"three equal, two":       {[]uint64{10, 10, 10}, 1, 2, 15},
		"one too large":          {[]uint64{100, 10, 10}, 1, 2, 20},
		"two too large of three": {[]uint64{100, 100, 10}, 1, 3, 10},
		"large pair":             {[]uint64{100, 100, 10}, 1, 2, 105},
		"too few":                {[]uint64{100}, 1, 2, 0},
		"none":                   {nil, 1, 1, 0},
		"four data, two parity":  {[]uint64{10, 10, 10, 10, 10, 10}, 4, 6, 40},
	} {
		if got := usable(c.domains, c.data, c.width); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// TestUsableIsFeasible compares the formula with its definition: T fits, T+1 does not.
func TestUsableIsFeasible(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		domains := rapid.SliceOfN(rapid.Uint64Range(0, 1000), 1, 8).Draw(rt, "domains")
		width := rapid.IntRange(1, len(domains)).Draw(rt, "width")
		fits := func(pages uint64) bool {
			var sum uint64
			for _, d := range domains {
				sum += min(d, pages)
			}
			return sum >= pages*uint64(width)
		}
		before := slices.Clone(domains)
		got := usable(domains, 1, width)
		if !fits(got) || fits(got+1) {
			rt.Fatalf("usable(%v, 1, %d) = %d", domains, width, got)
		}
		if !slices.Equal(before, domains) {
			rt.Fatal("the argument was changed")
		}
	})
}

// TestRebuildReserve: what is left free is enough for the pages of any one domain, and not one page too much.
func TestRebuildReserve(t *testing.T) {
	for _, x := range []struct {
		domains     []uint64
		data, width int
		want        uint64
	}{
		{nil, 1, 3, 0},
		{[]uint64{100, 100, 100}, 1, 3, 0}, // nowhere to rebuild
		{[]uint64{100, 100, 100, 100}, 1, 3, 33},
		{[]uint64{100, 100, 100, 100, 100, 100, 100}, 4, 6, 64},
		{[]uint64{10, 100, 10, 10}, 1, 2, 15}, // 30 with the large one, 15 without
	} {
		if got := rebuildReserve(x.domains, x.data, x.width); got != x.want {
			t.Errorf("rebuildReserve(%v, %d, %d) = %d, not %d", x.domains, x.data, x.width, got, x.want)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(1, 8).Draw(rt, "width")
		domains := rapid.SliceOfN(rapid.Uint64Range(1, 1000), width+1, 12).Draw(rt, "domains")
		whole, reserve := usable(domains, 1, width), rebuildReserve(domains, 1, width)
		least := whole
		for i := range domains {
			least = min(least, usable(slices.Delete(slices.Clone(domains), i, i+1), 1, width))
		}
		if whole-reserve != least {
			rt.Fatalf("%d of %d may be written; without one of %v %d fit", whole-reserve, whole, domains, least)
		}
	})
}

// TestCapacity: published figures replace sizes, and failed devices hold nothing.
func TestCapacity(t *testing.T) {
	v := &view{Map: &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{},
		Devices: map[cluster.DeviceID]*cluster.Device{}}}
	for n := cluster.NodeID(1); n <= 3; n++ {
		v.Nodes[n] = &cluster.Node{Number: n}
		v.Devices[cluster.DeviceID(n)] = &cluster.Device{Number: cluster.DeviceID(n), Node: n, Size: 100,
			State: cluster.DeviceOnline}
	}
	p := &cluster.Pool{Data: 1, Parity: 1, Domain: cluster.DomainNode}
	p.Members, _ = v.Members([]cluster.DeviceID{1, 2, 3})
	if c := v.capacity(p, nil); c.Total != 150 || c.Free != 150 || c.Used != 0 {
		t.Errorf("before anything is published: %+v", c)
	}
	stats := map[cluster.NodeID]cluster.NodeStats{}
	for n := range cluster.NodeID(3) {
		stats[n+1] = cluster.NodeStats{Node: n + 1,
			Devices: []cluster.DeviceStats{{Device: cluster.DeviceID(n + 1), Total: 80, Free: 20}}}
	}
	if c := v.capacity(p, stats); c.Total != 120 || c.Free != 30 || c.Used != 90 {
		t.Errorf("published: %+v", c)
	}
	v.Devices[3].State = cluster.DeviceFailed
	if c := v.capacity(p, stats); c.Total != 80 || c.Free != 20 || c.Used != 60 {
		t.Errorf("one failed: %+v", c)
	}
	v.Devices[3].State = cluster.DeviceOnline
	stats[2].Devices[0].Free = 5 // of 80; every device gets two thirds of a chunk of every page
	if c := v.capacity(p, stats); c.Total != 120 || c.Free != 8 || c.Used != 97 {
		t.Errorf("one is nearly full: %+v", c)
	}
	for _, st := range stats {
		st.Devices[0].Kept = 8
	}
	if c := v.capacity(p, stats); c.Total != 108 || c.Free != 0 || c.Used != 97 {
		t.Errorf("what devices keep for themselves: %+v", c)
	}
	coded := &cluster.Pool{Data: 2, Parity: 1, Domain: cluster.DomainNode, Members: p.Members}
	if c := v.capacity(coded, nil); c.Total != 200 || c.Free != 200 {
		t.Errorf("2+1: %+v", c)
	}
}
