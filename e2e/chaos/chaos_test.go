//go:build e2e

package chaos

import (
	"flag"
	"testing"
)

var seedFlag = flag.Uint64("chaos.seed", 1, "decides the workload and the order of the faults")

// TestEveryFaultOnce takes a cluster under load through every kind of fault.
func TestEveryFaultOnce(t *testing.T) {
	w := newWorld(t, *seedFlag)
	for i, f := range faults() {
		w.inflict(f, w.volumes[i%len(w.volumes)])
	}
	w.finish()
}

// finish ends the load and looks at everything once more.
func (w *world) finish() {
	w.t.Helper()
	for _, v := range w.volumes {
		v.stop()
		w.t.Logf("%s: %d operations", v.Name, v.pause.total)
	}
	w.check()
	w.readThroughOwners()
	for _, n := range w.cluster.Nodes {
		for _, x := range w.witnesses[n] {
			x.stop()
		}
	}
	w.compareReplicas()
}
