package sim

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// maxDrift is how far a node's clock is off its nominal rate, in parts per million. Two clocks may differ by
// what lease.Margin allows for.
const maxDrift = 20_000

// node is a machine with at most one process, which has devices, perhaps a voter and perhaps a gateway.
type node struct {
	w       *World
	id      cluster.NodeID
	drift   int64 // parts per million
	zero    int64 // what its clock showed when the world began
	powered bool
	up      bool // the process runs
	life    int  // processes so far
	thaw    int64
	// lagUntil is until when its messages are slow; blindUntil, until when it hears nothing of the arbiter.
	lagUntil   int64
	blindUntil int64
	muteUntil  int64    // its gateway cannot renew its lease
	deafUntil  int64    // its voter cannot store a fence
	parked     []func() // what will happen to the process when it thaws
	votes      bool
	voter      *lease.Voter
	fences     []lease.Fence // durable
	serves     bool          // has a gateway
	gw         *gateway
	devices    []*device
	taken      map[*gateway]*conn // the connection that was taken up last, of each gateway process
}

// local is what the node's monotonic clock shows.
func (n *node) local() int64 { return n.zero + n.w.now + n.w.now/1e6*n.drift }

// world turns a duration on the node's clock into one of the world.
func (n *node) world(d int64) int64 { return d * 1e6 / (1e6 + n.drift) }

// start begins a process. Its devices are open after some time each.
func (n *node) start() {
	if n.up {
		return
	}
	n.w.logf("node %d: process starts", n.id)
	n.powered, n.up, n.thaw = true, true, 0
	n.life++
	n.taken = map[*gateway]*conn{}
	if n.votes {
		n.voter = lease.NewVoter(uint64(n.life)<<32, n.local(), n.fences)
	}
	for _, d := range n.devices {
		n.later(n.w.between(5*millisecond, 300*millisecond), d.open)
		d.scrub()
	}
	if n.serves {
		n.gw = newGateway(n)
	}
}

// stop ends the process at once; without power, peers hear nothing.
func (n *node) stop(power bool) {
	n.powered = power
	if !n.up {
		return
	}
	n.w.logf("node %d: process ends, power %v", n.id, power)
	n.up = false
	n.parked, n.thaw = nil, 0
	if n.w.mutant.Is(mutant.VoterForgets) {
		n.fences = nil
	}
	for _, d := range n.devices {
		d.crash()
	}
	n.w.serverGone(n)
	if n.gw != nil {
		n.gw.die()
		n.gw = nil
	}
}

// freeze stalls the process for some time: it notices nothing, and does all that was due when it goes on.
func (n *node) freeze(d int64) {
	if !n.up {
		return
	}
	n.w.logf("node %d: stalls for %d ms", n.id, d/millisecond)
	n.thaw = max(n.thaw, n.w.now+d)
	life := n.life
	n.w.after(n.thaw-n.w.now, func() {
		if n.life != life || !n.up || n.w.now < n.thaw {
			return
		}
		parked := n.parked
		n.parked = nil
		for _, do := range parked {
			n.at(life, do)
		}
	})
}

// at lets something happen to a process: now, when it goes on after a stall, or never if it has ended.
func (n *node) at(life int, do func()) {
	switch {
	case !n.up || n.life != life:
	case n.w.now < n.thaw:
		n.parked = append(n.parked, func() { n.at(life, do) })
	default:
		do()
	}
}

// later lets something happen to the present process after a time on its own clock.
func (n *node) later(d int64, do func()) {
	life := n.life
	n.w.after(n.world(d), func() { n.at(life, do) })
}

// storeFence makes a voter's fence durable and then tells how long the voter has not heard of a gateway.
func (n *node) storeFence(f lease.Fence, about cluster.NodeID, done func(lease.Fenced)) {
	if n.w.now < n.deafUntil {
		return
	}
	answer := func() {
		done(lease.Fenced{Known: n.voter.Epoch(f.Vol), Silent: n.voter.Age(n.local(), about)})
	}
	if n.voter.Epoch(f.Vol) >= f.Epoch {
		answer()
		return
	}
	n.later(n.w.between(100*microsecond, 5*millisecond), func() {
		if n.voter.Epoch(f.Vol) < f.Epoch {
			n.fences = append(n.fences, f)
			n.voter.Stored(f)
		}
		answer()
	})
}
