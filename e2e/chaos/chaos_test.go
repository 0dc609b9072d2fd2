//go:build e2e

package chaos

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/network"
)

var (
	seedFlag  = flag.Uint64("chaos.seed", 1, "decides the workload and the order of the faults")
	onlyFlag  = flag.String("chaos.only", "", "inflict only faults whose names match this regular expression")
	poolsFlag = flag.String("chaos.pools", "", "only configurations whose names match this regular expression")
)

// TestMain builds the daemon while modules can still be fetched: tests run in a network of their own.
func TestMain(m *testing.M) {
	if _, err := build.Program("cmd/ashlard", false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(network.Main(m))
}

// TestEveryFaultOnce takes clusters under load through every kind of fault. The configurations share them;
// another seed deals anew.
func TestEveryFaultOnce(t *testing.T) {
	chosen := choose(t)
	configurations := chooseConfigurations(t, false)
	for i, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c, *seedFlag)
			for j, f := range chosen {
				if (j+int(*seedFlag))%len(configurations) == i {
					w.inflict(f, w.volumes[f.number%len(w.volumes)])
				}
			}
			w.finish()
		})
	}
}

// TestADiskDies takes a disk away for good, and then a whole node for a while. Three copies go on with one.
// For the other volumes over three nodes that is one loss too many: they wait, without an error, until the
// node is back.
func TestADiskDies(t *testing.T) {
	w := newWorld(t, chooseConfigurations(t, false)[0], *seedFlag)
	n := w.cluster.Owner(w.volumes[len(w.volumes)-1].ID)
	w.lose(n)
	other := w.other(n)
	w.during("kill -9 of another node than that of the dead disk", other, func() {
		w.kill(other)
		w.progress(10 * steady)
		w.restart(other)
	})
	w.finish()
}

// TestTwoDisksDie takes two disks of different nodes away for good, one after the other: I/O of volumes with
// two parities goes on all the time.
func TestTwoDisksDie(t *testing.T) {
	configurations := chooseConfigurations(t, false)
	w := newWorld(t, configurations[len(configurations)-1], *seedFlag)
	n := w.cluster.Owner(w.volumes[0].ID)
	w.lose(n)
	w.lose(w.other(n))
	w.finish()
}

// lose takes the first disk of a node away for good.
func (w *world) lose(n *cluster.Node) {
	w.during("death of a disk", n, func() {
		w.dead[n.Disks[0]] = true
		w.must(nil, n.Disks[0].Lose())
		w.progress(10 * steady)
	})
}

// TestAnotherLossAfterTheResync takes a node out of reach while hosts write, gives it back, waits until the
// API shows nothing degraded any more, and kills another one: all data must be there without that one too.
func TestAnotherLossAfterTheResync(t *testing.T) {
	configurations := chooseConfigurations(t, false)
	w := newWorld(t, configurations[len(configurations)-1], *seedFlag)
	for i, loss := range losses() {
		first := w.cluster.Nodes[i%len(w.cluster.Nodes)]
		second := w.cluster.Nodes[(i+1)%len(w.cluster.Nodes)]
		w.during(loss.name+", and after its resync kill -9 of another node", first, func() {
			loss.leave(w, first)
			w.progress(5 * steady)
			loss.comeBack(w, first)
			w.whole()
			w.kill(second)
			w.progress(steady)
			w.verifyEnduring()
			w.restart(second)
		})
	}
	w.finish()
}

// loss is one way to lose a node or a disk, and to get it back.
type loss struct {
	name            string
	leave, comeBack func(w *world, n *cluster.Node)
}

func losses() []loss {
	return []loss{
		{"kill -9", (*world).kill, (*world).restart},
		{"isolation", func(w *world, n *cluster.Node) { isolate(w, n) },
			func(w *world, _ *cluster.Node) { w.net.Heal() }},
		{"loss of a disk", func(w *world, n *cluster.Node) {
			w.kill(n)
			w.must(nil, n.Disks[0].Unplug())
			w.restart(n)
			w.cluster.Back(n)
		}, func(w *world, n *cluster.Node) { w.must(nil, n.Disks[0].Plug()) }},
	}
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
	began := time.Now()
	for _, v := range w.volumes {
		v.stop()
	}
	w.check()
	w.readThroughOwners()
	for _, n := range w.cluster.Nodes {
		for _, x := range w.witnesses[n] {
			x.stop()
		}
	}
	w.lookAtDisks()
	w.t.Logf("everything read and compared in %v", time.Since(began).Round(time.Millisecond))
	w.tell()
}
