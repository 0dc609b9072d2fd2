package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/home"
)

// Volumes move while their owners are well: because people ask for it, and because package home says so. Both
// are decided by the node that is to have the volume, from what it has heard and whom it reaches; both are a
// take-over by which the former owner is asked to yield.

const (
	// wellAfter is how long a gateway must have been well before volumes are brought to it.
	wellAfter = second / 2
	// attractEvery is the pause between two volumes that are brought to a gateway.
	attractEvery = second / 4
	// calm is how long no volume may move once all are where they belong; restless, how often that may fail.
	calm     = 3 * second
	restless = 4
)

// errAway: a volume is not where it belongs.
var errAway = errors.New("it is to move")

// NewMoves is NewPlan with volumes that move in every schedule.
func NewMoves(seed uint64) Plan {
	p := newPlan(seed, false)
	p.pack(4)
	p.resizes(8)
	p.together(8)
	p.moves(1)
	return p
}

// moves makes one of so many schedules one in which volumes have homes and are moved about, while owners
// change for other reasons, too.
func (p *Plan) moves(oneIn int) {
	r := chance{rand.New(rand.NewPCG(p.Seed, 7))}
	if r.IntN(oneIn) > 0 {
		return
	}
	p.Moves = true
	if !p.Tight && !p.Snug {
		p.Volumes = max(p.Volumes, 1+r.IntN(3))
	}
	for range 6 + r.IntN(16) {
		p.Faults = append(p.Faults, r.fault(p.Length, Move))
	}
	for range r.IntN(8) {
		p.Faults = append(p.Faults, r.fault(p.Length, []Kind{HandOver, Crash, Stall, Partition, Flaky, NoArbiter,
			Snapshot, Revert}[r.IntN(8)]))
	}
}

// path is the failure domain of a node.
func (n *node) path() string { return pathIn(n.id, n.id) }

// pathIn is the path of a node in one of two racks.
func pathIn(rack, node cluster.NodeID) string { return fmt.Sprintf("az/r%d/%d", rack%2, node) }

// homeOf draws the home of a volume: none, half of the nodes, or one.
func (w *World) homeOf(v *volume) string {
	if !w.plan.Moves {
		return ""
	}
	r := chance{rand.New(rand.NewPCG(w.plan.Seed, uint64(v.key.VUID)))}
	at := w.nodes[r.IntN(w.shape.Gateways)].path()
	return [...]string{"", at[:len("az/r0")], at}[r.IntN(3)]
}

// move has somebody ask a gateway to take a volume over. Now and then it does not reach the devices beside
// the owner, so that only voters and the owner itself stand in the way of that one.
func (w *World) move(f Fault) bool {
	v := w.volumes[f.A%uint64(len(w.volumes))]
	to, o := w.nodes[f.B%uint64(w.shape.Gateways)], &w.etcd.records[v.index]
	if o.Epoch == 0 || o.Gateway == to.id {
		return false
	}
	v.move = &cluster.Move{Node: to.id, Epoch: o.Epoch}
	w.logf("volume %d is to move to gateway %d", v.index, to.id)
	if f.C>>32&3 == 0 && w.allows(2*w.shape.PerNode) {
		sever(w.wires, w.node(o.Gateway), to, w.now+second+f.duration())
	}
	return true
}

// attraction is what draws volumes to a gateway.
type attraction struct {
	asked []*cluster.Move          // as far as it has heard, per volume
	well  map[cluster.NodeID]int64 // since when others have been, by its clock
	next  int64
}

// called tells whether a gateway should take a volume over from an owner that is well.
func (g *gateway) called(vol int) bool {
	m := g.attracts.asked[vol]
	return m.Pending(&g.known[vol].Owner) && m.Node == g.n.id && g.movable(vol) && g.sound()
}

// movable tells whether the owner serves a volume, and would hear of another one.
func (g *gateway) movable(vol int) bool {
	o := &g.known[vol]
	return o.Epoch > 0 && o.Served == o.Epoch && !o.Released && g.connected(g.n.w.node(o.Gateway))
}

