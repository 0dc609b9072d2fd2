package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// The test world: model devices, a network that delivers requests in any order and breaks connections, an
// owner record with compare-and-swap, owners that are replaced and go on as zombies.
//
// A connection between an owner and a device is a session. When it breaks, its requests come back as
// unreachable, but each may have been carried out, or may still be (a ghost), until the device takes up the
// owner's next session. A device that is wiped and comes back under a new number is not here: version 0 of
// the control plane has no such operation.

const (
	testPages  = 3
	pageBlocks = 8
	testBlocks = testPages * pageBlocks
	pageBytes  = pageBlocks * cluster.BlockSize
)

// link is a connection between an owner and a device.
type link struct {
	owner  *Engine
	device cluster.DeviceID
}

// pending is a request on its way, or a ghost of one.
type pending struct {
	link
	r *chunk.Request
}

// hostOp is what the world remembers of an operation.
type hostOp struct {
	hist   *history.Op
	id     uint64 // of a write or zero: place in the order of submission, and the stamp of a write
	owner  *Engine
	fenced bool // handed to an owner when a newer one had begun to serve
}

type world struct {
	rng     *rand.Rand // nil in stories: nothing happens by chance
	fate    int        // what chance draws in stories
	cfg     Config
	devices map[cluster.DeviceID]*modelDevice
	net     []pending
	ghosts  []pending
	parted  map[link]bool
	owner   cluster.Owner // the record
	current *Engine
	zombies []*Engine
	records map[*Engine]*cluster.Owner
	served  uint32 // newest epoch that began to serve
	hist    *history.History
	ops     map[*Op]*hostOp
	zeroed  [testBlocks * sectorsPerBlock]uint64 // id of the last zero submitted
	full    bool                                 // a device was short of space once
	trace   []string
	tracing bool
}

// broken is the panic of a world whose promises were broken.
type broken string

func (w *world) failf(f string, a ...any) { panic(broken(fmt.Sprintf(f, a...))) }

func (w *world) logf(f string, a ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf(f, a...))
	}
}

// testTable is the group table of a pool on so many nodes with one device each.
func testTable(copies, nodes int) (*placement.Table, error) {
	m := &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{}, Devices: map[cluster.DeviceID]*cluster.Device{}}
	pool := &cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: copies - 1,
		Domain: cluster.DomainNode, ChunkSize: cluster.MinChunkSize, StripeUnit: cluster.BlockSize}
	for i := 1; i <= nodes; i++ {
		n, d := cluster.NodeID(i), cluster.DeviceID(i)
		m.Nodes[n] = &cluster.Node{Number: n}
		m.Devices[d] = &cluster.Device{Number: d, Node: n, Weight: 1, State: cluster.DeviceOnline}
		pool.Devices = append(pool.Devices, d)
	}
	return placement.New(pool, m)
}

func newWorld(rng *rand.Rand, table *placement.Table, nodes int) *world {
	w := &world{rng: rng, devices: map[cluster.DeviceID]*modelDevice{}, parted: map[link]bool{},
		records: map[*Engine]*cluster.Owner{}, ops: map[*Op]*hostOp{},
		hist: history.New(testBlocks * sectorsPerBlock)}
	for i := 1; i <= nodes; i++ {
		w.devices[cluster.DeviceID(i)] = newModelDevice()
	}
	w.cfg = Config{Vol: cluster.VolumeKey{VUID: 7, Generation: 1}, Table: table, ReserveBlocks: 2,
		Geometry: stripe.Geometry{Data: 1, Parity: table.Width() - 1, ChunkBlocks: pageBlocks}}
	return w
}

// takeOver makes a new owner; the old one goes on as a zombie that does not know.
func (w *world) takeOver() {
	if w.current != nil {
		w.zombies = append(w.zombies, w.current)
	}
	w.owner = w.owner.Clone()
	w.owner.Epoch++
	cfg := w.cfg
	cfg.Owner = w.owner.Clone()
	e, err := New(cfg)
	if err != nil {
		w.failf("open: %v", err)
	}
	w.current = e
	w.logf("owner %d opens: %s", w.owner.Epoch, recordText(w.owner))
	w.drain(e)
}

