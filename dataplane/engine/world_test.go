package engine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/sim"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// chunkBlocks is the rows of a page in stories: the fewest that a pool may have.
const chunkBlocks = cluster.MinChunkSize / cluster.BlockSize

// world is what a story plays in: the chunk servers of the simulator, a network that does what the story
// says, an owner record with compare-and-swap, and the owners of one volume. Nothing happens by chance.
//
// Devices are called after the column of page A whose home they are: d0, d1, .. p0, p1, ..; further ones are
// s0, s1, .. All pages of a story (A, B, ..) have the same homes.
type world struct {
	shape
	key     cluster.VolumeKey
	tables  []*placement.Table // of the pool, so far
	names   []string           // of devices, by number - 1
	pages   []uint64
	disks   []*disk // by number - 1
	net     []*flight
	holds   []hold
	owner   cluster.Owner // the record
	owners  []*owner      // that live; the last one is current
	writes  uint64
	view    chunk.View
	parent  uint64 // blocks of the parent, of a clone
	asked   []asked
	cut     engine.Cut
	written map[*engine.Op]string // what is under way for hosts
	story   []line
}

// shape is the pool of a story.
type shape struct {
	code       cluster.Code
	n, p       int
	devices    int
	minColumns int
	blocks     uint64 // of a device
	unit       uint64 // blocks of a stripe unit; more than one: they are packed
}

func (s shape) geometry() stripe.Geometry {
	return stripe.Geometry{Data: s.n, Parity: s.p, ChunkBlocks: chunkBlocks, UnitBlocks: s.unit}
}

type disk struct {
	*sim.Disk
	up       bool
	detached bool
}

// owner is one period of ownership.
type owner struct {
	*engine.Engine
	ready   engine.Ready
	record  *cluster.Owner // wants to be stored
	serving bool
	fenced  bool
}

// flight is a request on its way. A ghost's owner has been told that it got no answer, but it can still be
// carried out until the owner's next session with that device begins.
type flight struct {
	o     *owner
	r     *chunk.Request
	ghost bool
}

// asked is a read of the parent on its way.
type asked struct {
	o *owner
	r *engine.ParentRead
}

// hold keeps requests from being delivered.
type hold struct {
	device cluster.DeviceID
	op     string // "" for all
}

func (w *world) pool() *cluster.Pool {
	members := make([]cluster.Member, w.devices)
	for i := range members {
		members[i] = member(i)
	}
	return &cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: w.n + w.p - 1,
		Domain: cluster.DomainNode, ChunkSize: cluster.MinChunkSize, StripeUnit: cluster.BlockSize,
		Members: members}
}

// member is the i-th device of the pool.
func member(i int) cluster.Member {
	return cluster.Member{Device: cluster.DeviceID(i + 1), Weight: 16, Domain: fmt.Sprintf("az/rack/%d", i+1)}
}

// newWorld makes a volume without owner on a pool whose first table is given.
func newWorld(t *testing.T, s shape, table *placement.Table) *world {
	t.Helper()
	w := &world{shape: s, tables: []*placement.Table{table}, written: map[*engine.Op]string{}}
	w.key = cluster.VolumeKey{VUID: 1, Generation: 1}
	w.names = make([]string, s.devices)
	row := table.Row(placement.Group(w.key, 0))
	for c, id := range row {
		w.names[id-1] = w.column(c)
	}
	for i := range s.devices {
		if w.names[i] == "" {
			w.names[i] = w.spareName()
		}
		w.addDisk(t)
	}
	for page := uint64(0); len(w.pages) < 4; page++ {
		if slices.Equal(table.Row(placement.Group(w.key, page)), row) {
			w.pages = append(w.pages, page)
		}
	}
	return w
}

// spareName is the name of the next device that no column of page A is at.
func (w *world) spareName() string {
	n := 0
	for slices.Contains(w.names, fmt.Sprintf("s%d", n)) {
		n++
	}
	return fmt.Sprintf("s%d", n)
}

// trimmer packs units so that stories can still be read: it leaves out the blocks of zeroes at their ends.
type trimmer struct{}

// Pack implements engine.Packer.
func (trimmer) Pack(_ uint64, unit []byte) int {
	n := len(bytes.TrimRight(unit, "\x00"))
	return (n + cluster.BlockSize - 1) / cluster.BlockSize
}

// Unpack implements engine.Packer.
func (trimmer) Unpack(_ uint64, unit []byte, n int) error {
	if n > 0 && stamp(unit[(n-1)*cluster.BlockSize:n*cluster.BlockSize]) == "zeroes" {
		return errors.New("the last block is not left out")
	}
	return nil
}

