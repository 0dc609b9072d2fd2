package sim

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

const (
	// tickEvery is the pace of the engines and of the look-out for volumes without an owner.
	tickEvery = 100 * millisecond
	// retryDelay is the pause after a take-over that failed.
	retryDelay = 500 * millisecond
)

// gateway is a gateway process: what package gateway is in production, with the messages, clocks and
// goroutines of that shell replaced by events of the world.
type gateway struct {
	n        *node
	dead     bool
	holder   *lease.Holder
	conns    map[cluster.NodeID]*conn
	rack     cluster.NodeID // where it is: even or odd
	table    uint32         // the newest table that the gateway has heard of
	known    []record       // owner records as far as the gateway has heard, per volume
	sessions []*session     // per volume
	levels   []engine.Levels
	opening  []bool
	retry    []int64
	bounds   []bounds // of volumes, as far as the gateway has heard
	shrinks  []int    // that it has heard of
	attracts attraction
}

func newGateway(n *node) *gateway {
	g := &gateway{n: n, holder: lease.NewHolder(n.local(), n.w.voters()), conns: map[cluster.NodeID]*conn{}}
	g.attracts.well = map[cluster.NodeID]int64{}
	g.makeRoom()
	for _, v := range g.holder.Voters() {
		n.later(n.w.between(0, 20*millisecond), func() { g.renew(v) })
	}
	n.later(n.w.between(0, tickEvery), g.tick)
	return g
}

// makeRoom makes room for what the gateway knows of new volumes.
func (g *gateway) makeRoom() {
	for len(g.known) < len(g.n.w.volumes) {
		g.known, g.sessions = append(g.known, record{}), append(g.sessions, nil)
		g.levels = append(g.levels, engine.Levels{})
		g.opening, g.retry = append(g.opening, false), append(g.retry, 0)
		g.attracts.asked = append(g.attracts.asked, nil)
		g.bounds, g.shrinks = append(g.bounds, bounds{}), append(g.shrinks, 0)
	}
}

// alive tells whether the process still runs.
func (g *gateway) alive() bool { return !g.dead }

// die is the end of the process.
func (g *gateway) die() { g.dead = true }

// leased tells whether hosts may be answered.
func (g *gateway) leased() bool {
	return g.n.local() < g.holder.ValidUntil() || g.n.w.mutant.Is(mutant.AnswerUnleased)
}

// confirmed tells whether a majority of the voters has answered a renewal that was sent since: else it may be
// this gateway that is cut off, and not the devices that it misses.
func (g *gateway) confirmed(since int64) bool {
	return g.holder.ValidUntil() >= since+lease.Duration-lease.Margin
}

// renew asks a voter for a lease, now and again.
func (g *gateway) renew(voter cluster.NodeID) {
	g.n.later(lease.RenewEvery, func() { g.renew(voter) })
	g.renewOnce(voter)
}

func (g *gateway) renewOnce(voter cluster.NodeID) {
	w, v := g.n.w, g.n.w.node(voter)
	if w.now < g.n.muteUntil {
		return
	}
	sent, since := g.n.local(), g.holder.Since(voter)
	w.message(g.n, v, func() {
		reply := v.voter.Renew(v.local(), g.n.id, since)
		w.message(v, g.n, func() {
			if g.alive() {
				g.granted(voter, sent, reply)
			}
		})
	})
}

// granted takes a voter's reply: first what it takes away, then what it gives.
func (g *gateway) granted(voter cluster.NodeID, sent int64, r lease.Reply) {
	for _, f := range r.Fences {
		for _, s := range g.sessions {
			if s != nil && s.v.key == f.Vol && s.epoch < f.Epoch && !g.n.w.mutant.Is(mutant.FencesUnread) {
				s.end("a voter knows a newer owner")
			}
		}
	}
	if g.n.w.mutant.Is(mutant.LeaseFromArrival) {
		sent = g.n.local()
	}
	if !g.holder.Granted(voter, sent, g.n.local(), r) {
		g.renewOnce(voter)
		return
	}
	for _, s := range g.sessions {
		if s != nil {
			s.releaseHeld()
		}
	}
}

// tick drives the engines and looks for volumes without an owner.
func (g *gateway) tick() {
	g.n.later(tickEvery, g.tick)
	g.learnTable()
	g.turn()
	for vol := range g.n.w.volumes {
		g.learn(vol)
		if s := g.sessions[vol]; s != nil {
			s.tick()
		} else {
			g.consider(vol)
		}
	}
	g.attract()
}

