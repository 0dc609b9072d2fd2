package sim

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Kind is a kind of fault.
type Kind int

// The kinds of faults.
const (
	Crash     Kind = iota // a process ends and starts again
	PowerLoss             // of one node
	PowerCut              // of all nodes at once
	Stall                 // a process does nothing for a while
	Partition             // a node is cut off from others, in one or both directions
	Break                 // a connection breaks
	Slow                  // a device answers late
	Failing               // a device fails some requests
	Full                  // a device has no more space
	Detached              // a device is not served by its node for a while
	Rot                   // a block cannot be read any more
	LostWrite             // a write was answered, but its data is not there; perhaps it went over another block
	NoArbiter             // the arbiter is away
	Flaky                 // the arbiter is late and its answers get lost
	TakeOver              // another gateway takes a volume over while the owner lives
	HandOver              // an owner hands a volume over
	Usurp                 // a gateway takes a volume over that cannot reach all that the owner reaches
	Flap                  // two nodes go and come in turns, so that one stands in for the other more than once
	Coup                  // a gateway takes over from an owner that neither hears of it nor reaches much
	Relay                 // a device goes the very moment that the one which stood in for it is back
	Amnesia               // a device forgets an answered write of a parity, and has the version before
	Straggler             // a device alone has a write, and is not there when the next owner opens the volume
	Hermit                // a device alone does not hear that a row was emptied
	Snapshot              // a pin is taken, or one is given up
	Revert                // a volume becomes what it was at a pin
	Resize                // a volume becomes larger, or is to become smaller
	Together              // a snapshot is taken of all volumes
	Move                  // a gateway is asked to take a volume over from an owner that is well
	MapChange             // devices join or leave the pool
	Loss                  // a device is lost for good
	Death                 // as many are as the code can stand, and nothing takes their place
	kinds
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"crash", "power loss", "power cut", "stall", "partition", "break", "slow", "failing",
		"full", "detached", "rot", "lost write", "no arbiter", "flaky arbiter", "take-over", "hand-over",
		"usurpation", "flapping", "coup", "relay", "amnesia", "straggler", "hermit", "snapshot", "revert",
		"resize", "group snapshot", "move", "map change", "loss", "death"}[k]
}

// weight is how often a kind is drawn.
func (k Kind) weight() int {
	return [...]int{Crash: 10, PowerLoss: 6, PowerCut: 5, Stall: 6, Partition: 8, Break: 6, Slow: 5, Failing: 4,
		Full: 3, Detached: 3, Rot: 8, LostWrite: 4, NoArbiter: 3, Flaky: 4, TakeOver: 8, HandOver: 5,
		Usurp: 10, Flap: 5, Coup: 3, Relay: 3, Amnesia: 4, Straggler: 3, Hermit: 0,
		Snapshot: 6, Revert: 3, Resize: 0, Together: 0, Move: 0, MapChange: 0, Loss: 0, Death: 0}[k]
}

// Fault is one thing that goes wrong; what A, B and C choose among depends on what there is at that moment.
type Fault struct {
	At      int64
	Kind    Kind
	A, B, C uint64
}

// String tells kind and moment.
func (f Fault) String() string { return fmt.Sprintf("%v at %.3f s", f.Kind, float64(f.At)/1e9) }

// duration is how long a fault lasts: mostly shorter than a lease, sometimes longer than anybody's patience.
func (f Fault) duration() int64 {
	limit := [...]int64{second / 2, 3 * second, 3 * second, 8 * second}[f.C%4]
	return int64(f.C>>8)%limit + millisecond
}

// damage is what was destroyed and may still be missing.
type damage struct {
	everFull bool
	spots    []spot
}

// spot is a version whose data was destroyed.
type spot struct {
	d       *device
	vol     int
	page    uint64
	column  uint8
	row     uint16
	version cluster.Seq
	older   bool // it is not there at all, and an older one is in its place
}

// open tells whether the version is still missing. One that was forgotten is missing as of a pin, too, that
// would see it: nobody writes it again there, also when the block is written anew.
func (w *World) open(s spot) bool {
	v := w.volumes[s.vol]
	if !s.older {
		return s.d.isBad(v.key, s.page, s.column, s.row, s.version)
	}
	lacks := func(asOf cluster.Seq) bool {
		return s.d.disk.seen(v.key, s.page, s.column, s.row, asOf).W < s.version
	}
	return lacks(0) || slices.ContainsFunc(v.taken, func(p *pin) bool {
		return p.w > s.version && w.shows(v, p) && lacks(p.w)
	})
}

