//go:build e2e

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/network"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	hostNQN    = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-0000000000c1"
	witnessNQN = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-0000000000c2"

	writers  = 3               // per volume
	steady   = 20              // operations per volume that show that I/O goes on
	calm     = 1 * time.Second // of undisturbed I/O after each fault
	deadline = 5 * time.Minute // of every wait
	// hostTimeout is how long a command may take before the host gives the path up and sends it on another.
	// Linux waits 30 s; a node that keeps a command it cannot carry out should cost this test less.
	hostTimeout = 10 * time.Second
	diskSize    = 256 << 20
)

// world is a cluster under load.
type world struct {
	t         *testing.T
	net       *network.Network
	cluster   *cluster.Cluster
	rng       *rand.Rand
	seed      uint64
	state     map[*cluster.Node]state
	dead      map[*cluster.Disk]bool // for good
	volumes   []*volume
	witnesses map[*cluster.Node][]*witness
	figures   figures
}

func newWorld(t *testing.T, c configuration, seed uint64) *world {
	t.Logf("seed %d", seed)
	net := network.New(t)
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), net: net,
		cluster: cluster.Start(t, cluster.Options{Nodes: c.nodes, Disks: c.disks, DiskSize: diskSize,
			Pools: c.pools(), Network: net, Patience: deadline}),
		state: map[*cluster.Node]state{}, dead: map[*cluster.Disk]bool{},
		witnesses: map[*cluster.Node][]*witness{}, figures: figures{}}
	for i, p := range c.volumes {
		v, err := w.cluster.API.CreateVolume(t.Context(),
			wire.VolumeCreate{Name: fmt.Sprintf("v%d-%s", i+1, p.pool()), Pool: p.pool(), Size: volumeSize})
		w.must(v, err)
		pool, err := w.cluster.API.GetPool(t.Context(), p.pool())
		w.must(pool, err)
		w.attach(newVolume(t, v, p, pool))
	}
	for _, v := range w.volumes {
		v.start(writers, seed)
	}
	w.progress(steady)
	return w
}

func (w *world) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// attach connects the writers' host to all nodes and a witness to each.
func (w *world) attach(v *volume) {
	for _, host := range []string{hostNQN, witnessNQN} {
		w.must(w.cluster.API.PutExport(w.t.Context(), v.ID, host))
	}
	v.host = w.open(v)
	w.t.Cleanup(func() { _ = v.host.Close() })
	for _, n := range w.cluster.Nodes {
		x, err := newWitness(v, n, w.seed)
		w.must(x, err)
		w.witnesses[n] = append(w.witnesses[n], x)
	}
	w.volumes = append(w.volumes, v)
}

func (w *world) open(v *volume) *initiator.Volume {
	cfg := initiator.VolumeConfig{GiveUp: patience,
		Config: initiator.Config{SubNQN: v.NQN, HostNQN: hostNQN, HostID: [16]byte{1}, KATO: 2 * time.Second,
			ConnectTimeout: 5 * time.Second, Timeout: hostTimeout},
		Backoff: initiator.Backoff{First: 50 * time.Millisecond, Max: time.Second}}
	for _, n := range w.cluster.Nodes {
		cfg.Portals = append(cfg.Portals, portal(n))
	}
	h, err := initiator.Open(w.t.Context(), cfg)
	w.must(h, err)
	return h
}

func portal(n *cluster.Node) string { return fmt.Sprintf("%s:%d", n.Address, n.Hosts) }

// check ends the test when a host saw something wrong.
func (w *world) check() {
	w.t.Helper()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// progress waits until n operations that begin from now on have ended on every volume whose I/O must go on.
func (w *world) progress(n int) {
	w.t.Helper()
	for _, v := range w.volumes {
		v.pause.mark()
	}
	w.cluster.Eventually("I/O goes on", func() error {
		w.check()
		for _, v := range w.volumes {
			if !w.endures(v) {
				continue
			}
			if err := v.pause.progressed(n); err != nil {
				return fmt.Errorf("%s: %w", v.Name, err)
			}
		}
		return nil
	})
}

// wait lets time pass while I/O goes on. It ends with the first thing that is wrong: the longer the cluster
// goes on, the less is to be seen of why.
func (w *world) wait(d time.Duration) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		w.check()
	}
	w.check()
}

// between is a random time.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)/1e6))*time.Millisecond
}

// other is a node that is none of these.
func (w *world) other(but ...*cluster.Node) *cluster.Node {
	for {
		n := w.cluster.Nodes[w.rng.IntN(len(w.cluster.Nodes))]
		if !slices.Contains(but, n) {
			return n
		}
	}
}

// inflict lets one fault happen to (an owner of) a volume and waits until the cluster is whole again.
func (w *world) inflict(f fault, v *volume) {
	w.t.Helper()
	n := w.cluster.Owner(v.ID)
	if !f.owner {
		n = w.other(n)
	}
	w.during(f.name, n, func() { f.do(w, n) })
}

// during measures what hosts feel of a fault, until the cluster is whole again.
func (w *world) during(name string, n *cluster.Node, fault func()) {
	w.t.Helper()
	began := time.Now()
	w.t.Logf("%s %s: %s", began.Format("15:04:05.000"), name, n.Name)
	w.reset()
	fault()
	healed := time.Now()
	w.whole()
	whole := time.Now()
	w.report(began, n)
	w.t.Logf("    cause gone after %v, whole %v later", healed.Sub(began).Round(time.Millisecond),
		whole.Sub(healed).Round(time.Millisecond))
	w.figures.add(name, w.volumes)
	w.reset()
	w.wait(calm)
	w.progress(steady)
}

func (w *world) reset() {
	for _, v := range w.volumes {
		v.pause.reset()
	}
}

// whole waits until every node takes part, no volume is degraded by more than what is dead, and I/O goes on.
func (w *world) whole() {
	w.t.Helper()
	for _, n := range w.cluster.Nodes {
		w.cluster.Back(n)
	}
	if len(w.dead) > 0 {
		w.cluster.Eventually("only dead disks are down", w.onlyTheDeadAreDown)
	} else {
		var all []model.UUID
		for _, v := range w.volumes {
			all = append(all, v.ID)
		}
		w.cluster.WholeAgain(all...)
		w.cluster.Healthy()
	}
	clear(w.state)
	w.check()
}

func (w *world) onlyTheDeadAreDown() error {
	w.check()
	var dead []model.DeviceID
	for d := range w.dead {
		dead = append(dead, d.Device)
	}
	slices.Sort(dead)
	for _, v := range w.volumes {
		got, err := w.cluster.API.GetVolume(w.t.Context(), v.ID)
		if err != nil {
			return err
		}
		if got.Healing == nil {
			return fmt.Errorf("%s: it is %s: %q", v.Name, got.Health, got.Reasons)
		}
		if down := slices.Sorted(slices.Values(got.Healing.Down)); !slices.Equal(down, dead) {
			return fmt.Errorf("%s: down are %v, dead are %v", v.Name, down, dead)
		}
	}
	return nil
}

// report prints what hosts felt and what the logs tell about owners.
func (w *world) report(since time.Time, n *cluster.Node) {
	for _, v := range w.volumes {
		w.t.Logf("    %s: %v", v.Name, &v.pause)
		for _, line := range ownerships(w.cluster, v, since) {
			w.t.Logf("        %s", line)
		}
	}
	for _, x := range w.witnesses[n] {
		w.t.Logf("    witness of %s at %s: %d answered, %d refused, %d writes acknowledged, since the start",
			x.v.Name, n.Name, x.answered.Load(), x.refused.Load(), x.acked.Load())
	}
}
