package gateway

import (
	"context"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// What a clone shows of its parent is read by way of the parent's owner, as of the clone's pin:
//
//	engine of the clone --> inherited --> here: engine of the parent
//	                            |
//	                            '--> Peers --> node of the parent's owner: Inherit --> lent --> its engine
//
// Where the parent is a clone itself, and holds nothing in these pages, its parent is asked at once, and
// so on (engine.Levels); one that holds something there asks its own for the rest. Blocks are passed on as
// they lie in rows: a clone has its parent's data key, and the place of a block is the same in both. (A
// compressed parent unpacks what it lends, and seals the blocks as they would lie in rows that are not; a
// compressed clone opens what it is given.)
// No lease is asked for: what is seen as of a pin never changes, and devices refuse an owner that others
// have replaced.

// Peers carries to the gateways of other nodes requests, each of which comes back through its Completer
// exactly once, and the steps of group snapshots (Gateway.GroupStep). When a step fails, it may have been
// done.
type Peers interface {
	Submit(cluster.NodeID, *chunk.Request)
	GroupStep(ctx context.Context, node cluster.NodeID, vol cluster.VolumeKey, round uint64,
		step cluster.GroupStep) (cluster.Pinned, error)
}

const (
	// lendTimeout is how long the owner of another node's parent waits for its devices. Who asked asks again; a
	// request without an answer would cost both nodes their connection.
	lendTimeout = 500 * time.Millisecond
	// maxLent bounds the reads of a volume that are under way for clones elsewhere.
	maxLent = 4096
)

// errand is an operation of the engine that is not a host's.
type errand interface {
	// returned is called when the engine is done with the operation; no lock is held.
	returned()
}

// inherited is a read of its parent for the clone of a session. Reused.
type inherited struct {
	s    *session
	read *engine.ParentRead
	at   engine.Ancestor // that is asked
	from *session        // that owns it, if it is owned here:
	op   engine.Op
	req  chunk.Request // else
}

// inherit carries out a read of the parent.
func (s *session) inherit(read *engine.ParentRead) {
	i := s.v.g.pools.inherited.Get().(*inherited)
	i.s, i.read = s, read
	parent := s.v.parent.Load()
	if parent == nil { // flattened meanwhile: what is not there reads as zeroes
		clear(read.Data)
		i.end(engine.OK)
		return
	}
	i.at = s.v.levels.first(i.page(), engine.Ancestor{Vol: parent.Key, Pin: parent.Pin})
	i.ask()
}

func (i *inherited) page() uint64   { return i.read.Block / i.s.v.geometry.PageBlocks() }
func (i *inherited) blocks() uint64 { return uint64(len(i.read.Data) / cluster.BlockSize) }

// ask asks the first ancestor that may hold the blocks.
func (i *inherited) ask() {
	g := i.s.v.g
	for {
		owner, node := g.ownerOf(i.at.Vol)
		up, known := g.above(i.at)
		switch {
		case owner != nil && known && owner.passes(i.at.Pin, i.read.Block, i.blocks()):
			i.pass(up)
			continue
		case owner != nil:
			i.askHere(owner)
		case node != 0 && node != g.o.Self:
			i.askThere(node, known)
		default:
			i.end(engine.PathGone)
		}
		return
	}
}

func (i *inherited) askHere(owner *session) {
	i.from = owner
	i.op = engine.Op{Kind: engine.Read, LBA: i.read.Block * (cluster.BlockSize / cluster.LBASize),
		Sectors: uint32(len(i.read.Data) / cluster.LBASize), Data: i.read.Data, AsOf: i.at.Pin, Tag: i}
	if !owner.submitPinned(&i.op) {
		i.end(engine.PathGone)
	}
}

func (i *inherited) askThere(node cluster.NodeID, mayPass bool) {
	n := int(i.blocks())
	i.req = chunk.Request{Op: chunk.OpInherit, Vol: i.at.Vol, Epoch: i.s.epoch, W: i.at.Pin,
		Page: i.read.Block, Count: uint16(n), Data: i.read.Data, Blocks: grow(i.req.Blocks, n), Completer: i}
	if mayPass {
		i.req.Residency = chunk.MayPass
	}
	i.s.v.g.o.Peers.Submit(node, &i.req)
}

// pass goes on to the parent of the ancestor that was asked.
func (i *inherited) pass(up engine.Ancestor) {
	i.at = up
	i.s.v.levels.pass(i.page(), up)
}

func grow(b []chunk.BlockInfo, n int) []chunk.BlockInfo {
	if cap(b) < n {
		return make([]chunk.BlockInfo, n)
	}
	return b[:n]
}

// ownerOf finds the session of a volume that is served here, or else the node that owns it, 0 if none is
// known.
func (g *Gateway) ownerOf(key cluster.VolumeKey) (*session, cluster.NodeID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.mu.volumes[key]; v != nil {
		if s := v.session.Load(); s != nil && s.serving.Load() {
			return s, 0
		}
	}
	if o := g.mu.state.Owners[key]; o != nil {
		return nil, o.Gateway
	}
	return nil, 0
}

// above is the parent of an ancestor, if that is a clone of which this node knows.
func (g *Gateway) above(a engine.Ancestor) (up engine.Ancestor, known bool) {
	v := g.Volume(a.Vol)
	if v == nil {
		return up, false
	}
	p := v.parent.Load()
	if p == nil {
		return up, false
	}
	return engine.Ancestor{Vol: p.Key, Pin: p.Pin}, true
}

// levels is what is remembered of the ancestors of a clone, whoever owns it.
type levels struct {
	sync.Mutex
	engine.Levels
}

func (l *levels) first(page uint64, parent engine.Ancestor) engine.Ancestor {
	l.Lock()
	defer l.Unlock()
	return l.First(page, parent)
}

func (l *levels) pass(page uint64, to engine.Ancestor) {
	l.Lock()
	defer l.Unlock()
	l.Pass(page, to)
}

func (l *levels) forget(page uint64) {
	l.Lock()
	defer l.Unlock()
	l.Forget(page)
}

// submitPinned hands a read as of a pin to the engine; false when the pin is not, or not yet, in its list.
func (s *session) submitPinned(op *engine.Op) (ok bool) {
	s.withEngine(func(e *engine.Engine) {
		if ok = e.Pinned(op.AsOf); ok {
			e.Submit(op)
		}
	})
	return ok
}

// passes reports that a read as of a pin is one of the same blocks of the volume's parent.
func (s *session) passes(pin cluster.Seq, first, blocks uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.Pinned(pin) && s.eng.Passes(first, blocks)
}

// returned implements errand: the parent's engine here is done.
func (i *inherited) returned() {
	if i.op.Status == engine.OK {
		i.from.sealLent(i.op.Data, i.op.LBA)
	}
	i.end(i.op.Status)
}

// ChunkDone implements chunk.Completer: another node has answered.
func (i *inherited) ChunkDone(r *chunk.Request) {
	status := engine.PathGone
	switch r.Status {
	case chunk.Passed:
		if up, known := i.s.v.g.above(i.at); known {
			i.pass(up)
			i.ask()
			return
		}
	case chunk.OK:
		status = engine.OK
		for _, b := range r.Blocks {
			if b.State != chunk.Data { // spoiled on the way
				status = engine.PathGone
			}
		}
	case chunk.IOError:
		status = engine.Media
	}
	i.end(status)
}

// end tells the engine of the clone.
func (i *inherited) end(status engine.Status) {
	s, read, blocks := i.s, i.read, i.req.Blocks
	switch status {
	case engine.OK:
		s.openBorrowed(read)
	case engine.PathGone:
		s.v.levels.forget(i.page())
	}
	*i = inherited{req: chunk.Request{Blocks: blocks}}
	s.v.g.pools.inherited.Put(i)
	s.withEngine(func(e *engine.Engine) { e.ParentDone(read, status) })
}

// lent is a read of a volume that is owned here for a clone that is owned elsewhere. Whoever asked is
// answered in time, so the engine reads into a buffer of its own. Reused.
type lent struct {
	s        *session
	r        *chunk.Request
	op       engine.Op
	buf      []byte
	timer    *time.Timer
	answered atomic.Bool
}

// Inherit answers the owner of a clone of a volume that is owned here. The request's buffers are left alone
// once it is answered.
func (g *Gateway) Inherit(r *chunk.Request) {
	if r.ValidateInherit() != nil {
		r.Complete(chunk.Invalid)
		return
	}
	s, _ := g.ownerOf(r.Vol)
	if s == nil {
		r.Complete(chunk.NotMine)
		return
	}
	if r.Residency == chunk.MayPass && s.passes(r.W, r.Page, uint64(r.Count)) {
		r.Complete(chunk.Passed)
		return
	}
	if s.v.lent.Add(1) > maxLent {
		s.v.lent.Add(-1)
		r.Complete(chunk.NotMine)
		return
	}
	l := g.pools.lent.Get().(*lent)
	l.s, l.r = s, r
	if n := r.Bytes(); cap(l.buf) < n {
		l.buf = make([]byte, n)
	}
	l.buf = l.buf[:r.Bytes()]
	l.op = engine.Op{Kind: engine.Read, LBA: r.Page * (cluster.BlockSize / cluster.LBASize),
		Sectors: uint32(len(l.buf) / cluster.LBASize), Data: l.buf, AsOf: r.W, Tag: l}
	l.answered.Store(false)
	if l.timer == nil {
		l.timer = time.AfterFunc(lendTimeout, l.expire)
	} else {
		l.timer.Reset(lendTimeout)
	}
	if !s.submitPinned(&l.op) {
		l.op.Status = engine.PathGone
		l.returned()
	}
}

// expire answers that the blocks are not to be had now.
func (l *lent) expire() {
	if !l.answered.Swap(true) {
		l.r.Complete(chunk.NotMine)
	}
}

// returned implements errand.
func (l *lent) returned() {
	stopped := l.timer.Stop()
	s := l.s
	s.v.lent.Add(-1)
	if !l.answered.Swap(true) {
		l.answer()
	}
	if stopped { // else expire may still look at it
		l.s, l.r = nil, nil
		s.v.g.pools.lent.Put(l)
	}
}

func (l *lent) answer() {
	switch l.op.Status {
	case engine.OK:
		l.s.sealLent(l.buf, l.op.LBA)
		copy(l.r.Data, l.buf)
		table := crc32.MakeTable(crc32.Castagnoli)
		for i := range l.r.Blocks {
			b := l.buf[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
			l.r.Blocks[i] = chunk.BlockInfo{State: chunk.Data, CRC: crc32.Checksum(b, table)}
		}
		l.r.Complete(chunk.OK)
	case engine.Media:
		l.r.Complete(chunk.IOError)
	default:
		l.r.Complete(chunk.NotMine)
	}
}
