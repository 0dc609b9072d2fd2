//go:build e2e

package chaos

import (
	"time"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
)

// fault is something that happens to one node, and what ends it.
type fault struct {
	name  string
	owner bool // it happens to the owner of a volume, else to another node
	do    func(w *world, n *cluster.Node)
	// number is its place in the list: it decides which volume the short run takes.
	number int
}

// faults lists them all. Each do returns when the cause is gone; what follows is recovery.
func faults() []fault {
	return append(partitions(), []fault{
		{name: "kill -9 of the owner", owner: true, do: kill},
		{name: "kill -9 of another node", owner: false, do: kill},
		{name: "SIGSTOP of the owner", owner: true, do: hang},
		{name: "SIGSTOP of another node", owner: false, do: hang},
		{name: "stop of the owner", owner: true, do: stop},
		{name: "restart of the owner without a disk, which comes back", owner: true, do: unplug},
		{name: "two kills of the owner, the second as it comes back", owner: true, do: killTwice},
		{name: "stutter of the owner", owner: true, do: stutter},
		{name: "kill -9 of all nodes", owner: true, do: killAll},
		{name: "kill -9 of all nodes, one of which comes back late", owner: true, do: killAllOneLate},
		{name: "kill -9 of the owner, and of the next one while the first is behind", owner: true, do: relay},
		{name: "SIGSTOP of so many nodes, the owner among them, that no majority is left", owner: true,
			do: hangMajority},
	}...)
}

func kill(w *world, n *cluster.Node) {
	w.kill(n)
	w.progress(steady)
	w.restart(n)
}

// hang stops a process for 1 to 6 seconds. Meanwhile and right afterwards witnesses read and write there.
func hang(w *world, n *cluster.Node) {
	w.hang(w.between(time.Second, 6*time.Second), n)
}

func (w *world) hang(d time.Duration, nodes ...*cluster.Node) {
	w.everyWitness(func(x *witness) { x.ask(witnessPace, witnessSectors) })
	for _, n := range nodes {
		n.Pause()
	}
	w.wait(d)
	w.everyWitness(func(x *witness) { x.ask(stormPace, witnessSectors) })
	for _, n := range nodes {
		n.Resume()
	}
	w.wait(time.Second)
	w.everyWitness(func(x *witness) { x.ask(witnessPace, 0) })
	w.progress(steady)
	w.t.Logf("    it hung for %v", d)
}

func (w *world) everyWitness(do func(*witness)) {
	for _, n := range w.cluster.Nodes {
		for _, x := range w.witnesses[n] {
			do(x)
		}
	}
}

// stutter stops a process for moments shorter than any timeout.
func stutter(w *world, n *cluster.Node) {
	for range 8 {
		n.Pause()
		w.wait(w.between(50*time.Millisecond, 750*time.Millisecond))
		n.Resume()
		w.wait(w.between(20*time.Millisecond, 220*time.Millisecond))
	}
	w.progress(steady)
}

func stop(w *world, n *cluster.Node) {
	n.Stop()
	w.state[n] = down
	w.progress(steady)
	w.restart(n)
}

func killTwice(w *world, n *cluster.Node) {
	w.kill(n)
	w.progress(steady)
	w.restart(n)
	w.wait(w.between(200*time.Millisecond, 3200*time.Millisecond))
	w.kill(n)
	w.progress(2 * steady)
	w.restart(n)
}

// unplug takes a disk away while the node is down; the node comes up without it.
func unplug(w *world, n *cluster.Node) {
	d := n.Disks[w.rng.IntN(len(n.Disks))]
	w.kill(n)
	w.must(nil, d.Unplug())
	w.restart(n)
	w.cluster.Back(n)
	w.progress(steady)
	w.must(nil, d.Plug())
}

// powerCut ends all nodes at the same moment: none gets to know that another is gone.
func (w *world) powerCut() {
	for _, n := range w.cluster.Nodes {
		n.Pause()
	}
	for _, n := range w.cluster.Nodes {
		w.kill(n)
	}
}

func killAll(w *world, _ *cluster.Node) {
	w.powerCut()
	w.powerOn(w.cluster.Nodes...)
	w.progress(steady)
}

// powerOn starts nodes that lack nothing.
func (w *world) powerOn(nodes ...*cluster.Node) {
	for _, n := range nodes {
		w.restart(n)
		w.state[n] = fine
	}
}

func killAllOneLate(w *world, n *cluster.Node) {
	w.powerCut()
	for _, m := range w.cluster.Nodes {
		if m != n {
			w.powerOn(m)
		}
	}
	w.progress(steady)
	w.restart(n)
}

// relay takes the next owner away while the disks of the first still lack what they missed: of two copies,
// that may be the only good one. Hosts wait for it without an error.
func relay(w *world, n *cluster.Node) {
	w.kill(n)
	w.progress(steady)
	next := w.cluster.Owner(w.volumes[w.rng.IntN(len(w.volumes))].ID)
	w.restart(n)
	w.wait(w.between(0, 1500*time.Millisecond))
	w.kill(next)
	w.wait(w.between(0, 1500*time.Millisecond))
	w.restart(next)
	clear(w.state) // all are up: what they lack comes by itself
	w.progress(2 * steady)
}

// hangMajority takes the majority away: everything waits, nothing fails.
func hangMajority(w *world, n *cluster.Node) {
	nodes := []*cluster.Node{n}
	for len(nodes) <= len(w.cluster.Nodes)/2 {
		nodes = append(nodes, w.other(nodes...))
	}
	w.hang(w.between(time.Second, 5*time.Second), nodes...)
}
