package pagestore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// A checkpoint is the map, and the metadata records, as they were after a certain log block, in one of the
// two areas. The steps:
//
//  1. Begin, when half of the log is used: the snapshot of the map begins; volumes and metadata are encoded.
//  2. The snapshot goes on in bounded pieces, one per completed write of the area, while I/O goes on. A chunk
//     about to change is encoded first.
//  3. Flush. Both superblocks are written to name the checkpoint, one after the other, each followed by a
//     flush.
//  4. The log up to the beginning of the checkpoint is free.
//
// The area written is one that no superblock names: both name the other when a checkpoint begins, and a
// mount that finds them different makes them equal first. So a crash at any point leaves a checkpoint and
// its log, and at any time either superblock may rot.

const (
	segmentBlocks = 16   // written at once
	ckptPiece     = 2048 // versions encoded under the lock at a time
	ckptWrites    = 2    // operations in flight
	maxSegments   = 64   // encoded and not written before new groups wait: 4 MiB
)

// stage is where a checkpoint is.
type stage uint8

const (
	idle       stage = iota
	writing          // of the area
	flushing         // of the area
	writingSB        // a superblock
	flushingSB       // a superblock
)

// segment is a piece of a checkpoint on its way to the area.
type segment struct {
	op   blockdev.Op
	buf  []byte
	next *segment
}

// checkpointer writes checkpoints. Guarded by Store.mu.
type checkpointer struct {
	s       *Store
	current ckptRef // durable
	stage   stage
	taking  ckptRef // being written
	copies  int     // superblocks written
	snap    *pagemap.Snapshot
	enc     encoder
	writes  int // area operations in flight
	flush   blockdev.Op
	super   blockdev.Op
	spare   *segment
	segment int // blocks
	piece   int // versions
}

func (c *checkpointer) init(s *Store, sb *super) {
	c.s, c.current, c.segment, c.piece = s, sb.ckpt, segmentBlocks, ckptPiece
	c.flush = blockdev.Op{Kind: blockdev.Flush, Done: c.ended(func() { c.flushed() })}
	c.super = blockdev.Op{Kind: blockdev.Write, Buf: make([]byte, BlockSize), Done: c.ended(func() {})}
	c.enc.c = c
}

func (c *checkpointer) busy() bool { return c.stage != idle }

// behind tells whether changes must wait for the checkpoint: it holds as much in memory as it may.
func (c *checkpointer) behind() bool { return c.stage == writing && c.enc.nReady > maxSegments }

// maybeCheckpoint begins one when half of the log is used, and moves the one being taken on.
func (s *Store) maybeCheckpoint(b *box) {
	c := &s.mu.ckpt
	if c.stage == idle && s.mu.failed == nil && !s.mu.closed &&
		s.mu.log.durable+1-s.mu.log.tail >= s.lay.logBlocks/2 {
		c.begin()
	}
	if c.stage == writing {
		c.write(b)
	}
}

// begin starts a checkpoint of the map as it is now: with the records of all durable log blocks.
func (c *checkpointer) begin() {
	c.stage = writing
	c.taking = ckptRef{number: c.current.number + 1, logNext: c.s.mu.log.durable + 1}
	c.enc.reset()
	c.snap = c.s.mu.m.BeginSnapshot(&c.enc)
	c.enc.metadata(&c.s.mu.meta)
	c.s.mu.traffic.Checkpoints++
}

// write keeps operations of the area in flight until all is written.
func (c *checkpointer) write(b *box) {
	if c.s.mu.failed != nil {
		c.abort()
		return
	}
	for c.writes < ckptWrites {
		if c.enc.ready == nil && c.snap != nil && !c.snap.Next(c.piece) {
			c.snap = nil
			c.enc.end(c.taking.logNext)
		}
		seg := c.enc.pop()
		if seg == nil {
			if c.snap != nil {
				continue // the piece did not fill a segment
			}
			break
		}
		c.writes++
		c.s.mu.traffic.CheckpointBytes += uint64(len(seg.op.Buf))
		b.ops = append(b.ops, &seg.op)
	}
	if c.writes > 0 || c.snap != nil {
		return
	}
	c.taking.blocks, c.taking.crc = c.enc.blocks, c.enc.crc
	c.stage = flushing
	b.ops = append(b.ops, &c.flush)
}

// abort gives a checkpoint up, when nothing of it is in flight any more.
func (c *checkpointer) abort() {
	if c.snap != nil {
		c.snap.Abort()
		c.snap = nil
	}
	if c.writes == 0 {
		c.stage = idle
		c.s.quiet.Broadcast()
	}
}

// ended wraps the completion of a flush or a superblock write.
func (c *checkpointer) ended(next func()) func(*blockdev.Op, error) {
	return func(op *blockdev.Op, err error) {
		c.s.locked(func(b *box) {
			if err != nil {
				c.s.fail(b, fmt.Errorf("checkpoint: %v: %w", op.Kind, err))
			}
			if c.s.mu.failed != nil {
				c.abort()
				return
			}
			switch c.stage {
			case writingSB:
				c.stage = flushingSB
				b.ops = append(b.ops, &c.flush)
			default:
				next()
				if c.stage == writingSB {
					b.ops = append(b.ops, &c.super)
				}
			}
		})
	}
}