// fault lets one thing go wrong, if the budget allows.
func (w *World) fault(f Fault) {
	if w.apply(f) {
		w.logf("fault: %v", f)
		w.stats.Faults[f.Kind]++
	} else {
		w.stats.Skipped++
	}
}

func (w *World) apply(f Fault) bool {
	n := w.nodes[f.A%uint64(len(w.nodes))]
	d := w.order[f.A%uint64(len(w.order))]
	switch f.Kind {
	case MapChange:
		return w.changeMap()
	case Loss:
		return w.destroy()
	case Death:
		return w.kill(f)
	case Flap:
		return w.allows(len(n.devices)*2) && w.flap(f, n)
	case Coup:
		return w.allows(len(w.order)) && w.coup(f)
	case Relay:
		return w.allows(len(w.order)) && w.relay(f)
	case Straggler:
		return w.allows(len(w.order)) && w.straggler(f, d)
	case Hermit:
		return w.allows(len(w.order)) && w.hermit(d)
	case Amnesia:
		return w.amnesia(f)
	case Snapshot:
		return w.snapshot(f)
	case Revert:
		return w.revert(f)
	case Resize:
		return w.resize(f)
	case Together:
		return w.together(f)
	case Move:
		return w.move(f)
	case Usurp:
		return w.allows(2*len(n.devices)) && w.usurp(f, n)
	case Crash, PowerLoss, Stall:
		return w.allows(len(n.devices)) && w.strike(f, n)
	case Partition: // whoever is cut off may have to do without more than one node
		return w.allows(len(w.order)) && w.strike(f, n)
	case PowerCut:
		return w.powerCut(f)
	case Break:
		return w.allows(1) && w.breakAny(f)
	case Slow, Failing, Full, Detached:
		return w.allows(1) && w.weaken(f, d)
	case Rot:
		return w.rot(f)
	case LostWrite:
		d.losing = true
		w.after(second, func() { d.losing = false })
	case NoArbiter:
		w.etcd.downUntil = w.now + f.duration()
	case Flaky:
		w.etcd.flaky = w.now + f.duration()
	case TakeOver, HandOver:
		return w.changeOwner(f)
	}
	return true
}

// strike makes a node vanish in one way or another, and come back.
func (w *World) strike(f Fault, n *node) bool {
	if n.w.now < n.thaw || !n.up {
		return false
	}
	d := f.duration()
	switch f.Kind {
	case Crash, PowerLoss:
		n.stop(f.Kind == Crash)
		w.after(d, n.start)
	case Stall:
		n.freeze(d)
	case Partition:
		other := w.nodes[f.B%uint64(len(w.nodes))]
		for _, o := range w.nodes {
			if o == n || f.B>>32&1 == 1 && o != other {
				continue
			}
			if f.B>>33&3 != 1 {
				w.cuts[[2]cluster.NodeID{n.id, o.id}] = w.now + d
			}
			if f.B>>33&3 != 2 {
				w.cuts[[2]cluster.NodeID{o.id, n.id}] = w.now + d
			}
		}
	}
	return true
}

// flap lets a node go, another one while it is away, and the first one again after both came back.
func (w *World) flap(f Fault, n *node) bool {
	other := w.nodes[f.B%uint64(len(w.nodes))]
	if other == n || !n.up || !other.up {
		return false
	}
	step := second + int64(f.C%uint64(3*second))
	down := func(at int64, x *node, d int64) {
		w.after(at, func() {
			if !w.load.quiet && w.allows(len(x.devices)) {
				x.stop(true)
				w.after(d, x.start)
			}
		})
	}
	down(0, n, step)
	down(step*3/4, other, step)
	down(step*2, n, step)
	return true
}