// drain carries the engine's actions over into the world.
func (w *world) drain(e *Engine) {
	var r Ready
	e.Drain(&r)
	for _, s := range r.Sends {
		w.net = append(w.net, pending{link{e, s.Device}, s})
	}
	if r.Record != nil {
		if w.records[e] != nil {
			w.failf("a second change of the owner record while one is under way")
		}
		w.records[e] = r.Record
	}
	if r.Serving {
		w.served = max(w.served, e.Epoch())
	}
	for _, op := range r.Done {
		w.done(e, op)
	}
}

// deliver carries out one request on its way and brings the answer back.
func (w *world) deliver(i int) {
	p := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	d := w.devices[p.device]
	s := chunk.Unreachable
	if d.up && !w.parted[p.link] {
		w.ghosts = slices.DeleteFunc(w.ghosts, func(g pending) bool { return g.link == p.link })
		s = d.do(p.r)
	}
	w.answer(p, s)
}

func (w *world) answer(p pending, s chunk.Status) {
	w.logf("%s", describe(p, s))
	p.r.Status = s
	p.owner.ChunkDone(p.r)
	w.drain(p.owner)
}

// cut breaks connections. Each request under way was carried out, may be carried out later, or never will.
func (w *world) cut(match func(link) bool) {
	var lost []pending
	w.net = slices.DeleteFunc(w.net, func(p pending) bool {
		if match(p.link) {
			lost = append(lost, p)
			return true
		}
		return false
	})
	for _, p := range lost {
		switch w.chance(3) {
		case 1:
			w.devices[p.device].do(p.r)
		case 2:
			g := *p.r
			g.Data, g.Blocks, g.Entries = slices.Clone(g.Data), slices.Clone(g.Blocks), nil
			w.ghosts = append(w.ghosts, pending{p.link, &g})
		}
		w.answer(p, chunk.Unreachable)
	}
}

// chance draws a number below n; stories say what it is.
func (w *world) chance(n int) int {
	if w.rng == nil {
		return w.fate
	}
	return w.rng.Intn(n)
}

// haunt carries out a ghost; nobody gets its answer.
func (w *world) haunt(i int) {
	g := w.ghosts[i]
	w.ghosts = slices.Delete(w.ghosts, i, i+1)
	s := w.devices[g.device].do(g.r)
	w.logf("ghost: %s", describe(g, s))
}

// crash stops a device: nothing of what was under way happens later, and writes may be torn.
func (w *world) crash(id cluster.DeviceID) {
	w.logf("crash %d", id)
	d := w.devices[id]
	for _, p := range w.net {
		if p.device == id && d.up && w.rng != nil {
			d.tear(p.r, w.rng.Intn)
		}
	}
	d.up = false
	w.ghosts = slices.DeleteFunc(w.ghosts, func(g pending) bool { return g.device == id })
	rng := w.rng
	w.rng = nil // nothing more is carried out
	w.cut(func(l link) bool { return l.device == id })
	w.rng = rng
}

// record answers an engine's compare-and-swap.
func (w *world) record(e *Engine) {
	next := w.records[e]
	delete(w.records, e)
	ok := e == w.current
	if next == nil {
		w.failf("owner %d wants no record", e.Epoch())
	}
	if ok {
		w.owner = next.Clone()
	}
	w.logf("owner record of owner %d %s: %s", next.Epoch, map[bool]string{true: "stored", false: "refused"}[ok],
		recordText(*next))
	e.Recorded(ok)
	w.drain(e)
}

// submit hands an operation to an owner and stamps its data. Sectors are of 512 B.
func (w *world) submit(e *Engine, k Kind, lba uint64, sectors uint32) *Op {
	op := &Op{Kind: k, LBA: lba, Sectors: sectors}
	from, to := int(lba), int(lba)+int(sectors)
	o := &hostOp{owner: e, fenced: e.Epoch() < w.served}
	switch k {
	case Read:
		o.hist = w.hist.Read(from, to)
	case Write:
		o.hist = w.hist.Write(from, to)
		o.id = w.hist.Writes()
	case Zero:
		o.hist = w.hist.Zero(from, to)
		o.id = w.hist.Writes()
		for s := from; s < to; s++ {
			w.zeroed[s] = o.id
		}
	}
	if k != Zero {
		op.Data = make([]byte, sectors*cluster.LBASize)
		for i := 0; i < len(op.Data); i += 8 {
			binary.LittleEndian.PutUint64(op.Data[i:], o.hist.Stamp())
		}
	}
	w.ops[op] = o
	w.logf("host -> owner %d: %s", e.Epoch(), opText(op, o))
	e.Submit(op)
	w.drain(e)
	return op
}

