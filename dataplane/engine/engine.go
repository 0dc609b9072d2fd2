package engine

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// Config describes a volume at the moment its new owner opens it. All fields are needed but Near.
type Config struct {
	Vol      cluster.VolumeKey
	Owner    cluster.Owner // as just stored: Epoch is this owner's, Out and Residencies are inherited
	Geometry stripe.Geometry
	Table    *placement.Table
	Near     map[cluster.DeviceID]bool // devices to read from by preference (the gateway's own node)
	// Patience is how many ticks an open waits for the Awaited devices before it records them out: those that
	// may come up any moment, as after a start of the whole cluster. For others it does not wait.
	Patience int
	Awaited  map[cluster.DeviceID]bool
	// Doubted devices seem to be gone: an open does not spend time on asking them, unless nobody else has a
	// copy.
	Doubted map[cluster.DeviceID]bool
	// ReserveBlocks is the free space of a device, in blocks, below which host writes are refused: room for what
	// was already sent, for resync and for tombstones.
	ReserveBlocks uint64
}

// Ready is what the engine wants done. The receiver owns the slices until it passes the same Ready to Drain
// again.
type Ready struct {
	Sends  []*chunk.Request // carry out; each comes back through ChunkDone exactly once
	Done   []*Op            // give back to the host
	Record *cluster.Owner   // store by compare-and-swap, then call Recorded
	// Serving turns true once the open is complete: host operations are accepted from then on.
	Serving bool
	// Fenced: this owner is no longer the owner. All operations come back with PathGone.
	Fenced bool
	// Exhausted: the sequence numbers of this epoch run out; open again under the next epoch.
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
	Repaired uint64 // blocks rewritten after a checksum error
	Degraded uint64 // reads answered by another device than the one asked first
	Forward  uint64 // rows completed by the open
	Undone   uint64 // unreadable versions removed by the open
	Copied   uint64 // blocks copied by resyncs
}

// Engine is the state machine of one volume under one owner epoch. Not safe for concurrent use.
type Engine struct {
	cfg     Config
	geo     stripe.Geometry
	mode    mode
	fenced  bool
	devices map[cluster.DeviceID]*device
	order   []*device // by number: iteration order of every decision
	win     window
	locks   [lockBuckets][]*extent
	queued  int
	blocked []*extent
	rec     recorder
	open    opening
	rs      *resync
	out     Ready
	pools
	ticks uint64
	// Counters may be read by the driver between calls.
	Counters Counters
}

// pools are free lists, so that steady state allocates nothing.
type pools struct {
	extents  []*extent
	requests []*chunk.Request
	bounces  [][]byte
	zeroes   []byte
}

// New starts the open of a volume. The owner record must already name this gateway with a new epoch.
func New(cfg Config) (*Engine, error) {
	if cfg.Owner.Epoch == 0 || cfg.Owner.Epoch > cluster.MaxOwnerEpoch {
		return nil, fmt.Errorf("open volume %v: owner epoch %d is out of range", cfg.Vol, cfg.Owner.Epoch)
	}
	if cfg.Geometry.Data != 1 {
		return nil, fmt.Errorf("open volume %v: %d data columns are not supported yet", cfg.Vol, cfg.Geometry.Data)
	}
	e := &Engine{cfg: cfg, geo: cfg.Geometry, devices: make(map[cluster.DeviceID]*device)}
	e.zeroes = make([]byte, cluster.BlockSize)
	e.win.next, e.win.base = 1, 1
	e.rec.have = cfg.Owner.Clone()
	e.makeDevices()
	e.startOpen()
	return e, nil
}

// Epoch is the owner epoch of this engine.
func (e *Engine) Epoch() uint32 { return e.cfg.Owner.Epoch }

// Submit hands in a host operation. It comes back through Ready.Done, perhaps at the next Drain.
// The range must lie within the volume.
func (e *Engine) Submit(op *Op) {
	op.Status, op.parts = OK, 0
	if e.mode != modeServing {
		op.Status = PathGone
		e.out.Done = append(e.out.Done, op)
		return
	}
	op.parts = 1 // keeps the operation open while it is split
	e.split(op)
	e.partDone(op, OK)
}

// partDone counts down an operation; the first failure wins.
func (e *Engine) partDone(op *Op, s Status) {
	if op.Status == OK {
		op.Status = s
	}
	if op.parts--; op.parts == 0 {
		e.out.Done = append(e.out.Done, op)
	}
}