// learn hears of an owner record, some time after it was changed.
func (g *gateway) learn(vol int) {
	w := g.n.w
	if w.now < w.etcd.downUntil || w.now < g.n.blindUntil || w.rng.IntN(3) != 0 {
		return
	}
	g.known[vol] = w.etcd.records[vol]
	g.attracts.asked[vol] = w.volumes[vol].move
	g.learnBounds(vol)
	switch s := g.sessions[vol]; {
	case s == nil:
	case g.known[vol].Epoch > s.epoch:
		s.end("the owner record names a newer owner")
	default:
		s.followRecord(&g.known[vol])
	}
}

// learnTable hears of the next group table, some time after the map has changed.
func (g *gateway) learnTable() {
	if w := g.n.w; g.table >= w.newest || w.rng.IntN(5) != 0 {
		return
	}
	g.know(g.table + 1)
}

// know takes note of a group table, and tells the engines.
func (g *gateway) know(table uint32) {
	if table <= g.table {
		return
	}
	g.table = table
	for _, s := range g.sessions {
		if s != nil {
			s.eng.SetTable(g.n.w.table(g.table))
			s.carryOut()
		}
	}
}

// consider takes a volume over that is this node's, or whose owner seems to be gone.
func (g *gateway) consider(vol int) {
	o := &g.known[vol]
	if g.called(vol) {
		g.takeOver(vol)
		return
	}
	if o.revision == 0 || o.Gateway != g.n.id && !g.holder.Suspects(o.Gateway, g.n.local()) {
		return
	}
	if o.Gateway != g.n.id && g.n.w.rng.IntN(8) != 0 {
		return // somebody else may be first
	}
	g.takeOver(vol)
}

// takeOver makes this gateway the owner of a volume, whatever the present owner thinks of it.
func (g *gateway) takeOver(vol int) {
	prev := g.known[vol]
	if g.opening[vol] || g.sessions[vol] != nil || !g.leased() || g.n.local() < g.retry[vol] ||
		prev.revision == 0 {
		return
	}
	g.opening[vol] = true
	g.retry[vol] = g.n.local() + retryDelay
	next := prev.Owner.Clone()
	next.Gateway, next.Epoch, next.Released = g.n.id, prev.Epoch+1, false
	g.swap(vol, prev.revision, next, func(r record, err error) {
		g.opening[vol] = false
		if err != nil {
			return
		}
		g.known[vol] = r
		g.sessions[vol] = newSession(g, vol, r)
		g.sessions[vol].begin(prev)
	})
}

// serving is the session of a volume that hosts find here, or nil.
func (g *gateway) serving(vol int) *session {
	if s := g.sessions[vol]; s != nil && s.serving && !s.ended {
		return s
	}
	return nil
}

// near tells how near devices are.
func (g *gateway) near() map[cluster.DeviceID]int {
	near := map[cluster.DeviceID]int{}
	for _, d := range g.n.w.order {
		near[d.id] = cluster.Nearness(pathIn(g.rack, g.n.id), d.node.path())
	}
	return near
}

// turn has the gateway be in the other rack every second: what is near may change while a volume is served.
func (g *gateway) turn() {
	rack := g.n.id + cluster.NodeID(g.n.w.now/second)
	if rack == g.rack {
		return
	}
	g.rack = rack
	near := g.near()
	for _, s := range g.sessions {
		if s != nil {
			s.eng.SetNear(near)
		}
	}
}

// outlook tells which devices may come up any moment and which seem to be gone. It may be wrong about them,
// unless blocks are rotten: to go on without a device that is there uses up redundancy.
func (g *gateway) outlook() (awaited, doubted map[cluster.DeviceID]bool, patience int) {
	w := g.n.w
	awaited, doubted = map[cluster.DeviceID]bool{}, map[cluster.DeviceID]bool{}
	hopeful := w.rng.IntN(3) > 0
	for _, d := range w.order {
		gone := !d.node.up || w.rng.IntN(16) == 0 && (len(w.faults.spots) == 0 || w.plan.Beyond)
		doubted[d.id] = gone && !hopeful
		awaited[d.id] = hopeful
	}
	if hopeful {
		patience = w.rng.IntN(2) * w.rng.IntN(50)
	}
	return awaited, doubted, patience
}
