//go:build e2e

package chaos

import (
	"flag"
	"regexp"
	"testing"
)

var (
	seedFlag = flag.Uint64("chaos.seed", 1, "decides the workload and the order of the faults")
	onlyFlag = flag.String("chaos.only", "", "inflict only faults whose names match this regular expression")
)

// TestEveryFaultOnce takes a cluster under load through every kind of fault.
func TestEveryFaultOnce(t *testing.T) {
	chosen := choose(t)
	w := newWorld(t, *seedFlag)
	for _, f := range chosen {
		w.inflict(f, w.volumes[f.number%len(w.volumes)])
	}
	w.finish()
}

// choose lists the faults that -chaos.only leaves.
func choose(t *testing.T) (out []fault) {
	only, err := regexp.Compile(*onlyFlag)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range faults() {
		f.number = i
		if only.MatchString(f.name) {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no fault matches %q", *onlyFlag)
	}
	return out
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