func (w *world) addDisk(t *testing.T) {
	t.Helper()
	d, err := sim.NewDisk(w.blocks)
	if err != nil {
		t.Fatal(err)
	}
	w.disks = append(w.disks, &disk{Disk: d, up: true})
}

// addDevice makes one more device.
func (w *world) addDevice(t *testing.T) cluster.Member {
	w.names = append(w.names, w.spareName())
	w.addDisk(t)
	return member(len(w.disks) - 1)
}

// open begins another owner; the one before goes on.
func (w *world) open(t *testing.T, cfg engine.Config) {
	t.Helper()
	w.owner.Epoch++
	w.owner.Gateway = cluster.NodeID(w.owner.Epoch)
	cfg.Vol, cfg.Owner, cfg.Geometry, cfg.Code = w.key, w.owner.Clone(), w.geometry(), w.code
	cfg.View, cfg.Parent, cfg.Cut, cfg.MinColumns = w.view, w.parent, w.cut, w.minColumns
	if w.unit > 1 {
		cfg.Packer = trimmer{}
	}
	cfg.Tables = map[uint32]*placement.Table{}
	for _, x := range w.tables {
		cfg.Tables[x.Number()] = x
	}
	e, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{Engine: e}
	w.owners = append(w.owners, o)
	w.drain(o)
}

// run delivers what is not held back, oldest first, and stores records, until nothing is left to do.
func (w *world) run() {
	for again := true; again; {
		again = false
		for {
			i := slices.IndexFunc(w.net, func(f *flight) bool { return !f.ghost && !w.held(f) })
			if i < 0 {
				break
			}
			w.deliver(i)
		}
		for len(w.asked) > 0 && !slices.Contains(w.holds, hold{op: "parent"}) {
			w.parentGives()
			again = true
		}
		for _, o := range w.owners {
			w.serve(o)
			if o.record != nil && !slices.Contains(w.holds, hold{op: "record"}) {
				w.store(o)
				again = true
			}
		}
	}
}

// deliverNewest has a device carry out what was sent to it last.
func (w *world) deliverNewest(id cluster.DeviceID) {
	for i := len(w.net) - 1; i >= 0; i-- {
		if f := w.net[i]; f.r.Device == id && !f.ghost {
			w.deliver(i)
			return
		}
	}
}

func (w *world) held(f *flight) bool {
	return slices.ContainsFunc(w.holds, func(h hold) bool {
		return h.device == f.r.Device && (h.op == "" || h.op == opName(f.r))
	})
}

func (w *world) disk(id cluster.DeviceID) *disk { return w.disks[id-1] }

// deliver has a device carry out a request. A fence begins a session: what was sent in the one before, and
// got no answer, has happened by then or never will.
func (w *world) deliver(i int) {
	f := w.net[i]
	if f.r.Op == chunk.OpFence {
		w.haunt(f.o, f.r.Device)
		i = slices.Index(w.net, f)
	}
	w.net = slices.Delete(w.net, i, i+1)
	switch d := w.disk(f.r.Device); {
	case !d.up:
		w.answer(f, chunk.Unreachable)
	case d.detached:
		w.answer(f, chunk.NotMine)
	default:
		w.answer(f, d.Do(f.r))
	}
}

func (w *world) answer(f *flight, s chunk.Status) {
	f.r.Status = s
	w.request(f)
	f.o.ChunkDone(f.r)
	w.drain(f.o)
}

// haunt carries the ghosts of an owner at a device out.
func (w *world) haunt(o *owner, id cluster.DeviceID) {
	for i := 0; i < len(w.net); i++ {
		if f := w.net[i]; f.ghost && f.o == o && f.r.Device == id {
			w.net = slices.Delete(w.net, i, i+1)
			i--
			if w.disk(id).up {
				f.r.Status = w.disk(id).Do(f.r)
				w.request(f)
			}
		}
	}
}

// drain does what an engine wants done.
func (w *world) drain(o *owner) {
	o.Drain(&o.ready)
	for _, r := range o.ready.Sends {
		w.net = append(w.net, &flight{o: o, r: r})
	}
	if o.ready.Record != nil {
		o.record = o.ready.Record
	}
	for _, r := range o.ready.Parent {
		w.asked = append(w.asked, asked{o, r})
	}
	for _, op := range o.ready.Done {
		w.host(o, op)
	}
	if o.ready.Fenced && !o.fenced {
		o.fenced = true
		w.say(o, "is fenced")
	}
	w.serve(o)
}

// serve lets hosts in once an owner is ready and the record says so.
func (w *world) serve(o *owner) {
	if !o.ready.Serving || o.serving || w.owner.Epoch != o.Epoch() ||
		slices.Contains(w.holds, hold{op: "served"}) {
		return
	}
	o.serving = true
	w.owner.Served = o.Epoch()
	o.Served()
	w.say(o, "serves")
}

