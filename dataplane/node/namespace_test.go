package node

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/nstest"
)

// TestAVolumeIsANamespace runs the suite of every namespace against a replicated volume, without a network
// between it and the host: each test gets a volume of its own.
func TestAVolumeIsANamespace(t *testing.T) {
	w := newWorld(t, 3, 2)
	for n := range cluster.NodeID(3) {
		w.start(n + 1)
	}
	nstest.Run(t, func(t *testing.T) nvmet.Namespace {
		rec, _ := w.create(nstest.Blocks * cluster.LBASize)
		var ns nvmet.Namespace
		w.until("the volume is served", func() bool {
			for _, r := range w.running {
				if v := r.node.gateway.Volume(rec.Key); v != nil && v.ANAState() == nvme.ANAOptimized {
					ns = v
				}
			}
			return ns != nil
		})
		return ns
	})
}
