package sim

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// requestTimeout is after what time without an answer a gateway breaks its connection to a node.
const requestTimeout = second

// ghostLife is how long a request may outlive its broken connection.
const ghostLife = 5 * second

// cuts says until when something is cut, from the first node to the second.
type cuts map[[2]cluster.NodeID]int64

// reach tells whether what one node sends arrives at another.
func (w *World) reach(from, to *node) bool { return w.cuts[[2]cluster.NodeID{from.id, to.id}] <= w.now }

// wired tells whether chunk requests of a node arrive at another.
func (w *World) wired(from, to *node) bool {
	return w.reach(from, to) && w.wires[[2]cluster.NodeID{from.id, to.id}] <= w.now
}

// latency is the time of a message between two nodes: mostly short, now and then not.
func (w *World) latency(from, to *node) int64 {
	switch {
	case from == to:
		return w.between(0, 20*microsecond)
	case w.now < from.lagUntil || w.now < to.lagUntil:
		return w.between(0, 3*second/2)
	case w.rng.IntN(64) == 0:
		return w.between(0, 30*millisecond)
	}
	return w.between(30*microsecond, 600*microsecond)
}

// message sends a datagram to whatever process will run on a node when it arrives.
func (w *World) message(from, to *node, do func()) {
	if !w.reach(from, to) {
		return
	}
	w.after(w.latency(from, to), func() {
		if w.reach(from, to) {
			to.at(to.life, do)
		}
	})
}

// conn is the connection between one gateway process and the devices of one node: a session of requests.
// When it breaks, its requests come back as unreachable; each of them was carried out, will be (a ghost), or
// never is. The server takes up the gateway's next connection when nothing of this one can happen any more.
type conn struct {
	gw      *gateway
	server  *node
	number  uint64 // of the world's connections
	broken  bool   // the gateway has given it up
	closed  bool   // the server carries nothing more of it out
	life    int    // of the server's process that it was made with; 0: none yet
	watched bool
	flights []*flight
}

// flight is one request on its way.
type flight struct {
	c    *conn
	s    *session
	r    *chunk.Request // the gateway's, or once the connection is broken a copy
	sent int64
	plan int  // number of the last plan to carry it out; earlier ones are void
	gone bool // was carried out, or never will be
}

// submit sends a request of a session to the node of its device.
func (g *gateway) submit(s *session, r *chunk.Request) {
	d := g.n.w.devices[r.Device]
	if d == nil {
		panic("sim: the engine asks for a device that does not exist")
	}
	c := g.conns[d.node.id]
	if c == nil || c.broken {
		g.n.w.conns++
		c = &conn{gw: g, server: d.node, number: g.n.w.conns}
		g.conns[d.node.id] = c
	}
	f := &flight{c: c, s: s, r: r, sent: g.n.w.now}
	c.flights = append(c.flights, f)
	if !c.watched && d.node != g.n {
		c.watched = true
		c.watch()
	}
	if g.n.w.wired(g.n, d.node) {
		f.planned(g.n.w.latency(g.n, d.node), f.arrive)
	}
}

// planned lets the next stage of a flight happen later, unless another plan is made meanwhile.
func (f *flight) planned(d int64, do func()) {
	f.plan++
	plan := f.plan
	f.c.gw.n.w.after(d, func() {
		if f.plan == plan && !f.gone {
			do()
		}
	})
}

// arrive is the request at the node of its device: the connection is taken up if it is new.
func (f *flight) arrive() {
	c, n := f.c, f.c.server
	w := n.w
	switch {
	case !w.wired(c.gw.n, n) && !c.broken:
		return
	case !n.up && n.powered:
		w.message(n, c.gw.n, func() { c.breakUp("refused") })
		return
	case !n.up:
		return
	case c.life == 0 && !c.broken:
		c.life = n.life
	case c.life != n.life: // made with a process that has ended, or with none
		return
	}
	plan := f.plan
	n.at(n.life, func() {
		if f.plan != plan || f.gone {
			return
		}
		if c.closed || !n.takeUp(c) {
			w.message(n, c.gw.n, func() { c.breakUp("reset") })
			return
		}
		if f.r.Op == chunk.OpRenumber && w.plan.Shape.Returns && w.now < w.plan.Length && w.rng.IntN(2) == 0 {
			// The journal says that it is renumbered, and the device does not know it yet: the moment that counts.
			w.message(n, c.gw.n, func() { c.breakUp("renumbering") })
			return
		}
		w.devices[f.r.Device].enqueue(f)
	})
}

