package sim

import (
	"math/rand/v2"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Bias is what a theme makes of hosts and machines.
type Bias struct {
	Small    bool // operations are small: many of them meet
	Mortal   bool // hosts die: nobody tries again what they had under way, so half a write stays half a write
	Readers  bool // every other host only reads
	Zeros    bool // hosts write zeroes more often
	Voids    bool // most of what hosts write is zeroes
	Fresh    bool // hosts go from page to page: there are always pages that were not written before
	Sluggish bool // requests take long on devices, each another time: what runs at the same time meets
	Snug     bool // devices have hardly more space than what is written may need
	Tight    bool // devices have next to no space beyond their reserve
	Rounds   int  // times that all is mended, comes to rest and is checked; then it goes on
}

// themes is how many seeds of the same shape follow each other before the themes begin again.
const themes = 11

// theme makes a schedule one of its seed's theme. Half of one of eleven stays as it was drawn:
// anything may happen.
func (p *Plan) theme(r chance) {
	p.Rounds = 1 + r.IntN(3)
	p.Mortal = r.IntN(2) == 0
	if r.IntN(4) == 0 {
		p.Sluggish = true
	}
	switch p.Seed / 10 % themes {
	case 0:
		p.duel(r)
	case 1:
		p.coups(r)
	case 2:
		p.relays(r)
	case 3:
		p.ghosts(r)
	case 4:
		p.halves(r)
	case 5:
		p.journey(r)
	case 6:
		p.scarcity(r)
	case 7:
		p.decay(r)
	case 8:
		p.snapshots(r)
	case 9:
		if r.IntN(2) == 0 {
			p.deaths(r)
		}
	case 10:
		p.voids(r)
	}
	if r.IntN(4) == 0 && p.Shape.Parity > 0 {
		p.Shape.MinColumns = p.Shape.Data + 1
	}
}

// few makes a schedule one of a small volume with so many faults out of some kinds.
func (p *Plan) few(r chance, pages uint64, faults int, kinds ...Kind) {
	p.Shape.Pages, p.Shape.ChunkBlocks, p.Small, p.Changes, p.Volumes = pages, 4, true, 0, 1
	p.Hosts, p.Ops, p.Length, p.Faults = 8, 500, r.between(10*second, 20*second), nil
	for range faults {
		p.Faults = append(p.Faults, r.fault(p.Length, kinds[r.IntN(len(kinds))]))
	}
}

// duel: owners fight for a volume on which many small operations meet.
func (p *Plan) duel(r chance) {
	p.few(r, 1, 4+r.IntN(6), Usurp, Usurp, Usurp, TakeOver, Flap, Crash)
	p.Ops, p.Mortal = 800, p.Seed/100%2 == 0
}

// coups: an owner is replaced that cannot hear of it and goes on with what it still reaches.
func (p *Plan) coups(r chance) {
	p.few(r, 1+r.Uint64N(2)*r.Uint64N(12), 2+r.IntN(3), Coup)
	if p.Shape.Parity == 0 {
		p.Shape.Code, p.Shape.Data, p.Shape.Parity = cluster.CodeReplica, 1, 2
	}
	p.Shape.Domains, p.Shape.PerNode = p.Shape.width(), 1 // the owner has a column of everything
	p.Shape.Gateways = min(p.Shape.Gateways, p.Shape.Domains)
	p.Readers, p.Mortal, p.Rounds = true, true, len(p.Faults)
	p.Hosts, p.Ops, p.Length = 16, 1000*len(p.Faults), 10*second*int64(len(p.Faults))
	for i := range p.Faults {
		p.Faults[i].At = int64(i)*10*second + r.between(second, 2*second)
	}
}

// relays: devices stand in for each other by turns.
func (p *Plan) relays(r chance) {
	p.few(r, 1+r.Uint64N(2), 3+r.IntN(4), Relay, Relay, Relay, Relay, Flap)
	p.Shape.Domains = p.Shape.width() + 1 + r.IntN(2)
	p.Shape.PerNode = 1
	p.Sluggish = r.IntN(2) == 0
}

// ghosts: connections break again and again, and what was sent on them happens late.
func (p *Plan) ghosts(r chance) {
	p.few(r, 1, 20+r.IntN(20), Break, Break, Break, Slow, Crash)
	p.Zeros = true
}

// halves: row writes are half done when the owner ends, and perhaps never done again.
func (p *Plan) halves(r chance) {
	p.few(r, 1+r.Uint64N(2), 8+r.IntN(8), Slow, Slow, TakeOver, Crash, Stall, Partition, PowerCut)
	p.Mortal, p.Rounds = true, 2+r.IntN(3)
	if r.IntN(3) > 0 {
		p.stragglers(r)
	}
}

// stragglers: what is half done is on one device, and most pages are not written for a while afterwards.
func (p *Plan) stragglers(r chance) {
	const each = 6 * second
	p.few(r, 16, 6, Straggler)
	p.Hosts, p.Ops, p.Rounds = 4, 250, len(p.Faults)
	p.Length = each * int64(len(p.Faults))
	for i := range p.Faults {
		p.Faults[i].At = int64(i)*each + r.between(second/2, second)
	}
}

// journey: the volume moves to other tables while it grows.
func (p *Plan) journey(r chance) {
	p.Shape.Pages, p.Shape.ChunkBlocks, p.Fresh, p.Sluggish = 12+r.Uint64N(12), 4, true, r.IntN(3) > 0
	p.Changes, p.Hosts, p.Ops, p.Volumes = 1+r.Uint32N(maxChanges), 8, 600, 1
	p.Length, p.Rounds, p.Shape.Returns = r.between(6*second, 10*second), 1, r.IntN(3) == 0
	p.Faults = nil
	for range p.Changes {
		p.Faults = append(p.Faults, r.fault(p.Length*2/3, MapChange))
	}
	for range r.IntN(4) {
		p.Faults = append(p.Faults, r.fault(p.Length, r.kind()))
	}
}

// scarcity: there is hardly space, or just enough.
func (p *Plan) scarcity(r chance) {
	p.few(r, 2, r.IntN(6), TakeOver, HandOver, Break, Crash, Slow)
	p.Small, p.Zeros = false, true
	if p.Tight = r.IntN(3) > 0; p.Tight {
		p.Shape.Pages, p.Shape.ChunkBlocks = 6, 8
	}
	p.Snug = !p.Tight
	p.Volumes = 1 + r.IntN(2)
}

// decay: what devices hold gets worse, row by row.
func (p *Plan) decay(r chance) {
	p.few(r, 1, 20+r.IntN(20), Amnesia, Amnesia, Rot, LostWrite)
	if p.Shape.Parity < 2 || p.Shape.Data == 1 {
		p.Shape.Code, p.Shape.Data, p.Shape.Parity = cluster.CodeRS, 2, 2
		p.Shape.Domains = p.Shape.width() + r.IntN(2)
	}
	for range r.IntN(4) {
		p.Faults = append(p.Faults, r.fault(p.Length, r.kind()))
	}
}

// snapshots: pins are taken and given up while owners change.
func (p *Plan) snapshots(r chance) {
	p.few(r, 1+r.Uint64N(2), 12+r.IntN(12), Snapshot, Snapshot, Snapshot, Revert, Revert, TakeOver, Slow, Crash,
		Break, Flap)
	p.Sluggish = r.IntN(2) == 0
	if r.IntN(3) == 0 {
		p.unnamed(r)
	}
}

// unnamed: pins wait for the list that names them, for the arbiter is away, while columns leave and come
// home.
func (p *Plan) unnamed(r chance) {
	p.Shape.Domains, p.Shape.PerNode = p.Shape.width()+1, 1
	for range 3 {
		at := r.between(second, p.Length)
		for i, k := range []Kind{Flap, Snapshot, NoArbiter, Snapshot} {
			f := r.fault(p.Length, k)
			f.At = at + int64(i)*second/2
			p.Faults = append(p.Faults, f)
		}
	}
}

// voids: what was written is emptied again, so that tombstones come and go, while devices without a stand-in
// leave by turns.
func (p *Plan) voids(r chance) {
	p.few(r, 1+r.Uint64N(2), 6+r.IntN(8), Flap, Flap, Crash, TakeOver, Straggler, Hermit, Hermit)
	if p.Shape.Parity < 2 || p.Shape.Data == 1 {
		p.Shape.Code, p.Shape.Data, p.Shape.Parity = cluster.CodeRS, 2+r.IntN(2), 2
	}
	p.Shape.Domains, p.Shape.PerNode = p.Shape.width(), 1
	p.Shape.Gateways = min(p.Shape.Gateways, p.Shape.Domains)
	p.Voids, p.Mortal, p.Sluggish, p.Rounds = true, true, true, 2+r.IntN(3)
}

// deaths: devices die and are not replaced, in pools of hardly more domains than the code needs; others come
// and go.
func (p *Plan) deaths(r chance) {
	p.few(r, 1+r.Uint64N(2), 4+r.IntN(8), Crash, Crash, Crash, Flap, TakeOver, HandOver, Usurp, PowerCut, Death)
	if p.Shape.Parity == 0 {
		p.Shape.Code, p.Shape.Data, p.Shape.Parity = cluster.CodeReplica, 1, 2
	}
	p.Shape.Domains = p.Shape.width() + r.IntN(3)
	p.Shape.Gateways = min(p.Shape.Gateways, p.Shape.Domains)
	p.Faults, p.Rounds = append(p.Faults, r.fault(p.Length/2, Death)), 1
}

// load is what hosts do.
type load struct {
	chance
	Bias
	pages  uint64
	pause  int64 // between two operations of a host, at most: so that hosts work to the end
	ops    int
	left   int  // operations that may still begin
	quiet  bool // hosts begin nothing
	beside beside
	// pauseUntil is when hosts go on: they begin nothing before.
	pauseUntil int64
}

func newLoad(p Plan) load {
	return load{chance: chance{rand.New(rand.NewPCG(p.Seed, 3))}, Bias: p.Bias, pages: p.Shape.Pages,
		pause: 2 * p.Length * int64(p.Hosts*p.Volumes) / int64(p.Ops), ops: p.Ops, left: p.Ops}
}
