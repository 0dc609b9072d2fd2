package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// Shape is the cluster and the pool of a schedule.
type Shape struct {
	Code        cluster.Code
	Data        int
	Parity      int
	Domains     int // nodes with devices
	PerNode     int // devices of each of them
	Gateways    int // the first nodes have a gateway; nodes without devices are added if there are too few
	ChunkBlocks uint64
	UnitBlocks  uint64
	Pages       uint64
	MinColumns  int
	Returns     bool // the devices that join leave again, and columns come back to where they were
	Packed      bool // volumes pack their stripe units, most clones too
}

// String names the pool and the devices it is on.
func (s Shape) String() string {
	return fmt.Sprintf("%s %d+%d on %d nodes with %d devices each, %d gateways, chunks of %d blocks, "+
		"units of %d (packed %v), %d pages", s.Code, s.Data, s.Parity, s.Domains, s.PerNode, s.Gateways,
		s.ChunkBlocks, s.UnitBlocks, s.Packed, s.Pages)
}

func (s Shape) width() int { return s.Data + s.Parity }

func (s Shape) geometry() stripe.Geometry {
	return stripe.Geometry{Data: s.Data, Parity: s.Parity, ChunkBlocks: s.ChunkBlocks, UnitBlocks: s.UnitBlocks}
}

// Plan is a schedule: all of it follows from the seed.
type Plan struct {
	Seed    uint64
	Shape   Shape
	Volumes int
	Clones  int  // of the last volume and of each other, one made after each of the first rounds
	Flatten bool // clones are flattened, some time after they were made
	Resizes bool // volumes become smaller and larger
	Moves   bool // volumes have homes, and are moved about
	Groups  bool // snapshots are taken of all volumes at one moment
	Hosts   int  // operations under way at most
	Ops     int  // operations in all, at most
	Length  int64
	Changes uint32 // of the map, at most
	// ScrubEvery is the pause between two passes of a device while there are faults; 0: only once they are over.
	ScrubEvery int64
	Beyond     bool // more may be lost than the code can stand: then hosts may wait, but never read wrong data
	Bias
	Faults []Fault
}

// shapes are the pools that schedules draw from.
func shapes() []Shape {
	return []Shape{
		{Code: cluster.CodeReplica, Data: 1, Parity: 1},
		{Code: cluster.CodeReplica, Data: 1, Parity: 2},
		{Code: cluster.CodeRS, Data: 2, Parity: 1},
		{Code: cluster.CodeRS, Data: 4, Parity: 2},
		{Code: cluster.CodeRS, Data: 2, Parity: 2},
		{Code: cluster.CodeRS, Data: 3, Parity: 1},
		{Code: cluster.CodeRDP, Data: 4, Parity: 2},
		{Code: cluster.CodeRS, Data: 2, Parity: 1},
		{Code: cluster.CodeReplica, Data: 1, Parity: 0},
		{Code: cluster.CodeRS, Data: 2, Parity: 0},
	}
}

// NewPlan draws the schedule of a seed.
func NewPlan(seed uint64) Plan {
	p := newPlan(seed, false)
	p.pack(4)
	p.resizes(8)
	p.together(8)
	return p
}

// NewPacked is NewPlan with volumes that always pack their stripe units.
func NewPacked(seed uint64) Plan {
	p := newPlan(seed, false)
	p.pack(1)
	p.resizes(8)
	p.together(8)
	return p
}

// pack makes one of so many schedules one with packed units, whatever else it is about.
func (p *Plan) pack(oneIn int) {
	if r := (chance{rand.New(rand.NewPCG(p.Seed, 3))}); r.IntN(oneIn) == 0 {
		p.Shape.Packed, p.Shape.UnitBlocks = true, 2<<r.IntN(2)
	}
}

// NewResizes is NewPlan with volumes that always become smaller and larger.
func NewResizes(seed uint64) Plan {
	p := newPlan(seed, false)
	p.pack(4)
	p.resizes(1)
	p.together(8)
	return p
}