// takeUp begins with a gateway's connection when nothing of its former one can happen any more. False: there
// is a newer one already.
func (n *node) takeUp(c *conn) bool {
	former := n.taken[c.gw]
	lax := n.w.mutant.Is(mutant.GhostNewSession)
	switch {
	case former == c:
	case former == nil:
		n.taken[c.gw] = c
	case former.number > c.number:
		return lax
	default:
		if !lax {
			former.finish()
		}
		n.taken[c.gw] = c
	}
	return true
}

// finish ends a connection at the server: what is left of it happens now or never.
func (c *conn) finish() {
	for _, f := range c.flights {
		if !f.gone && c.gw.n.w.rng.IntN(2) == 0 {
			c.gw.n.w.devices[f.r.Device].execute(f)
		}
		f.gone = true
	}
	c.closed = true
}

// answered brings the answer of a request back.
func (f *flight) answered(s chunk.Status) {
	c := f.c
	w := c.gw.n.w
	f.gone = true
	if c.broken || !w.wired(c.server, c.gw.n) {
		return
	}
	w.message(c.server, c.gw.n, func() {
		if c.broken || !c.gw.alive() {
			return
		}
		i := slices.Index(c.flights, f)
		c.flights = slices.Delete(c.flights, i, i+1)
		f.r.Status = s
		f.s.chunkDone(f.r)
	})
}

// slowest is how long an answer takes at most when nothing is wrong.
const slowest = 70 * millisecond

// overdue tells whether a gateway still waits for an answer of a node that may never come.
func (n *node) overdue() bool {
	for _, o := range n.w.nodes {
		if o.gw == nil || o.gw.conns[n.id] == nil {
			continue
		}
		c := o.gw.conns[n.id]
		if !c.broken && len(c.flights) > 0 && n.w.now-c.flights[0].sent > slowest {
			return true
		}
	}
	return false
}

// watch breaks the connection when its oldest request has waited too long.
func (c *conn) watch() {
	n := c.gw.n
	n.later(requestTimeout/4, func() {
		switch {
		case c.broken || len(c.flights) == 0:
			c.watched = false
		case n.w.now-c.flights[0].sent > requestTimeout:
			c.breakUp("no answer")
		default:
			c.watch()
		}
	})
}

// breakUp ends a connection at the gateway.
func (c *conn) breakUp(why string) {
	if c.broken || !c.gw.alive() {
		return
	}
	w := c.gw.n.w
	w.logf("gateway %d: connection to node %d breaks: %s", c.gw.n.id, c.server.id, why)
	c.broken = true
	flights := c.flights
	c.flights = slices.Clone(flights)
	lost := make([]*chunk.Request, len(flights))
	for i, f := range flights {
		lost[i] = f.r
		f.haunt()
	}
	for i, f := range flights {
		lost[i].Status = chunk.Unreachable
		f.s.chunkDone(lost[i])
	}
}

// haunt decides what becomes of a request whose connection broke, and leaves the request itself to its owner.
func (f *flight) haunt() {
	if f.gone {
		return
	}
	w := f.c.gw.n.w
	r := *f.r
	r.Data, r.Blocks = slices.Clone(r.Data), slices.Clone(r.Blocks)
	r.Holes, r.Journal, r.Entries = slices.Clone(r.Holes), slices.Clone(r.Journal), nil
	d := w.devices[r.Device]
	f.r = &r
	switch w.rng.IntN(4) {
	case 0:
		f.gone = true
	case 1:
		if d.node.up && !f.c.closed && d.node.taken[f.c.gw] == f.c {
			d.execute(f)
		}
		f.gone = true
	case 2:
		f.planned(w.between(0, ghostLife), f.arrive)
	default: // goes on as if nothing had happened
	}
}

// serverGone ends all connections to a node whose process has ended.
func (w *World) serverGone(n *node) {
	for _, c := range n.taken {
		c.closed = true
	}
	clear(n.taken)
	for _, o := range w.nodes {
		if o.gw == nil {
			continue
		}
		if c := o.gw.conns[n.id]; c != nil && !c.broken {
			for _, f := range c.flights {
				f.gone = true
			}
			if n.powered {
				w.message(n, o, func() { c.breakUp("reset") })
			}
		}
	}
}
