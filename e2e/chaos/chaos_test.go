//go:build e2e

package chaos

import (
	"flag"
	"regexp"
	"testing"
	"time"
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

// TestADiskDies takes a disk away for good, and then a whole node for a while. Of two copies that is one loss
// too many: those volumes wait, without an error, until the node is back. With three copies I/O goes on all
// the time.
func TestADiskDies(t *testing.T) {
	w := newWorld(t, *seedFlag)
	three := w.volumes[2]
	w.reset()
	w.dead = w.cluster.Owner(three.ID)
	began := time.Now()
	w.must(nil, w.memory[w.dead].Lose())
	w.progress(steady)
	w.report(began, w.dead)

	other := w.cluster.Nodes[0]
	if other == w.dead {
		other = w.cluster.Nodes[1]
	}
	t.Logf("kill -9 of %s, the disk of %s is dead", other.Name, w.dead.Name)
	w.reset()
	began = time.Now()
	other.Kill()
	w.progressOf(10*steady, three)
	other.Restart()
	w.progress(steady)
	w.whole()
	w.report(began, other)
	w.reset()
	w.wait(calm)
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