// resizes makes one of so many schedules one in which volumes become smaller and larger, whatever else it is
// about. Owners change all the time then.
func (p *Plan) resizes(oneIn int) {
	r := chance{rand.New(rand.NewPCG(p.Seed, 5))}
	if r.IntN(oneIn) > 0 {
		return
	}
	p.Resizes = true
	for range 3 + r.IntN(8) {
		p.Faults = append(p.Faults, r.fault(p.Length, Resize))
	}
	for range r.IntN(6) {
		p.Faults = append(p.Faults, r.fault(p.Length, []Kind{TakeOver, HandOver, Usurp, Flap, Crash}[r.IntN(5)]))
	}
}

// NewTogether is NewPlan with group snapshots wherever there is room.
func NewTogether(seed uint64) Plan {
	p := newPlan(seed, false)
	p.pack(4)
	p.resizes(8)
	p.together(1)
	return p
}

// together makes one of so many schedules one of two or three volumes of which snapshots are taken together,
// while their owners change, the arbiter is late, and hosts write now to the one and now to the other.
func (p *Plan) together(oneIn int) {
	r := chance{rand.New(rand.NewPCG(p.Seed, 6))}
	if r.IntN(oneIn) > 0 || p.Tight || p.Snug {
		return
	}
	p.Groups, p.Volumes = true, 2+r.IntN(2)
	for range 6 + r.IntN(16) {
		p.Faults = append(p.Faults, r.fault(p.Length, Together))
	}
	for range r.IntN(8) {
		p.Faults = append(p.Faults, r.fault(p.Length, []Kind{TakeOver, HandOver, Flaky, NoArbiter, Stall,
			Partition}[r.IntN(6)]))
	}
}

// NewClones is NewPlan with clones wherever there can be some.
func NewClones(seed uint64) Plan {
	p := newPlan(seed, true)
	p.pack(4)
	p.resizes(8)
	p.together(8)
	return p
}

// NewPackedClones is NewClones with volumes that always pack their stripe units.
func NewPackedClones(seed uint64) Plan {
	p := newPlan(seed, true)
	p.pack(1)
	p.resizes(8)
	p.together(8)
	return p
}

func newPlan(seed uint64, clones bool) Plan {
	r := chance{rand.New(rand.NewPCG(seed, 1))}
	all := shapes()
	s := all[seed%uint64(len(all))]
	s.Domains, s.PerNode, s.Gateways = s.width()+r.IntN(4), 1, 2+r.IntN(2)
	if r.IntN(4) == 0 {
		s.PerNode = 2
	}
	s.ChunkBlocks, s.UnitBlocks = 4<<r.IntN(2), 1<<r.IntN(2)
	s.Pages = 2 + r.Uint64N(4)
	p := Plan{Seed: seed, Shape: s, Volumes: 1, Hosts: 2 + r.IntN(8), Ops: 60 + r.IntN(300),
		Length: r.between(4*second, 14*second), Beyond: seed%16 == 15}
	if r.IntN(8) == 0 {
		p.Volumes = 2
	}
	if r.IntN(3) == 0 {
		p.Changes = 1 + r.Uint32N(maxChanges)
	}
	for range r.IntN(20) {
		p.Faults = append(p.Faults, r.fault(p.Length, r.kind()))
	}
	for range p.Changes {
		p.Faults = append(p.Faults, r.fault(p.Length, MapChange))
	}
	if p.Changes >= leaves {
		p.Faults = append(p.Faults, r.fault(p.Length, Loss), r.fault(p.Length, Loss))
	}
	p.theme(r)
	p.ScrubEvery = [...]int64{0, second / 4, second, 4 * second}[r.IntN(4)]
	p.clones(r, clones)
	return p
}

// clones makes a schedule one in which clones are made, whatever else it is about. There must be time, space,
// and nothing that never heals.
func (p *Plan) clones(r chance, always bool) {
	dies := slices.ContainsFunc(p.Faults, func(f Fault) bool { return f.Kind == Death })
	if (r.IntN(4) == 0 || always) && !p.Tight && !p.Snug && !p.Beyond && !dies {
		p.Clones, p.Flatten = 1+r.IntN(2), r.IntN(2) == 0
		p.Rounds = max(p.Rounds, p.Clones+1)
	}
}

