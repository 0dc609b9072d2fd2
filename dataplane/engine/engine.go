package engine

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// Config describes a volume at the moment its new owner opens it.
type Config struct {
	Vol      cluster.VolumeKey
	Owner    cluster.Owner // as just stored: Epoch is this owner's, the rest is inherited
	Geometry stripe.Geometry
	Code     cluster.Code
	// Tables by number: those that Owner.Layout names, and the pool's newest.
	Tables map[uint32]*placement.Table
	View   chunk.View
	Parent uint64 // blocks of the parent that show where the volume, a clone, holds nothing
	// Flattened is how far a flatten of the volume was recorded to be.
	Flattened cluster.Flattened
	Cut       Cut // what a shrink cuts off
	// MinColumns is how many columns of a row must be writable for a host write to begin; 0 means n.
	MinColumns int
	// Near is how many levels of the failure domain each device shares with the gateway: of copies the nearest
	// one is read. Nobody changes it any more; SetNear replaces it.
	Near map[cluster.DeviceID]int
	// Patience is how many ticks an open waits for the Awaited devices before it goes on without them: those
	// that may come up any moment, as after a start of the whole cluster. For others it does not wait.
	Patience int
	Awaited  map[cluster.DeviceID]bool
	// Doubted devices seem to be gone: an open does not spend time on asking them, unless nobody else has what
	// it needs.
	Doubted map[cluster.DeviceID]bool
	// Mutant plants a bug, for tests of the simulator.
	Mutant mutant.Set
	// Packer packs the stripe units of the volume, as it has from its first write on; nil: blocks are stored as
	// they are.
	Packer Packer
}

// Ready is what the engine wants done. The receiver owns the slices until it passes the same Ready to Drain
// again.
type Ready struct {
	Sends []*chunk.Request // carry out; each comes back through ChunkDone exactly once
	Done  []*Op            // give back to the host
	// Resumed operations of hosts had to wait, for what was before them or for a device, and go on now; some of
	// them may be Done. One may be named more than once. Nothing has to be done about it.
	Resumed []*Op
	Parent  []*ParentRead  // carry out; each comes back through ParentDone exactly once
	Record  *cluster.Owner // store Journal and Layout by compare-and-swap, then call Recorded
	// Serving turns true once the open is complete: host operations are accepted from then on. Before one
	// is, the owner record must say Served = Epoch, and the engine be told (Served): what this owner decided
	// counts from then on.
	Serving bool
	// Fenced: this owner is no longer the owner. All operations come back with PathGone.
	Fenced bool
	// Held: nothing is under way, and nothing begins before SetView or Resume.
	Held bool
	// Exhausted: the numbers of this epoch run out; open again under the next epoch.
	Exhausted bool
}

type mode uint8

const (
	modeOpening mode = iota
	modeServing
	modeStopped
)

// Counters are cumulative figures of one engine.
type Counters struct {
	Repaired   uint64 // blocks rewritten after a checksum error or a lost write
	Degraded   uint64 // reads that needed other columns than the ones asked first
	Forward    uint64 // row versions completed by the open
	Undone     uint64 // row versions removed by the open
	Judged     uint64 // blocks of returning devices compared with the other columns
	Entries    uint64 // journal entries made
	Copied     uint64 // blocks brought home or moved
	Renumbered uint64 // columns that stayed where they are, under another number
	Disagreed  uint64 // rows whose parities were not what their data makes
	Inherited  uint64 // blocks asked of the parent
	Flattened  uint64 // blocks of the parent copied by a flatten
	Packed     uint64 // blocks of units that were written packed, or could not be
	PackedInto uint64 // blocks that hold them
	// AuditPasses counts the times that all rows were compared.
	AuditPasses uint64
}

// code is how the rows of the volume are laid out and made redundant.
type code struct {
	geo    stripe.Geometry
	n, p   int
	copies bool // every column holds the same: n = 1, and no code
	codec  stripe.Codec
	unit   uint16 // rows that are written, and decided about, together: 1 where nothing is packed
}

// Engine is the state machine of one volume under one owner epoch. Not safe for concurrent use.
type Engine struct {
	cfg Config
	code
	mode    mode
	fenced  bool
	layout  []boundary
	devices map[cluster.DeviceID]*device
	order   []*device // by number: iteration order of every decision
	win     window
	lock    locks
	rec     recorder
	jour    journal
	open    opening
	mend    mender
	move    mover
	out     Ready
	pools
	walks
	ticks uint64
	round uint32 // comings and goings of devices, for residencies
	// Counters may be read by the driver between calls.
	Counters Counters
}