// done checks an operation that came back.
func (w *world) done(e *Engine, op *Op) {
	o := w.ops[op]
	delete(w.ops, op)
	if w.tracing {
		w.logf("owner %d -> host: %s: %s%s", e.Epoch(), opText(op, o), statusText(op.Status), w.found(op))
	}
	switch {
	case op.Status == PathGone || op.Status == NoSpace && w.full:
		o.hist.Abandon()
	case op.Status != OK:
		if w.rng != nil {
			w.failf("operation failed with status %d", op.Status)
		}
		o.hist.Abandon()
	case op.Kind == Read && e.Epoch() < w.served:
		o.hist.Abandon() // the lease keeps a former owner from answering
	case op.Kind == Read:
		w.check(o.hist.Done(w.values(op)))
	case o.fenced:
		w.failf("a former owner acknowledged a write that it got after a new one had begun to serve")
	default:
		w.check(o.hist.Done(nil))
		if e == w.current {
			w.checkHeld(op, o.id)
		}
	}
}

func (w *world) check(err error) {
	if err != nil {
		w.failf("%v", err)
	}
}

// values are the stamps that a read brought, one per sector.
func (w *world) values(op *Op) []uint64 {
	out := make([]uint64, op.Sectors)
	for i := range out {
		out[i] = w.value(op.Data[i*cluster.LBASize : (i+1)*cluster.LBASize])
	}
	return out
}

// value is the stamp of a sector.
func (w *world) value(sector []byte) uint64 {
	v := binary.LittleEndian.Uint64(sector)
	for i := 8; i < len(sector); i += 8 {
		if x := binary.LittleEndian.Uint64(sector[i:]); x != v {
			w.failf("a sector holds stamps %d and %d", v, x)
		}
	}
	return v
}

// checkHeld: an acknowledged write, or one submitted later, is on every device that the owner record does not
// name out.
func (w *world) checkHeld(op *Op, id uint64) {
	for s := op.LBA; s < op.LBA+uint64(op.Sectors); s++ {
		page, offset := w.cfg.Geometry.Locate(s / sectorsPerBlock)
		for _, dev := range w.current.rowOf(page) {
			if w.owner.IsOut(dev) {
				continue
			}
			if vs := w.devices[dev].rows[rowKey{page, uint16(offset)}]; !w.holds(vs, s, id) {
				w.failf("write %d of sector %d was acknowledged, but device %d, which is not out, holds %v",
					id, s, dev, vs)
			}
		}
	}
}

// holds reports whether one of the versions of a row has write id of a sector, or a later one. Torn versions
// on top are writes under way; without anything below the row is absent, and reads as zeroes.
func (w *world) holds(vs []version, sector, id uint64) bool {
	if w.zeroed[sector] >= id && !slices.ContainsFunc(vs, func(v version) bool { return v.state != chunk.Bad }) {
		return true
	}
	for _, v := range vs {
		value := uint64(0)
		if v.state == chunk.Data {
			at := sector % sectorsPerBlock * cluster.LBASize
			value = w.value(v.data[at : at+cluster.LBASize])
		}
		if v.rotten || value >= id || v.state != chunk.Bad && value == 0 && w.zeroed[sector] >= id {
			return true
		}
	}
	return false
}

// checkEqual: all devices of a row hold the same.
func (w *world) checkEqual() {
	for b := range uint64(testBlocks) {
		page, offset := w.cfg.Geometry.Locate(b)
		k := rowKey{page, uint16(offset)}
		var good []version
		for _, id := range w.current.rowOf(page) {
			v := w.devices[id].newest(k)
			switch {
			case v.rotten:
				continue // nobody has read it yet
			case v.state == chunk.Bad:
				w.failf("page %d block %d is torn on device %d", page, offset, id)
			case v.state == chunk.Tombstone:
				v = version{}
			}
			good = append(good, v)
		}
		for _, v := range good {
			if v.w != good[0].w || string(v.data) != string(good[0].data) {
				w.failf("page %d block %d differs between devices: %v and %v", page, offset, good[0].w, v.w)
			}
		}
		if len(good) == 0 {
			w.failf("page %d block %d is bad everywhere", page, offset)
		}
	}
}
