package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// World is one cluster with its hosts, driven by one seed.
type World struct {
	clock
	plan    Plan
	shape   Shape
	pool    *pool
	newest  uint32 // number of the pool's newest table
	mutant  mutant.Set
	rng     chance // latencies, crashes: what the machines and the network do
	load    load
	nodes   []*node
	devices map[cluster.DeviceID]*device
	order   []*device
	volumes []*volume
	etcd    arbiter
	cuts    cuts // nothing gets from one node to another
	wires   cuts // no chunk request does, while other messages get through
	faults  damage
	conns   uint64
	engines []*engine.Engine
	stats   Stats
	log
}

// log keeps what happens, if somebody wants to read it.
type log struct {
	tracing bool
	lines   []string
}

// Stats are figures of a schedule.
type Stats struct {
	Ops     int
	NoSpace int
	Media   int
	Faults  [kinds]int
	Skipped int // faults that would have exceeded the budget, or found nothing to break
	Epochs  int
	Beyond  int // operations of hosts out of range
	Cuts    int // volumes cut off
	Homed   int // times that a gateway was drawn to a volume
	// Together counts group snapshots.
	Together int
	engine.Counters
}

// broken is the panic of a world whose promises were broken.
type broken string

func (w *World) failf(format string, a ...any) { panic(broken(fmt.Sprintf(format, a...))) }

func (w *World) logf(format string, a ...any) {
	if w.tracing {
		w.lines = append(w.lines, fmt.Sprintf("%9.4f ", float64(w.now)/1e9)+fmt.Sprintf(format, a...))
	}
}

func (w *World) between(from, to int64) int64 { return w.rng.between(from, to) }

// newWorld builds a cluster whose processes are about to start.
func newWorld(o Options, plan Plan, p *pool) *World {
	w := &World{plan: plan, shape: plan.Shape, pool: p, mutant: o.Mutant,
		rng: chance{rand.New(rand.NewPCG(plan.Seed, 2))}, devices: map[cluster.DeviceID]*device{},
		cuts: cuts{}, wires: cuts{}, log: log{tracing: o.Trace}}
	w.load = newLoad(plan)
	domains := w.shape.Domains
	if plan.Changes > 0 {
		domains += joins
	}
	for i := range max(domains, w.shape.Gateways, 3) {
		n := &node{w: w, id: cluster.NodeID(i + 1), votes: i < 3, serves: i < w.shape.Gateways}
		n.drift = w.between(-maxDrift, maxDrift)
		n.zero = w.between(second, 1000*second)
		w.nodes = append(w.nodes, n)
	}
	for i := range domains * w.shape.PerNode {
		n := w.nodes[i/w.shape.PerNode]
		d := newDevice(w, n, w.shape.device(i/w.shape.PerNode, i%w.shape.PerNode))
		n.devices = append(n.devices, d)
		w.devices[d.id] = d
		w.order = append(w.order, d)
	}
	for range plan.Volumes {
		w.addVolume()
	}
	return w
}

// voters lists the nodes that vote.
func (w *World) voters() []cluster.NodeID {
	var out []cluster.NodeID
	for _, n := range w.nodes {
		if n.votes {
			out = append(out, n.id)
		}
	}
	return out
}

func (w *World) volumeOf(key cluster.VolumeKey) *volume {
	i := slices.IndexFunc(w.volumes, func(v *volume) bool { return v.key == key })
	return w.volumes[i]
}

func (w *World) node(id cluster.NodeID) *node { return w.nodes[id-1] }

// run lets time pass.
func (w *World) run(d int64) {
	end := w.now + d
	for w.step(end) {
	}
	w.now = end
}

// play runs the schedule: some time with faults, then everything is mended and must become well again.
func (w *World) play() {
	for _, n := range w.nodes {
		n.start()
	}
	for i := range w.plan.Hosts {
		for _, v := range w.volumes {
			w.startHost(v, w.plan.Readers && i%2 == 0)
		}
	}
	rounds := int64(max(w.plan.Rounds, 1))
	if w.plan.Beyond {
		rounds = 1 // lost data never heals
	}
	for k := range rounds {
		w.round(k*w.plan.Length/rounds, (k+1)*w.plan.Length/rounds)
		if k < int64(w.plan.Clones) && k < rounds-1 {
			w.bear()
		}
	}
	w.checkSpace()
	for _, e := range w.engines {
		w.stats.add(e.Counters)
	}
	w.stats.Epochs = len(w.engines)
}

// round lets time pass with the faults between two moments of the plan, then mends and checks all.
func (w *World) round(from, to int64) {
	w.load.quiet = false
	for _, f := range w.plan.Faults {
		if f.At >= from && f.At < to {
			w.after(f.At-from, func() { w.fault(f) })
		}
	}
	w.run(to - from)
	w.load.quiet = true
	w.heal()
	w.settle()
}

// sortedKeys lists the keys of a map in order: nothing in the world may depend on the order of a map.
func sortedKeys[K interface{ ~uint32 | ~uint64 }, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