// New starts the open of a volume. The owner record must already name this gateway with a new epoch.
func New(cfg Config) (*Engine, error) {
	if cfg.Owner.Epoch == 0 || cfg.Owner.Epoch > cluster.MaxOwnerEpoch {
		return nil, fmt.Errorf("open volume %v: owner epoch %d is out of range", cfg.Vol, cfg.Owner.Epoch)
	}
	codec, err := stripe.NewCodec(cfg.Code, cfg.Geometry.Data, cfg.Geometry.Parity)
	if err != nil {
		return nil, fmt.Errorf("open volume %v: %w", cfg.Vol, err)
	}
	n := cfg.Geometry.Data
	e := &Engine{cfg: cfg, devices: make(map[cluster.DeviceID]*device), code: code{geo: cfg.Geometry, n: n,
		p: cfg.Geometry.Parity, copies: n == 1 && cfg.Code != cluster.CodeRDP, codec: codec}}
	if e.unit, err = unitOf(&cfg); err != nil {
		return nil, fmt.Errorf("open volume %v: %w", cfg.Vol, err)
	}
	e.scratch = make([][]byte, e.n+e.p)
	e.cfg.MinColumns = max(cfg.MinColumns, e.n)
	e.win.next, e.win.base = 1, 1
	e.flat.done = cfg.Flattened
	e.SetCut(cfg.Cut)
	e.rec.have = cfg.Owner.Clone()
	if err := e.takeLayout(); err != nil {
		return nil, fmt.Errorf("open volume %v: %w", cfg.Vol, err)
	}
	e.jour.init()
	e.startOpen()
	return e, nil
}

// Epoch is the owner epoch of this engine.
func (e *Engine) Epoch() uint32 { return e.cfg.Owner.Epoch }

// Submit hands in a host operation. It comes back through Ready.Done, perhaps at the next Drain.
// The range must lie within the volume; what a shrink cuts off (SetCut) does not, for changes.
func (e *Engine) Submit(op *Op) {
	op.parts, op.then = 0, nil
	switch {
	case e.mode != modeServing:
		op.Status = PathGone
		e.out.Done = append(e.out.Done, op)
	case e.cutOff(op):
		op.Status = OutOfRange
		e.out.Done = append(e.out.Done, op)
	default:
		e.begin(op)
	}
}

// begin splits an operation into extents.
func (e *Engine) begin(op *Op) {
	op.Status, op.parts = OK, 1 // keeps the operation open while it is split
	e.split(op)
	e.partDone(op, OK)
}

// partDone counts down an operation; the first failure wins.
func (e *Engine) partDone(op *Op, s Status) {
	if op.Status == OK {
		op.Status = s
	}
	if op.parts--; op.parts > 0 {
		return
	}
	if op.then != nil {
		op.then()
		return
	}
	e.out.Done = append(e.out.Done, op)
}

// Drain moves what is ready into r, reusing its slices.
func (e *Engine) Drain(r *Ready) {
	if e.mode != modeStopped {
		e.flushJournal()
	}
	e.refuse()
	r.Sends = append(r.Sends[:0], e.out.Sends...)
	r.Done = append(r.Done[:0], e.out.Done...)
	r.Resumed = append(r.Resumed[:0], e.out.Resumed...)
	r.Parent = append(r.Parent[:0], e.out.Parent...)
	r.Record, e.out.Record = e.out.Record, nil
	r.Serving = e.mode == modeServing
	r.Fenced = e.fenced
	r.Held = e.held()
	r.Exhausted = e.win.next > cluster.MaxSeqCounter/2 || e.round >= chunk.MaxRound
	e.out.Sends, e.out.Done, e.out.Parent = e.out.Sends[:0], e.out.Done[:0], e.out.Parent[:0]
	e.out.Resumed = e.out.Resumed[:0]
}

// resume tells that an extent had to wait, and goes on.
func (e *Engine) resume(x *extent) {
	if x.op != nil && x.op.then == nil {
		e.out.Resumed = append(e.out.Resumed, x.op)
	}
}

// refuse gives back, as unreachable, what an engine that has stopped would still send. Devices that know of
// no newer owner yet would carry it out, and it may come of an answer that was missing: from who has stopped,
// nothing may be the last word.
func (e *Engine) refuse() {
	for len(e.refused) > 0 {
		r := e.refused[0]
		e.refused = e.refused[1:]
		r.Status = chunk.Unreachable
		e.ChunkDone(r)
	}
	e.refused = nil
}