// usurp lets a gateway take a volume over that is cut off from a node with devices.
func (w *World) usurp(f Fault, far *node) bool {
	n := w.nodes[f.B%uint64(w.shape.Gateways)]
	vol := int(f.C % uint64(len(w.volumes)))
	owner := w.nodes[w.etcd.records[vol].Gateway-1]
	if f.C>>15&1 == 1 {
		far = owner
	}
	if n == far || n.gw == nil || n.gw.sessions[vol] != nil {
		return false
	}
	until := w.now + 3*second + f.duration()
	w.cuts[[2]cluster.NodeID{n.id, far.id}] = until
	w.cuts[[2]cluster.NodeID{far.id, n.id}] = until
	if owner != n && f.C>>16&3 > 0 {
		w.isolate(f, owner, far, until)
	}
	n.at(n.life, func() { n.gw.takeOver(vol) })
	return true
}

// isolate leaves an owner only one node of devices, so that nothing tells it that it is not the owner any
// more but the voters; perhaps late, or not at all. Now and then voters start anew meanwhile.
func (w *World) isolate(f Fault, owner, far *node, until int64) {
	owner.blindUntil = until
	links := w.wires
	switch f.C >> 18 & 3 {
	case 0:
		links = w.cuts
	case 1:
		owner.lagUntil = until
	}
	for _, o := range w.nodes {
		if o != far && o != owner {
			links[[2]cluster.NodeID{owner.id, o.id}] = until
		}
		if o.votes && o != far && o != owner && o.gw == nil && f.C>>20&3 == 0 {
			w.after(second/2, func() {
				o.stop(true)
				w.after(10*millisecond, o.start)
			})
		}
	}
}

// powerCut ends all processes at once. They come back in any order, some late; unless blocks are rotten: then
// all come back at once, for an owner that began without some could use up what redundancy is left.
func (w *World) powerCut(f Fault) bool {
	w.forgetMended()
	r, prompt := f.B, (len(w.faults.spots) > 0 || !w.rebuilt()) && !w.plan.Beyond
	for _, n := range w.nodes {
		n.stop(false)
	}
	for _, n := range w.nodes {
		late := int64(r % 7 * 60 * uint64(millisecond))
		switch {
		case prompt:
			late = 0
		case r%7 == 6:
			late = f.duration()
		}
		r = r>>3 ^ f.C<<7
		w.after(late+millisecond, func() {
			n.start()
			if prompt {
				for _, d := range n.devices {
					d.open()
				}
			}
		})
	}
	return true
}

// breakAny breaks a connection of some gateway.
func (w *World) breakAny(f Fault) bool {
	g := w.nodes[f.A%uint64(w.shape.Gateways)].gw
	if g == nil || len(g.conns) == 0 {
		return false
	}
	ids := sortedKeys(g.conns)
	c := g.conns[ids[f.B%uint64(len(ids))]]
	if c.broken || c.server == g.n {
		return false
	}
	w.logf("fault: break of a connection")
	c.breakUp("cut")
	return true
}

// weaken makes a device worse for a while.
func (w *World) weaken(f Fault, d *device) bool {
	until := w.now + f.duration()
	switch f.Kind {
	case Slow:
		d.slowUntil = until
	case Failing:
		d.failing = 1 + int(f.B%4)
	case Full:
		w.faults.everFull = true
		d.disk.Fill(int(f.B % 12))
		w.after(until-w.now, d.disk.Unfill)
	case Detached:
		d.awayUntil = until
	}
	return true
}

// changeOwner lets a gateway take a volume over, or the owner hand it over.
func (w *World) changeOwner(f Fault) bool {
	vol := int(f.A % uint64(len(w.volumes)))
	n := w.nodes[f.B%uint64(w.shape.Gateways)]
	if f.Kind == TakeOver {
		if n.gw == nil {
			return false
		}
		before := w.etcd.records[vol].revision
		n.at(n.life, func() { n.gw.takeOver(vol) })
		return before > 0
	}
	for _, o := range w.nodes {
		if o.gw != nil && o.gw.serving(vol) != nil && w.now >= o.thaw {
			o.gw.serving(vol).release(n.id)
			return true
		}
	}
	return false
}

// allows tells whether so many more devices may be away: together with what is rotten they must not be more
// than the code can stand. Where nothing is rotten any number may be away: what they hold comes back.
func (w *World) allows(more int) bool {
	if w.plan.Beyond {
		return true
	}
	w.forgetMended()
	if len(w.faults.spots) == 0 && w.rebuilt() {
		return true
	}
	worst := w.away()
	for _, s := range w.faults.spots {
		worst = max(worst, w.lostOf(s)+w.entriesOf(s.vol, s.page))
	}
	return worst+w.impaired()+more <= w.shape.Parity
}

