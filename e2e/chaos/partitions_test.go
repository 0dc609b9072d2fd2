//go:build e2e

package chaos

import (
	"time"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/network"
)

// slowLink is less than the load needs, in kbit/s.
const slowLink = 8000

// partitions lists what networks do.
func partitions() []fault {
	return []fault{
		{name: "isolation of the owner", owner: true, do: cutOff(isolate)},
		{name: "isolation of the owner, and the router says so", owner: true, do: cutOff(isolateLoudly)},
		{name: "isolation of another node", owner: false, do: cutOff(isolate)},
		{name: "cut between the owner and all other nodes, hosts reach all", owner: true, do: cutOff(oust)},
		{name: "cut between a minority with the owner and the rest, hosts reach all", owner: true,
			do: cutOff(split)},
		{name: "the other nodes hear nothing from the owner", owner: true, do: cutOff(mute)},
		{name: "the owner hears nothing from the other nodes", owner: true, do: cutOff(deaf)},
		{name: "the other nodes hear nothing from a third one", owner: false, do: cutOff(mute)},
		{name: "cut between the owner and one other node", owner: true, do: cutOff(bridge)},
		{name: "cut between all nodes", owner: true, do: cutOff(scatter)},
		{name: "cut between hosts and the owner", owner: true, do: cutOff(hide)},
		{name: "hosts hear nothing from the owner", owner: true, do: cutOff(muteToHosts)},
		{name: "slow link of the owner", owner: true, do: cutOff(slow)},
		{name: "loose contact of the owner", owner: true, do: looseContact},
	}
}

// cut makes the network fail around a node and says whether P1 promises anything while it does.
type cut func(w *world, n *cluster.Node) (promise bool)

// cutOff heals a cut after 0.3 to 4.5 seconds; two times in three not before I/O goes on, where it must.
// Witnesses
// at the node ask it all the time: an owner that does not know what is going on must not answer.
func cutOff(c cut) func(w *world, n *cluster.Node) {
	return func(w *world, n *cluster.Node) {
		w.everyWitness(func(x *witness) { x.ask(cutPace, witnessSectors) })
		for _, x := range w.witnesses[n] {
			x.ask(cutPace, witnessSectors/2) // the rest is not locked by writes that wait here
		}
		promise := c(w, n)
		began := time.Now()
		w.wait(w.between(300*time.Millisecond, 4500*time.Millisecond))
		if promise && w.rng.IntN(3) > 0 {
			w.progress(steady)
			w.wait(w.between(500*time.Millisecond, time.Second)) // there is something new that it may not know
		}
		w.net.Heal()
		w.t.Logf("    it lasted %v", time.Since(began).Round(time.Millisecond))
		w.wait(time.Second)
		w.everyWitness(func(x *witness) { x.ask(witnessPace, 0) })
		clear(w.state) // all are up: what they lack comes by itself
		w.progress(steady)
	}
}

// ends of nodes in the network.
func ends(nodes ...*cluster.Node) (out []*network.End) {
	for _, n := range nodes {
		out = append(out, n.End)
	}
	return out
}

// rest are the ends of all nodes but these.
func (w *world) rest(nodes ...*cluster.Node) []*network.End {
	return w.net.Others(append(ends(nodes...), w.net.Host)...)
}

func isolate(w *world, n *cluster.Node) bool {
	w.net.Sever(network.Drop, ends(n), w.net.Others(n.End))
	w.state[n] = down
	return true
}

func isolateLoudly(w *world, n *cluster.Node) bool {
	w.net.Sever(network.Reject, ends(n), w.net.Others(n.End))
	w.state[n] = down
	return true
}

func oust(w *world, n *cluster.Node) bool {
	w.net.Sever(network.Drop, ends(n), w.rest(n))
	w.state[n] = down
	return true
}

// split leaves the owner in a minority as large as it can be.
func split(w *world, n *cluster.Node) bool {
	minority := []*cluster.Node{n}
	for len(minority) < (len(w.cluster.Nodes)-1)/2 {
		minority = append(minority, w.other(minority...))
	}
	w.net.Sever(network.Drop, ends(minority...), w.rest(minority...))
	for _, m := range minority {
		w.state[m] = down
	}
	return true
}

func mute(w *world, n *cluster.Node) bool {
	w.net.Block(network.Drop, ends(n), w.rest(n))
	w.state[n] = down
	return true
}

func deaf(w *world, n *cluster.Node) bool {
	w.net.Block(network.Drop, w.rest(n), ends(n))
	w.state[n] = down
	return true
}

// bridge leaves every node in touch with a majority: for each owner, one node is out of reach at most.
func bridge(w *world, n *cluster.Node) bool {
	other := w.other(n)
	w.net.Sever(network.Drop, ends(n), ends(other))
	w.state[other] = down
	return true
}

// scatter leaves no majority: everything waits, nothing fails.
func scatter(w *world, _ *cluster.Node) bool {
	w.net.Block(network.Drop, w.rest(), w.rest())
	return false
}

// hide takes the owner from the hosts, while for the cluster all is well: nothing says that the volume moves.
func hide(w *world, n *cluster.Node) bool {
	w.net.Sever(network.Drop, ends(n), []*network.End{w.net.Host})
	return false
}

// muteToHosts lets the owner carry out what hosts send, and loses the answers.
func muteToHosts(w *world, n *cluster.Node) bool {
	w.net.Block(network.Drop, ends(n), []*network.End{w.net.Host})
	return false
}

func slow(w *world, n *cluster.Node) bool {
	w.net.Slow(n.End, slowLink)
	return false
}

// looseContact cuts a node off for moments shorter than any timeout.
func looseContact(w *world, n *cluster.Node) {
	for range 8 {
		w.net.Sever(network.Drop, ends(n), w.net.Others(n.End))
		w.wait(w.between(50*time.Millisecond, 750*time.Millisecond))
		w.net.Heal()
		w.wait(w.between(20*time.Millisecond, 220*time.Millisecond))
	}
	w.progress(steady)
}