func (g *gateway) connected(n *node) bool {
	w := g.n.w
	return n != g.n && n.up && w.reach(g.n, n) && w.reach(n, g.n)
}

// sound tells whether a gateway reaches all nodes but those that seem to be gone.
func (g *gateway) sound() bool {
	for _, n := range g.n.w.nodes {
		if n != g.n && !g.connected(n) && !g.holder.Suspects(n.id, g.n.local()) {
			return false
		}
	}
	return true
}

// attract brings the next volume to a gateway that it should serve.
func (g *gateway) attract() {
	a, now := &g.attracts, g.n.local()
	if !g.n.w.plan.Moves {
		return
	}
	for _, n := range g.n.w.nodes {
		if well := n == g.n && g.leased() && g.sound() || g.connected(n); !well {
			delete(a.well, n.id)
		} else if a.well[n.id] == 0 {
			a.well[n.id] = now
		}
	}
	if now < a.next {
		return
	}
	a.next = now + attractEvery
	view := g.n.w.homeView(g.n.id, g.known, func(n *node) bool {
		since := a.well[n.id]
		return since > 0 && now-since >= wellAfter
	})
	for i := range view.Volumes {
		view.Volumes[i].Fixed = !g.movable(i)
	}
	if key, ok := view.Next(); ok && view.Nodes[g.n.id].Well {
		g.n.w.stats.Homed++
		g.takeOver(g.n.w.volumeOf(key).index)
	}
}

// homeView is the cluster as package home wants it.
func (w *World) homeView(self cluster.NodeID, known []record, well func(*node) bool) home.View {
	view := home.View{Self: self, Nodes: map[cluster.NodeID]home.Node{}}
	for _, n := range w.nodes[:w.shape.Gateways] {
		view.Nodes[n.id] = home.Node{Number: n.id, Path: n.path(), Well: well(n), Storage: len(n.devices) > 0}
	}
	for i, o := range known {
		view.Volumes = append(view.Volumes, home.Volume{Key: w.volumes[i].key, Owner: o.Gateway,
			Home: w.volumes[i].home, Balance: true})
	}
	return view
}

// informed tells whether the gateway of a node knows all owner records as they are, and has taken all nodes
// for well long enough to bring volumes to them.
func (w *World) informed(n *node) bool {
	if n.gw == nil {
		return false
	}
	for _, o := range w.nodes[:w.shape.Gateways] {
		if since := n.gw.attracts.well[o.id]; since == 0 || n.local()-since < wellAfter {
			return false
		}
	}
	for i, o := range w.etcd.records {
		if n.gw.known[i].revision != o.revision {
			return false
		}
	}
	return true
}

// settleMoves waits until every volume is where it belongs, and then for some time in which none moves. A
// gateway that has not heard all, or takes a node for unwell, may still move one a few times; volumes that go
// to and fro for ever do not pass.
func (w *World) settleMoves() {
	if !w.plan.Moves || w.plan.Beyond {
		return
	}
	for range restless {
		w.until(w.volumes[0], w.allAtHome)
		before := w.epochs()
		if w.run(calm); slices.Equal(before, w.epochs()) {
			return
		}
	}
	w.failf("volumes move to and fro: epochs %v", w.epochs())
}

func (w *World) allAtHome() error {
	for _, v := range w.volumes {
		if w.session(v) == nil || v.move.Pending(&w.etcd.records[v.index].Owner) {
			return errAway
		}
	}
	for _, n := range w.nodes[:w.shape.Gateways] {
		view := w.homeView(n.id, w.etcd.records, func(*node) bool { return true })
		if _, ok := view.Next(); ok || !w.informed(n) {
			return errAway
		}
	}
	return nil
}

// epochs are those of all volumes.
func (w *World) epochs() (out []uint32) {
	for _, o := range w.etcd.records {
		out = append(out, o.Epoch)
	}
	return out
}