// store answers an owner's change of the record: it counts while the record names this owner.
func (w *world) store(o *owner) {
	next, ok := o.record, w.owner.Epoch == o.Epoch()
	o.record = nil
	if ok {
		w.owner.Journal, w.owner.Layout = next.Journal, next.Layout
	}
	w.say(o, map[bool]string{true: "record", false: "record refused"}[ok]+w.recordText(next))
	o.Recorded(ok)
	w.drain(o)
}

// lose answers what is under way to a device with silence. It was carried out or not, or may still be.
func (w *world) lose(id cluster.DeviceID, fate string) {
	var lost []*flight
	w.net = slices.DeleteFunc(w.net, func(f *flight) bool {
		mine := f.r.Device == id && !f.ghost
		if mine {
			lost = append(lost, f)
		}
		return mine
	})
	for _, f := range lost {
		switch fate {
		case "carried-out":
			w.disk(id).Do(f.r)
			w.note(f.o.Epoch(), w.name(id), w.requestText(f.r)+": "+fate)
		case "ghost":
			r := *f.r
			r.Data, r.Blocks = slices.Clone(r.Data), slices.Clone(r.Blocks)
			w.net = append(w.net, &flight{f.o, &r, true})
		}
	}
	for _, f := range lost {
		w.answer(f, chunk.Unreachable)
	}
}

// crash takes a device's node away.
func (w *world) crash(id cluster.DeviceID) {
	w.disk(id).up = false
	w.holds = slices.DeleteFunc(w.holds, func(h hold) bool { return h.device == id })
	w.net = slices.DeleteFunc(w.net, func(f *flight) bool { return f.ghost && f.r.Device == id })
	w.lose(id, "")
}

// tear has writes that are on their way to a device arrive in part.
func (w *world) tear(id cluster.DeviceID) {
	for _, f := range w.net {
		if f.r.Device == id && !f.ghost && f.r.Op == chunk.OpWrite {
			w.disk(id).Do(f.r)
			for i := range f.r.Count {
				w.disk(id).Tear(w.key, f.r.Page, f.r.Column, f.r.Block+i, f.r.W)
			}
			w.note(f.o.Epoch(), w.name(id), w.requestText(f.r)+": torn")
		}
	}
}

// power cuts the power of everything; devices are back at once, owners are not.
func (w *world) power() {
	w.net, w.holds, w.owners, w.asked = nil, nil, nil, nil
	clear(w.written)
	for _, d := range w.disks {
		d.Restart()
	}
}

// parentGives answers the oldest read of the parent. Its block 5 is full of inherited + 5, and 13
// is empty.
func (w *world) parentGives() {
	x := w.asked[0]
	w.asked = w.asked[1:]
	for i := 0; i < len(x.r.Data); i += 8 {
		at := x.r.Block + uint64(i/cluster.BlockSize)
		binary.LittleEndian.PutUint64(x.r.Data[i:], inherited+at)
		if at == 13 {
			clear(x.r.Data[i : i+8])
		}
	}
	w.note(x.o.Epoch(), "parent", "gives "+blocksText(x.r))
	x.o.ParentDone(x.r, engine.OK)
	w.drain(x.o)
}

const inherited = 1 << 32

// loseParent has the parent give nothing of what it is asked for now.
func (w *world) loseParent(forGood bool) {
	lost := w.asked
	w.asked = nil
	for _, x := range lost {
		s, why := engine.PathGone, "is out of reach for "
		if forGood {
			s, why = engine.Media, "has lost "
		}
		for i := range x.r.Data {
			x.r.Data[i] = 0xee
		}
		w.note(x.o.Epoch(), "parent", why+blocksText(x.r))
		x.o.ParentDone(x.r, s)
		w.drain(x.o)
	}
}

func blocksText(r *engine.ParentRead) string {
	first := "^" + strconv.FormatUint(r.Block, 10)
	if n := uint64(len(r.Data) / cluster.BlockSize); n > 1 {
		return first + "-^" + strconv.FormatUint(r.Block+n-1, 10)
	}
	return first
}

// submit hands an operation to an owner. What a write brings is its number, over and over.
func (w *world) submit(o *owner, op *engine.Op, text string) {
	if op.Kind != engine.Read {
		w.writes++
		text = fmt.Sprintf("%s #%d", text, w.writes)
	}
	if op.Kind != engine.Zero {
		op.Data = make([]byte, op.Sectors*cluster.LBASize)
	}
	for i := 0; i < len(op.Data); i += 8 {
		binary.LittleEndian.PutUint64(op.Data[i:], w.writes)
	}
	w.written[op] = text
	o.Submit(op)
	w.drain(o)
}
