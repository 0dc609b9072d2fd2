package pagestore

import (
	"fmt"
	"math"
	"runtime"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// A checkpoint makes the log up to a certain block superfluous. Checkpoints lie one behind the other in a
// ring, of which there are two copies, and each tells what the one before did not: volumes and metadata,
// whole; the images of chunks that changed, and the ends of chunks that are gone; and a share of all other
// chunks, in the order of their keys. When the shares have gone round once, everything before the beginning
// of that round has been told again or is void, and the tail of the ring moves there. The steps:
//
//  1. Begin, when three quarters of the log are used, or it has as many records as recovery is to replay. The
//     checkpoint is of the map as it is now.
//  2. Changes, metadata and the share are encoded in bounded pieces, while I/O goes on. A chunk about to
//     change is encoded first.
//  3. Flush. Both superblocks are written to name the checkpoint, one after the other, each followed by a
//     flush.
//  4. The log up to the beginning of the checkpoint is free, and the ring up to its tail.
//
// Segments are written behind what both superblocks name, so a crash at any point leaves a checkpoint and its
// log; at any time a superblock, and either copy of any segment, may rot.
//
// The share is as large as it must be for the round to end before the ring is full (share), and no larger. A
// checkpoint always leaves room for one that holds the whole map: if need be it finishes the round, or begins
// another and finishes that, which is to be whole (finish). So the bytes of a checkpoint are bounded by what
// changed and the share, and at most by the map; and random writes all over, which change every chunk between
// two checkpoints, make whole checkpoints with nothing in them twice.

const (
	ckptPiece  = 256 // versions encoded under the lock at a time
	ckptWrites = 2   // segments in flight
	maxReady   = 64  // encoded and not written before new groups wait: 4 MiB
)

// stage is where a checkpoint is.
type stage uint8

const (
	idle       stage = iota
	writing          // of the ring
	flushing         // of the ring
	writingSB        // a superblock
	flushingSB       // a superblock
)

// phase is what a checkpoint encodes.
type phase uint8

const (
	changes  phase = iota
	metadata       // all of it
	sharing        // the round goes on
	encoded        // all of it is
)

// checkpointer writes checkpoints. Guarded by Store.mu.
type checkpointer struct {
	s       *Store
	areas   [2]ring
	size    int           // of a segment, in bytes
	current ckptRef       // durable
	round   pagemap.Round // as the last checkpoint left it
	wanted  bool          // before it is necessary
	piece   int           // versions
	lazy    bool          // tests: encode one piece per event
	pumping bool          // pump runs, or will

	stage  stage
	phase  phase
	taking ckptRef // being written
	copies int     // superblocks written
	snap   *pagemap.Snapshot
	goal   uint64 // bytes at which it has shared enough
	enc    encoder
	writes int // segments in flight
	flush  blockdev.Op
	super  blockdev.Op
	spare  *segment
}

func (c *checkpointer) init(s *Store, sb *super) {
	c.s, c.current, c.piece, c.size = s, sb.ckpt, ckptPiece, s.lay.segment()
	c.areas = [2]ring{s.lay.area(0), s.lay.area(1)}
	c.flush = blockdev.Op{Kind: blockdev.Flush, Done: c.ended}
	c.super = blockdev.Op{Kind: blockdev.Write, Buf: make([]byte, BlockSize), Done: c.ended}
	c.enc.c = c
}

func (c *checkpointer) busy() bool { return c.stage != idle }

// used is how many bytes of the ring recovery would read.
func (c *checkpointer) used() uint64 {
	return (c.current.head - c.current.tail) * uint64(c.areas[0].unit)
}

// behind tells whether changes must wait for the checkpoint: it holds as much in memory as it may.
func (c *checkpointer) behind() bool { return c.stage == writing && c.enc.nReady > maxReady }

// maybeCheckpoint begins one when it is time, and moves the one being taken on.
func (s *Store) maybeCheckpoint(b *box) {
	c, l := &s.mu.ckpt, &s.mu.log
	due := c.wanted || l.durable-l.tail >= l.ring.units/4*3 || l.records >= s.lay.replay()
	if due && c.stage == idle && s.mu.failed == nil && !s.mu.closed {
		c.begin()
	}
	if c.stage == writing {
		c.write(b)
	}
	if c.hungry() && !c.pumping {
		c.pumping, b.pump = true, true
	}
}

// Checkpoint takes one now, and waits for it, so that the next Open has nothing to replay. What changes
// meanwhile may not be in it. Not to be called from a Done.
func (s *Store) Checkpoint() error {
	s.locked(func(*box) {
		if l := &s.mu.log; l.durable > l.tail {
			s.mu.ckpt.wanted = true
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.refuse() == nil && (s.mu.ckpt.wanted || s.mu.ckpt.busy()) {
		s.quiet.Wait()
	}
	return s.refuse()
}

// begin starts a checkpoint of the map as it is now: with the records of all durable log blocks.
func (c *checkpointer) begin() {
	m := c.s.mu.m
	c.stage, c.phase, c.wanted = writing, changes, false
	c.taking = ckptRef{number: c.current.number + 1, tail: c.current.tail, start: c.current.start,
		logNext: c.s.mu.log.durable}
	if c.round.First == 0 {
		c.round = pagemap.Round{First: c.taking.number}
	}
	c.enc.reset(m.Usage().Versions)
	c.snap = m.BeginSnapshot(c.taking.number, &c.enc)
	c.s.mu.meta.begin(c.taking.number, c.enc.meta)
	c.s.mu.traffic.Checkpoints++
	c.s.mu.log.records = 0
}

// pull encodes a piece of the checkpoint.
func (c *checkpointer) pull() {
	c.enc.pulling = true
	switch c.phase {
	case changes:
		if !c.snap.Changes(c.piece) {
			c.phase = metadata
		}
	case metadata:
		if !c.s.mu.meta.next(c.piece) {
			c.phase, c.goal = sharing, c.share()
		}
	case sharing:
		switch enough := c.enc.written() >= c.goal && !c.crowded(c.taking.tail); {
		case enough && c.s.mutant.Is(mutant.RoundCut):
			c.roundEnds()
		case enough:
			c.finish()
		case !c.snap.Round(&c.round, c.piece):
			c.roundEnds()
		}
	}
	c.enc.pulling = false
}

// bytesFrom is how long the ring is from a position to the end of what is encoded.
func (c *checkpointer) bytesFrom(pos uint64) uint64 {
	return (c.enc.pos-pos)*uint64(c.areas[0].unit) + uint64(len(c.enc.open.buf))
}

// limit is how long it may be when a checkpoint ends: a whole one fits behind.
func (c *checkpointer) limit() uint64 { return c.s.lay.ckptBlocks * BlockSize / 2 }

// crowded tells whether a ring that begins at a position would be too long.
func (c *checkpointer) crowded(tail uint64) bool { return c.bytesFrom(tail)+uint64(c.size) > c.limit() }

// share decides how long the checkpoint is to be. Of the map a rest is still to be told in this round, and
// every checkpoint adds about as many changes as this one did: so that the round ends when the ring is full,
// rest : share = room for the round : (changes + share).
func (c *checkpointer) share() (goal uint64) {
	changed := float64(c.enc.written())
	perVersion := 16.0
	if c.enc.versions > 0 {
		perVersion = float64(c.enc.bytes) / float64(c.enc.versions)
	}
	rest := max(float64(c.s.mu.m.Usage().Versions)-float64(c.round.Passed), 0) * perVersion
	room := float64(c.limit()) - float64(c.bytesFrom(c.taking.tail)) - float64(c.size)
	if room <= rest {
		return math.MaxUint64
	}
	return uint64(changed + changed*rest/(room-rest))
}

// roundEnds moves the tail to the beginning of the round. If that makes too little room, because the round
// was long, the checkpoint becomes a round of its own.
func (c *checkpointer) roundEnds() {
	c.taking.tail = c.taking.start
	if c.round.First != c.taking.number && c.crowded(c.taking.tail) {
		c.round, c.taking.start, c.goal = pagemap.Round{First: c.taking.number}, c.current.head, math.MaxUint64
		return
	}
	c.round = pagemap.Round{First: c.taking.number + 1}
	c.finish()
	c.taking.start = c.enc.pos
}

// finish ends the encoding.
func (c *checkpointer) finish() {
	if c.phase = encoded; c.s.mutant.Is(mutant.LogNextLate) {
		c.taking.logNext = c.s.mu.log.durable
	}
	c.snap.End()
	c.snap = nil
	c.enc.end(&ckptTotals{versions: c.enc.held, logNext: c.taking.logNext, round: c.round})
	c.taking.head, c.taking.last = c.enc.pos, c.enc.last
}

// hungry tells whether more should be encoded.
func (c *checkpointer) hungry() bool {
	return c.stage == writing && c.phase != encoded && c.enc.nReady < ckptWrites && c.s.mu.failed == nil
}

// pump encodes, a piece under the lock at a time, until enough waits to be written. It has a goroutine of its
// own, so that neither a request nor the device waits for it.
func (s *Store) pump() {
	c := &s.mu.ckpt
	for more := true; more; runtime.Gosched() {
		b := s.box()
		s.mu.Lock()
		if c.hungry() {
			c.pull()
		}
		s.progress(b)
		more = c.hungry() && !c.lazy
		c.pumping = more
		s.mu.Unlock()
		s.send(b)
	}
}

// write keeps operations of the ring in flight until all is written.
func (c *checkpointer) write(b *box) {
	if c.s.mu.failed != nil {
		c.abort()
		return
	}
	for c.writes < ckptWrites && c.enc.ready != nil {
		seg := c.enc.pop()
		seg.step(c)
		c.writes++
		b.ops = append(b.ops, &seg.op)
	}
	if c.writes > 0 || c.phase != encoded {
		return
	}
	if c.s.mutant.Is(mutant.LogTailEarly) {
		c.s.mu.log.tail = c.taking.logNext
	}
	c.stage = flushing
	if c.s.mutant.Is(mutant.RingUnflushed) {
		c.flushed(b)
		return
	}
	b.ops = append(b.ops, &c.flush)
}

// abort gives a checkpoint up, when nothing of it is in flight any more.
func (c *checkpointer) abort() {
	if c.snap != nil {
		c.snap.End()
		c.snap = nil
	}
	if c.writes == 0 {
		c.stage = idle
		c.s.quiet.Broadcast()
	}
}

// ended goes on after a flush or the write of a superblock.
func (c *checkpointer) ended(op *blockdev.Op, err error) {
	c.s.locked(func(b *box) {
		if err != nil {
			c.s.fail(b, fmt.Errorf("checkpoint: %v: %w", op.Kind, err))
		}
		switch {
		case c.s.mu.failed != nil:
			c.abort()
		case c.stage == writingSB && !c.s.mutant.Is(mutant.SuperUnflushed):
			c.stage = flushingSB
			b.ops = append(b.ops, &c.flush)
		default:
			c.flushed(b)
		}
	})
}

// flushed goes on after a flush: to the next superblock, or to the end.
func (c *checkpointer) flushed(b *box) {
	s := c.s
	switch {
	case c.stage == flushing:
		c.copies = 0
		s.mu.superSeq++
		sb := super{id: s.id, seq: s.mu.superSeq, incarnation: s.incarnation, lay: s.lay, ckpt: c.taking}
		sb.encode(c.super.Buf)
	case c.copies < superCopies:
		if s.mutant.Is(mutant.LogTailHalf) {
			s.mu.log.tail = c.taking.logNext
		}
	default:
		c.current, c.stage = c.taking, idle
		s.mu.log.tail = c.current.logNext
		s.quiet.Broadcast()
		return
	}
	c.stage = writingSB
	c.super.Off = int64(s.lay.superAt(c.copies)) * BlockSize
	if s.mutant.Is(mutant.SuperInPlace) {
		c.super.Off = 0
	}
	c.copies++
	s.mu.traffic.CheckpointBytes += BlockSize
	b.ops = append(b.ops, &c.super)
}