// flushed goes on after a flush: to the next superblock, or to the end.
func (c *checkpointer) flushed() {
	s := c.s
	switch {
	case c.stage == flushing:
		c.copies = 0
		s.mu.superSeq++
		sb := super{id: s.id, seq: s.mu.superSeq, incarnation: s.incarnation, lay: s.lay, ckpt: c.taking}
		sb.encode(c.super.Buf)
	case c.copies < superBlocks:
	default:
		c.current, c.stage = c.taking, idle
		s.mu.log.tail = c.current.logNext
		s.quiet.Broadcast()
		return
	}
	c.stage = writingSB
	c.super.Off = int64(c.copies) * BlockSize
	c.copies++
	s.mu.traffic.CheckpointBytes += BlockSize
}

// encoder turns a snapshot into sealed blocks. It implements pagemap.Sink.
type encoder struct {
	c         *checkpointer
	blocks    uint64 // sealed
	crc       uint32
	versions  uint64
	used      int      // payload of the open block
	open      *segment // holds the open block as its last
	ready     *segment // to be written, oldest first
	lastReady *segment
	nReady    int
}

func (x *encoder) reset() {
	*x = encoder{c: x.c}
	x.newBlock()
}

// newBlock opens the next block, in a new segment if the last one is full.
func (x *encoder) newBlock() {
	if x.open == nil {
		x.open = x.c.newSegment()
	}
	n := len(x.open.buf)
	x.open.buf = x.open.buf[:n+BlockSize]
	clear(x.open.buf[n:])
	x.used = 0
}

// seal closes the open block, and its segment when that is full or the last.
func (x *encoder) seal(last bool) {
	block := x.open.buf[len(x.open.buf)-BlockSize:]
	h := header{kind: checkpointBlock, used: uint16(x.used), id: x.c.s.id, incarnation: x.c.s.incarnation,
		seq: x.c.taking.number, aux: x.blocks}
	x.crc = chainCRC(x.crc, h.seal(block))
	x.blocks++
	if !last && len(x.open.buf) < cap(x.open.buf) {
		return
	}
	seg := x.open
	n := uint64(len(seg.buf) / BlockSize)
	lay := &x.c.s.lay
	if x.blocks > lay.ckptBlocks {
		panic(fmt.Sprintf("pagestore: checkpoint of %d blocks, its area has %d", x.blocks, lay.ckptBlocks))
	}
	seg.op.Off, seg.op.Buf = int64(lay.area(x.c.taking.number)+x.blocks-n)*BlockSize, seg.buf
	if x.ready == nil {
		x.ready = seg
	} else {
		x.lastReady.next = seg
	}
	x.lastReady, x.open = seg, nil
	x.nReady++
}

// chainCRC adds the checksum of a block to that of a checkpoint.
func chainCRC(crc, block uint32) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], block)
	return crc32.Update(crc, castagnoli, b[:])
}

func (x *encoder) pop() *segment {
	seg := x.ready
	if seg == nil {
		return nil
	}
	x.ready = seg.next
	if x.ready == nil {
		x.lastReady = nil
	}
	seg.next = nil
	x.nReady--
	return seg
}

// add makes room for a record of n bytes.
func (x *encoder) add(n int) []byte {
	if x.used+n > payloadSize {
		x.seal(false)
		x.newBlock()
	}
	at := len(x.open.buf) - BlockSize + headerSize + x.used
	x.used += n
	return x.open.buf[at : at+n]
}

// Record implements pagemap.Sink.
func (x *encoder) Record(r *pagemap.Record) { encodeRecord(x.add(recordSize(r)), r) }

// Chunk implements pagemap.Sink. A chunk that does not fit into the rest of a block is cut.
func (x *encoder) Chunk(e pagemap.Extent, versions []pagemap.ChunkVersion) {
	x.versions += uint64(len(versions))
	for len(versions) > 0 {
		n := (payloadSize - x.used - ckptChunkSize) / ckptVersionSize
		if n <= 0 {
			n = (payloadSize - ckptChunkSize) / ckptVersionSize
		}
		n = min(n, len(versions))
		encodeCkptChunk(x.add(ckptChunkSize+n*ckptVersionSize), &e, versions[:n])
		versions = versions[n:]
	}
}

func (x *encoder) metadata(t *metaTable) {
	for _, k := range slices.Sorted(maps.Keys(t.m)) {
		e := t.m[k]
		encodeMeta(x.add(e.size()), &e)
	}
}

// end closes the checkpoint.
func (x *encoder) end(logNext uint64) {
	encodeCkptEnd(x.add(ckptEndSize), ckptTotals{versions: x.versions, logNext: logNext})
	x.seal(true)
}

func (c *checkpointer) newSegment() *segment {
	seg := c.spare
	if seg != nil {
		c.spare = seg.next
		seg.next, seg.buf = nil, seg.buf[:0]
		return seg
	}
	seg = &segment{buf: make([]byte, 0, c.segment*BlockSize)}
	seg.op = blockdev.Op{Kind: blockdev.Write, Done: func(_ *blockdev.Op, err error) {
		c.s.locked(func(b *box) {
			c.writes--
			seg.next, c.spare = c.spare, seg
			if err != nil {
				c.s.fail(b, fmt.Errorf("checkpoint write: %w", err))
			}
			if c.stage == writing {
				c.write(b)
			}
		})
	}}
	return seg
}