// NewReturn is NewPlan with a pool that changes back before its volumes have moved, and with trouble at that
// time. No device is lost: the last table is the first one, and names it again.
func NewReturn(seed uint64) Plan {
	p := NewPlan(seed)
	r := chance{rand.New(rand.NewPCG(seed, 2))}
	p.Shape.Returns, p.Changes, p.Beyond = true, leaves, false
	p.Faults = slices.DeleteFunc(p.Faults, func(f Fault) bool {
		return f.Kind == MapChange || f.Kind == Loss || f.Kind == Death
	})
	at := r.between(second, p.Length)
	near := func(k Kind, after int64) {
		f := r.fault(p.Length, k)
		f.At = at + r.between(0, after)
		p.Faults = append(p.Faults, f)
	}
	for range leaves {
		near(MapChange, 20*millisecond)
	}
	for range r.IntN(4) {
		near([]Kind{Crash, PowerLoss, PowerCut, Usurp, Usurp, TakeOver, HandOver, Break, Failing}[r.IntN(9)],
			300*millisecond)
	}
	return p
}

// chance is a stream of random numbers of its own, so that leaving a fault out does not change what is drawn
// for other purposes.
type chance struct{ *rand.Rand }

// between draws from [from, to).
func (r chance) between(from, to int64) int64 {
	if to <= from {
		return from
	}
	return from + r.Int64N(to-from)
}

func (r chance) fault(length int64, k Kind) Fault {
	return Fault{At: r.between(second/2, length), Kind: k, A: r.Uint64(), B: r.Uint64(), C: r.Uint64()}
}

// kind draws a kind of fault by weight.
func (r chance) kind() Kind {
	total := 0
	for k := range kinds {
		total += k.weight()
	}
	x := r.IntN(total)
	for k := range kinds {
		if x -= k.weight(); x < 0 {
			return k
		}
	}
	panic("sim: weights do not add up")
}

// border draws where an operation of so many sectors begins: near the end of the volume as it is or will be.
func (l *load) border(v *volume, sectors uint64) uint64 {
	at := v.bounds.sectors
	if v.bounds.cut.To > 0 {
		at = v.bounds.cut.From * sectorsPerBlock
	}
	at += l.Uint64N(2 * maxSectors)
	return min(max(at, maxSectors)-maxSectors, v.sectors-sectors)
}

// operation draws an operation: small and large, aligned and not, and often where others work too.
func (l *load) operation(v *volume, reader bool) (kind engine.Kind, lba uint64, sectors uint32) {
	sectors = uint32(1 + l.IntN(maxSectors))
	switch {
	case l.Voids: // a block and a part of the next one: one is empty afterwards, the other is not
		sectors = uint32(1 + l.IntN(2*sectorsPerBlock))
	case l.Small, l.IntN(4) == 0:
		sectors = uint32(1 + l.IntN(sectorsPerBlock))
	}
	if l.IntN(2) == 0 {
		sectors = (sectors + sectorsPerBlock - 1) / sectorsPerBlock * sectorsPerBlock
	}
	sectors = min(sectors, uint32(v.sectors))
	lba = l.Uint64N(v.sectors - uint64(sectors) + 1)
	if page := v.sectors / l.pages; l.Fresh && l.IntN(2) == 0 {
		lba = min(uint64(l.ops-l.left)*l.pages/uint64(l.ops)*page+l.Uint64N(page), v.sectors-uint64(sectors))
	}
	if l.IntN(2) == 0 {
		lba = lba / sectorsPerBlock * sectorsPerBlock
	}
	switch x := l.IntN(20); {
	case reader, x < 8:
		kind = engine.Read
	case x < 11, x < 13 && !l.Voids, x < 17 && !l.Zeros && !l.Voids:
		kind = engine.Write
	default:
		kind = engine.Zero
	}
	return kind, lba, sectors
}
