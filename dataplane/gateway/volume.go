package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/qos"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// asked is what the owner of a volume has to do for snapshots.
type asked struct {
	unsettled atomic.Pointer[[]cluster.SnapshotAt] // those on the way to another state; nil: none
	sets      atomic.Pointer[[]parts]              // group snapshots that this owner takes; nil: none
}

// vacancy is what is known of a volume that has no session here.
type vacancy struct {
	given   int64     // revision of the last record that gave it to this gateway; guarded by Gateway.mu
	unowned time.Time // first seen without a living owner; of the tick goroutine
	retry   time.Time // no take-over begins earlier; of the tick goroutine
	shunned time.Time // it is not drawn here earlier; of the tick goroutine
}

// Volume is a volume as the hosts of this node see it: an nvmet.Namespace, on the owner and on every other
// node.
type Volume struct {
	g    *Gateway
	key  cluster.VolumeKey
	uuid cluster.UUID
	pool *pool
	shape
	blocks     atomic.Uint64           // of 512 B
	session    atomic.Pointer[session] // nil: not the owner
	encryption atomic.Pointer[cluster.Encryption]
	parent     atomic.Pointer[cluster.Parent] // nil: it is no clone, or was flattened
	lent       atomic.Int64                   // reads under way for its clones that are owned elsewhere
	levels     levels                         // of a clone
	flow       atomic.Pointer[flow]           // nil: nothing bounds it
	locked     atomic.Pointer[string]         // why it cannot be opened, as found last
	opening    atomic.Bool                    // a take-over is under way
	asked      asked
	shrinking  shrinking
	vacant     vacancy
	place      place
	// attempts to become owner since the last success. Owned by the take-over under way.
	attempts int
}

// shape is what of a volume stays as it was made.
type shape struct {
	geometry stripe.Geometry
	geoErr   error
	code     cluster.Code
	// minColumns of a row must be writable for a host write to begin; 0: as many as there are data columns.
	minColumns int
	compressed bool
}

func newVolume(g *Gateway, rec *cluster.Volume, policy *cluster.Pool, in *pool) *Volume {
	v := &Volume{g: g, key: rec.Key, uuid: rec.UUID, pool: in, shape: shape{code: policy.Code,
		minColumns: policy.MinColumns, compressed: rec.Compression != ""}}
	v.geometry, v.geoErr = stripe.New(policy)
	v.blocks.Store(rec.Size / cluster.LBASize)
	v.encryption.Store(rec.Encryption)
	v.parent.Store(rec.Parent)
	v.shrinking.cut.Store(cuttingOf(rec))
	return v
}

// inherits is how many blocks of its parent the volume shows where it holds nothing.
func (v *Volume) inherits() uint64 {
	if p := v.parent.Load(); p != nil {
		return p.Size / cluster.BlockSize
	}
	return 0
}

// Key names the volume's data.
func (v *Volume) Key() cluster.VolumeKey { return v.key }

// UUID names the volume.
func (v *Volume) UUID() cluster.UUID { return v.uuid }

// Identity implements nvmet.Namespace.
func (v *Volume) Identity() nvmet.Identity { return nvmet.Identity{UUID: v.uuid, NGUID: v.uuid} }

// Blocks implements nvmet.Namespace.
func (v *Volume) Blocks() uint64 { return v.blocks.Load() }

// ANAState implements nvmet.Namespace: optimized on the owner once it serves, inaccessible elsewhere.
func (v *Volume) ANAState() nvme.ANAState {
	if s := v.session.Load(); s != nil && s.serving.Load() {
		return nvme.ANAOptimized
	}
	return nvme.ANAInaccessible
}

// Submit implements nvmet.Namespace.
func (v *Volume) Submit(r *nvmet.Request) { v.submit(r, 0) }

// submit takes a host command in; asOf is the pin that it reads, 0 for the present.
func (v *Volume) submit(r *nvmet.Request, asOf cluster.Seq) {
	s := v.session.Load()
	if s == nil || !s.serving.Load() {
		r.Complete(nvme.AsymmetricAccessInaccessible)
		return
	}
	h := v.g.pools.hostIO.Get().(*hostIO)
	h.s, h.req, h.asOf, h.shrinks = s, r, asOf, v.shrinking.times.Load()
	if f := v.flow.Load(); f != nil && r.Cmd.Opcode() != nvme.OpFlush {
		f.t.submit(f.f, h)
		return
	}
	h.start()
}

