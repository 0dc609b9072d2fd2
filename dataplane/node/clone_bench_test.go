package node

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// BenchmarkClone reads random blocks that clones show of an ancestor so many levels up, beside the same of
// the ancestor itself. All owners are on one node, or those of a level and the next on different ones.
func BenchmarkClone(b *testing.B) {
	for _, spread := range []bool{false, true} {
		w := newWorld(b, 3, 2)
		var n counts
		for id := range w.ctl.Newest().Map.Nodes {
			w.startCounted(id, &n)
		}
		vol, cfg := w.create(benchSize)
		data := make([]byte, benchSize)
		rand.New(rand.NewSource(1)).Read(data)
		v := open(b, cfg)
		w.must(v.Write(b.Context(), data, 0))
		levels := map[int]*initiator.Volume{0: v}
		depths := []int{0, 1, 2, 8, 32, 100}
		for depth := 1; depth <= depths[len(depths)-1]; depth++ {
			owner := cluster.NodeID(1)
			if spread {
				owner = cluster.NodeID(1 + depth%2)
			}
			var ccfg initiator.VolumeConfig
			vol, ccfg = w.clone(w.snapshot(vol, byte(depth)), benchSize, owner)
			if slices.Contains(depths, depth) {
				levels[depth] = open(b, ccfg)
			}
		}
		where := map[bool]string{false: "one-node", true: "two-nodes"}[spread]
		for _, qd := range []int{1, 32} {
			for _, depth := range depths {
				b.Run(fmt.Sprintf("%s/depth=%d/qd=%d", where, depth, qd), func(b *testing.B) {
					benchVolume(b, levels[depth], &n, nvme.OpRead, qd)
				})
			}
		}
		for _, l := range levels {
			l.Close()
		}
		for id := range w.running {
			w.stop(id)
		}
	}
}