// lostOf counts the rotten blocks of a row.
func (w *World) lostOf(x spot) (n int) {
	for _, s := range w.faults.spots {
		if s.vol == x.vol && s.page == x.page && s.row == x.row {
			n++
		}
	}
	return n
}

// impaired counts the devices that something is wrong with, or that an owner takes to be down. While a volume
// has no owner that serves, it might go on without any of them.
func (w *World) impaired() int {
	down := map[cluster.DeviceID]bool{}
	for _, v := range w.volumes {
		e := w.owner(v)
		if e == nil {
			return len(w.order)
		}
		for _, id := range e.Stats().Down {
			down[id] = true
		}
	}
	for _, d := range w.order {
		if d.impaired() || d.lost {
			down[d.id] = true
		}
	}
	return len(down)
}

// away counts the columns of the worst page that are not at home.
func (w *World) away() (worst int) {
	for v := range w.volumes {
		for page := range w.shape.Pages {
			worst = max(worst, w.entriesOf(v, page))
		}
	}
	return worst
}

// affords tells whether one more block of a row may be destroyed.
func (w *World) affords(s spot) bool {
	w.forgetMended()
	missing := w.lostOf(s) + w.entriesOf(s.vol, s.page) + w.impaired()
	return w.plan.Beyond || w.rebuilt() && missing+1 <= w.shape.Parity
}

// forgetMended forgets rotten blocks that were repaired, or replaced.
func (w *World) forgetMended() {
	kept := w.faults.spots[:0]
	for _, s := range w.faults.spots {
		if w.open(s) {
			kept = append(kept, s)
		}
	}
	w.faults.spots = kept
}

// entriesOf counts the columns of a page that are not at home.
func (w *World) entriesOf(vol int, page uint64) int { return bits.OnesCount32(w.awayOf(vol, page)) }

// awayOf tells which columns of a page are not at home, as far as any device's journal knows: bit per column.
func (w *World) awayOf(vol int, page uint64) (columns uint32) {
	for _, d := range w.order {
		for _, x := range d.journal(w.volumes[vol].key) {
			if x.Page == page && !x.Gone {
				columns |= 1 << x.Column
			}
		}
	}
	return columns
}

// rot destroys a block of a complete row.
func (w *World) rot(f Fault) bool {
	vol := int(f.A % uint64(len(w.volumes)))
	page, row := f.B%w.shape.Pages, uint16(f.B>>32%w.shape.ChunkBlocks)
	column := uint8(f.C % uint64(w.shape.width()))
	w.forgetMended()
	key := w.volumes[vol].key
	at := w.home(vol, page, column)
	info := at.newest(key, page, column, row)
	if info.State != chunk.Data {
		return false
	}
	s := spot{d: at, vol: vol, page: page, column: column, row: row, version: info.W}
	if !w.affords(s) || !w.complete(vol, page, row) {
		return false
	}
	at.disk.Spoil(key, page, column, row, info.W)
	w.faults.spots = append(w.faults.spots, s)
	w.logf("rotten: page %d column %d row %d on device %d: %v", page, column, row, at.id, info.W)
	return true
}

// complete tells whether no write of a row is under way: the newest version of every parity is that of the
// newest data.
func (w *World) complete(vol int, page uint64, row uint16) bool {
	key := w.volumes[vol].key
	newest := cluster.Seq(0)
	for c := range w.shape.Data {
		x := w.home(vol, page, uint8(c)).newest(key, page, uint8(c), row)
		newest = max(newest, x.W)
	}
	for c := w.shape.Data; c < w.shape.width(); c++ {
		if x := w.home(vol, page, uint8(c)).newest(key, page, uint8(c), row); x.W != newest {
			return false
		}
	}
	return true
}

// heal ends all faults.
func (w *World) heal() {
	w.logf("everything is mended")
	clear(w.cuts)
	clear(w.wires)
	w.etcd.downUntil, w.etcd.flaky = 0, 0
	for _, n := range w.nodes {
		n.lagUntil, n.blindUntil, n.muteUntil, n.deafUntil = 0, 0, 0, 0
		if n.up && w.now < n.thaw {
			n.stop(true)
		}
		n.start()
	}
	for _, d := range w.order {
		d.mend()
	}
	for w.hasLost() && w.newest < leaves {
		w.newest++
	}
}
