package engine

import (
	"fmt"
	"math"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// TestShareOfNearReads: of 27 nodes, three to a rack and three racks to a zone, each has a device. What stays
// within the owner's zone, rack and node is as much as can: every page that has a copy there. Beside it is
// logged what stays there without preference, and with that for the owner's own device alone.
func TestShareOfNearReads(t *testing.T) {
	third := 1.0 / 3
	for _, x := range []struct {
		level            cluster.DomainLevel
		parity           int
		zone, rack, node float64 // of all reads
	}{
		{cluster.DomainAZ, 1, 2 * third, 2. / 9, 2. / 27},
		{cluster.DomainAZ, 2, 1, third, 1. / 9},
		{cluster.DomainRack, 1, 1 - 15./36, 2. / 9, 2. / 27}, // 1 - C(6, 2)/C(9, 2)
		{cluster.DomainRack, 2, 1 - 20./84, third, 1. / 9},
		{cluster.DomainNode, 1, 1 - 153./351, 1 - 276./351, 2. / 27}, // 1 - C(18, 2)/C(27, 2), 1 - C(24, 2)/..
		{cluster.DomainNode, 2, 1 - 816./2925, 1 - 2024./2925, 1. / 9},
	} {
		pool := &cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: x.parity, Domain: x.level,
			ChunkSize: 64 << 10, StripeUnit: 16 << 10}
		near, own := map[cluster.DeviceID]int{}, map[cluster.DeviceID]int{}
		for i := range 27 {
			d := cluster.DeviceID(i + 1)
			m := cluster.Member{Device: d, Weight: 1, Domain: fmt.Sprintf("z%d/r%d/%d", i/9, i/3, i)}
			pool.Members = append(pool.Members, m)
			near[d] = cluster.Nearness("z1/r4/13", m.Domain)
			own[d] = near[d] / 3
		}
		table, err := placement.New(pool)
		if err != nil {
			t.Fatal(err)
		}
		got := shares(readsOf(t, pool, table, near), near)
		t.Logf("1+%d, %s: any %s; the own first %s; the nearest %s", x.parity, x.level,
			shares(readsOf(t, pool, table, nil), near), shares(readsOf(t, pool, table, own), near), got)
		for i, want := range []float64{x.zone, x.rack, x.node} {
			if math.Abs(got[i]-want) > 0.01 {
				t.Errorf("1+%d, %s: %s, want %.1f, %.1f, %.1f %%", x.parity, x.level, got, 100*x.zone, 100*x.rack,
					100*x.node)
				break
			}
		}
	}
}

// readsOf reads a block of each of 20,000 pages, and counts the reads that devices get.
func readsOf(t *testing.T, pool *cluster.Pool, table *placement.Table,
	near map[cluster.DeviceID]int) map[cluster.DeviceID]int {
	t.Helper()
	geo, err := stripe.New(pool)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Vol: cluster.VolumeKey{VUID: 1, Generation: 1},
		Owner: cluster.Owner{Epoch: 1, Gateway: 1}, Geometry: geo, Code: pool.Code,
		Tables: map[uint32]*placement.Table{0: table}, Near: near})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{e: e, shelf: &shelf{chunks: map[shelfKey]*shelfChunk{}}}
	r.run()
	e.Served()
	got, data := map[cluster.DeviceID]int{}, make([]byte, cluster.BlockSize)
	for page := range uint64(20_000) {
		e.Submit(&Op{Kind: Read, LBA: page * geo.PageBlocks() * 8, Sectors: 8, Data: data})
		e.Drain(&r.ready)
		for _, q := range r.ready.Sends {
			if q.Op == chunk.OpRead {
				got[q.Device]++
			}
			r.shelf.do(q, geo.ChunkBlocks)
			e.ChunkDone(q)
		}
	}
	return got
}

// stay is what stays within the zone, the rack and the node.
type stay [3]float64

func (s stay) String() string {
	return fmt.Sprintf("%.1f, %.1f, %.1f %%", 100*s[0], 100*s[1], 100*s[2])
}

func shares(reads, near map[cluster.DeviceID]int) (s stay) {
	all := 0
	for d, n := range reads {
		all += n
		for i := range near[d] {
			s[i] += float64(n)
		}
	}
	for i := range s {
		s[i] /= float64(all)
	}
	return s
}
