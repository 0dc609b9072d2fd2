package gateway

import (
	"maps"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// TestReadsGoToTheNearestCopy: an owner without a copy of its own reads the one in its zone, and the other
// one as soon as the map says that this one is near.
func TestReadsGoToTheNearestCopy(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		table, err := placement.New(w.state().Map.Pools["p"])
		if err != nil {
			t.Fatal(err)
		}
		row := table.Row(placement.Group(key(), 0))
		owner := cluster.NodeID(1 + 2 + 3 - row[0] - row[1])
		w.record.Gateway = owner
		reads := func(from cluster.DeviceID) {
			t.Helper()
			clear(w.reads)
			for range 9 {
				w.must(w.host(owner, nvme.OpRead, 0), nvme.Success)
			}
			if want := map[cluster.DeviceID]int{from: 9}; !maps.Equal(w.reads, want) {
				t.Errorf("%v reads, want %v", w.reads, want)
			}
		}
		place := func(a, b string) {
			w.domains = map[cluster.NodeID]string{owner: "az1/r1", cluster.NodeID(row[0]): a,
				cluster.NodeID(row[1]): b}
		}
		place("az1/r2", "az2/r1")
		w.start(owner)
		w.until("the volume is served", func() bool { return w.serving(owner) })
		w.write(owner, 7)
		reads(row[0])
		place("az1/r2", "az1/r1")
		w.watch()
		reads(row[1])
		place("az1/r1", "az1/r2")
		w.watch()
		reads(row[0])
	})
}