// start lets a command begin.
func (h *hostIO) start() {
	r := h.req
	switch r.Cmd.Opcode() {
	case nvme.OpRead:
		h.begin(engine.Read, r.Cmd.SLBA(), uint64(r.Cmd.NLB()), r.Data)
	case nvme.OpWrite:
		h.seal()
		h.begin(engine.Write, r.Cmd.SLBA(), uint64(r.Cmd.NLB()), r.Data)
	case nvme.OpWriteZeroes:
		h.begin(engine.Zero, r.Cmd.SLBA(), uint64(r.Cmd.NLB()), nil)
	case nvme.OpDSM:
		h.ranges = r.Cmd.DSMRanges()
		h.nextRange()
	case nvme.OpFlush: // no volatile write cache: every completed write is durable
		h.complete(nvme.Success)
	default:
		h.complete(nvme.InvalidOpcode.NoRetry())
	}
}

// zeroStep bounds the blocks of 512 B that one deallocation hands to the engine at a time: 16 MiB.
const zeroStep = 16 << 20 / cluster.LBASize

// zeroStack is how many pieces of a deallocation follow one another on one stack.
const zeroStack = 64

// hostIO is one host command on its way through the engine. Reused.
type hostIO struct {
	op   engine.Op
	s    *session
	req  *nvmet.Request
	asOf cluster.Seq // of a snapshot: its pin
	// shrinks are those of the volume before it came.
	shrinks uint32
	ranges  int    // Dataset Management: ranges of the command
	at      int    // Dataset Management: range being worked on
	lba     uint64 // Zero: what is left of the range
	left    uint64
	pieces  int
	asked   int64   // when it began to wait for limits, by the gateway's clock; 0: there are none
	began   int64   // when the engine got op
	resumed int64   // when op had to wait last; 0: it had not to
	next    *hostIO // in session.held
	wait    qos.Item
}

func (h *hostIO) begin(k engine.Kind, lba, blocks uint64, data []byte) {
	if k != engine.Read && lba+blocks > h.s.v.blocks.Load() { // it was there when the command came
		h.complete(nvme.LBAOutOfRange.NoRetry())
		return
	}
	h.op = engine.Op{Kind: k, LBA: lba, Sectors: uint32(blocks), Data: data, AsOf: h.asOf, Tag: h}
	h.s.submit(h)
}

// nextRange goes on with a Dataset Management command, a bounded piece at a time.
func (h *hostIO) nextRange() {
	for h.left == 0 {
		if h.at == h.ranges {
			h.complete(nvme.Success)
			return
		}
		d, err := nvme.DecodeDSMRange(h.req.Data[h.at*nvme.DSMRangeSize:])
		if err != nil {
			h.complete(nvme.InvalidField.NoRetry())
			return
		}
		h.at++
		h.lba, h.left = d.SLBA, uint64(d.Blocks)
	}
	n := min(h.left, zeroStep)
	lba := h.lba
	h.lba, h.left = h.lba+n, h.left-n
	h.begin(engine.Zero, lba, n, nil)
}

// done takes an operation back from the engine.
func (h *hostIO) done() {
	if h.op.Status == engine.OK && (h.left > 0 || h.at < h.ranges) {
		if h.pieces++; h.pieces%zeroStack == 0 { // pieces that complete at once must not pile up on one stack
			go h.nextRange()
			return
		}
		h.nextRange()
		return
	}
	h.complete(statusOf(h.op.Status))
}

// complete answers the host. The lease has been checked.
func (h *hostIO) complete(st nvme.Status) {
	req, g := h.req, h.s.v.g
	*h = hostIO{}
	g.pools.hostIO.Put(h)
	req.Complete(st)
}

func statusOf(s engine.Status) nvme.Status {
	switch s {
	case engine.OK:
		return nvme.Success
	case engine.NoSpace:
		return nvme.CapacityExceeded.NoRetry()
	case engine.Media:
		return nvme.UnrecoveredReadError.NoRetry()
	case engine.OutOfRange:
		return nvme.LBAOutOfRange.NoRetry()
	default:
		return nvme.AsymmetricAccessInaccessible
	}
}

// pools keep what the data path reuses.
type pools struct {
	hostIO    sync.Pool
	ready     sync.Pool
	inherited sync.Pool
	lent      sync.Pool
}

func (p *pools) init(*Gateway) {
	p.hostIO.New = func() any { return new(hostIO) }
	p.ready.New = func() any { return new(engine.Ready) }
	p.inherited.New = func() any { return new(inherited) }
	p.lent.New = func() any { return new(lent) }
}