// Drain moves what is ready into r, reusing its slices.
func (e *Engine) Drain(r *Ready) {
	r.Sends = append(r.Sends[:0], e.out.Sends...)
	r.Done = append(r.Done[:0], e.out.Done...)
	r.Record, e.out.Record = e.out.Record, nil
	r.Serving = e.mode == modeServing
	r.Fenced, r.Exhausted = e.fenced, e.win.next > cluster.MaxSeqCounter/2
	e.out.Sends, e.out.Done = e.out.Sends[:0], e.out.Done[:0]
}

// Stop ends the engine: operations come back with PathGone as soon as none of their requests is outstanding.
func (e *Engine) Stop() {
	if e.mode == modeStopped {
		return
	}
	e.mode = modeStopped
	e.rs = nil
	e.flushBlocked()
}

// fence stops the engine because somebody else owns the volume.
func (e *Engine) fence() {
	e.fenced = true
	e.Stop()
}

// Idle reports that no operation and no request is left: after Stop, the engine can be dropped.
func (e *Engine) Idle() bool {
	if len(e.out.Sends) > 0 || len(e.out.Done) > 0 {
		return false
	}
	for i := range e.locks {
		if len(e.locks[i]) > 0 {
			return false
		}
	}
	return true
}

// Tick is called at a steady pace (100 ms); counts of ticks are the engine's only notion of time.
func (e *Engine) Tick() {
	e.ticks++
	switch e.mode {
	case modeOpening:
		e.tickOpen()
	case modeServing:
		e.probeSuspects()
		e.tickResync()
		e.sendStable()
	}
}

// ChunkDone takes a finished request back.
func (e *Engine) ChunkDone(r *chunk.Request) {
	d := e.devices[r.Device]
	if r.Status != chunk.Unreachable && r.Status != chunk.Invalid {
		d.free, d.freeKnown = r.Free, true
	}
	if r.Status == chunk.Fenced {
		e.fence()
	}
	switch t := r.Tag.(type) {
	case *extent:
		e.extentDone(t, d, r)
	case control:
		t(d, r)
	default:
		panic("engine: a request came back with a foreign tag")
	}
	e.freeRequest(r)
}

// control is the continuation of a request that belongs to no extent: open, probe, resync, stable.
type control func(d *device, r *chunk.Request)

// request prepares a request to a device under its present residency.
func (e *Engine) request(op chunk.Op, d *device, tag any) *chunk.Request {
	r := e.newRequest()
	r.Op, r.Device, r.Vol, r.Epoch, r.Tag = op, d.id, e.cfg.Vol, e.cfg.Owner.Epoch, tag
	r.Residency, r.Stable = d.residency, e.stable()
	return r
}

func (e *Engine) send(r *chunk.Request) { e.out.Sends = append(e.out.Sends, r) }

func (e *Engine) newRequest() *chunk.Request {
	if n := len(e.requests); n > 0 {
		r := e.requests[n-1]
		e.requests = e.requests[:n-1]
		return r
	}
	return new(chunk.Request)
}

func (e *Engine) freeRequest(r *chunk.Request) {
	*r = chunk.Request{}
	e.requests = append(e.requests, r)
}

func (e *Engine) newExtent(page uint64, first, count uint16) *extent {
	var x *extent
	if n := len(e.extents); n > 0 {
		x = e.extents[n-1]
		e.extents = e.extents[:n-1]
	} else {
		x = new(extent)
	}
	blocks := x.blocks
	*x = extent{page: page, first: first, count: count, blocks: blocks[:0]}
	for len(x.blocks) < int(count) {
		x.blocks = append(x.blocks, chunk.BlockInfo{})
	}
	clear(x.blocks)
	x.row = e.cfg.Table.Row(placement.Group(e.cfg.Vol, page))
	return x
}

func (e *Engine) freeExtent(x *extent) {
	if x.partial {
		e.bounces = append(e.bounces, x.data)
	}
	x.op, x.data, x.user, x.repair = nil, nil, nil, nil
	e.extents = append(e.extents, x)
}

func (e *Engine) newBounce() []byte {
	if n := len(e.bounces); n > 0 {
		b := e.bounces[n-1]
		e.bounces = e.bounces[:n-1]
		return b
	}
	return make([]byte, cluster.BlockSize)
}