// Stop ends the engine: operations come back with PathGone as soon as none of their requests is outstanding.
func (e *Engine) Stop() {
	if e.mode == modeStopped {
		return
	}
	e.mode = modeStopped
	e.Resume()
	e.ResumeWrites()
	e.wake()
	for _, d := range e.order {
		e.dropCredit(d)
	}
	e.jour.abort()
}

// fence stops the engine because somebody else owns the volume.
func (e *Engine) fence() {
	e.fenced = true
	e.Stop()
}

// Idle reports that no operation and no request is left: after Stop, the engine can be dropped.
func (e *Engine) Idle() bool {
	out := len(e.out.Sends) + len(e.refused) + len(e.out.Done) + len(e.out.Parent)
	return out+len(e.lock.parked) == 0 && e.lock.empty()
}

// Tick is called at a steady pace (100 ms); counts of ticks are the engine's only notion of time.
func (e *Engine) Tick() {
	e.ticks++
	switch e.mode {
	case modeOpening:
		e.tickOpen()
	case modeServing:
		e.tickDevices()
		e.tickJournal()
		e.tickMend()
		e.tickMove()
		e.tickAudit()
		e.tickFlatten()
		e.tickSparse()
		e.tickCut()
		if !e.cfg.Mutant.Is(mutant.ViewSentOnce) {
			e.spreadView()
		}
		e.sendStable()
		if e.ticks%parkedTicks == 0 || e.lock.soon {
			e.lock.soon = false
			e.wake()
		}
	}
}

// parkedTicks is the pace at which parked operations are looked at even if nothing was noticed to change.
const parkedTicks = 10

// ChunkDone takes a finished request back.
func (e *Engine) ChunkDone(r *chunk.Request) {
	d := e.devices[r.Device]
	d.inFlight--
	if r.Op == chunk.OpWrite {
		d.credit.onWay -= uint32(r.Count)
	}
	if r.Status == chunk.OK && int32(r.Granted-d.credit.granted) > 0 {
		d.credit.granted = r.Granted
	}
	if r.Status == chunk.Fenced {
		e.fence()
	}
	switch t := r.Tag.(type) {
	case *extent:
		e.readDone(t, d, r)
	case *batch:
		e.batchDone(t, d, r)
	case control:
		t(d, r)
	default:
		panic("engine: a request came back with a foreign tag")
	}
	e.freeRequest(r)
}

// control is the continuation of a request outside the paths of healthy reads and writes. d has not been
// told about a failure yet: see [Engine.failed].
type control func(d *device, r *chunk.Request)

// request prepares a request to a device.
func (e *Engine) request(op chunk.Op, d *device, tag any) *chunk.Request {
	r := e.newRequest()
	r.Op, r.Device, r.Vol, r.Epoch, r.Tag = op, d.id, e.cfg.Vol, e.cfg.Owner.Epoch, tag
	// else it might free what a pin sees
	if d.viewed >= e.cfg.View.Version || e.cfg.Mutant.Is(mutant.MarkBeforeView) {
		r.Stable = e.stable()
	}
	return r
}

// requestAt prepares a request for blocks of a column at a place.
func (e *Engine) requestAt(op chunk.Op, at chunk.Place, page uint64, c int, first, count uint16,
	tag any) *chunk.Request {
	r := e.request(op, e.devices[at.Device], tag)
	r.Residency, r.Page, r.Column, r.Block, r.Count = at.Residency, page, uint8(c), first, count
	return r
}

func (e *Engine) send(r *chunk.Request) {
	d := e.devices[r.Device]
	d.inFlight++
	if r.Op == chunk.OpWrite {
		d.credit.sent += uint32(r.Count)
		d.credit.onWay += uint32(r.Count)
	}
	if e.mode == modeStopped {
		e.refused = append(e.refused, r)
		return
	}
	e.out.Sends = append(e.out.Sends, r)
}

// failed notes the outcome of a request for its device and reports whether the request failed. A device that
// is full is not at fault, and a fence ends the engine.
func (e *Engine) failed(d *device, r *chunk.Request) bool {
	switch r.Status {
	case chunk.OK:
		return false
	case chunk.Full, chunk.Fenced:
	default:
		d.full = false
		e.deviceFailed(d)
	}
	return true
}

// lost is failed for requests that a device has to be able to carry out, full or not.
func (e *Engine) lost(d *device, r *chunk.Request) bool {
	if r.Status == chunk.Full {
		d.full = true
		e.deviceFailed(d)
	}
	return e.failed(d, r)
}
