package pagestore

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

const (
	segmentHeader = headerSize + 8 // and what the segment before looks like
	partVersions  = 64             // of a chunk: longer ones are cut, to waste little of a segment
	maxPart       = maxImageHeader + partVersions*maxVersion
)

// segment is a piece of a checkpoint on its way to the ring: first to one copy, then to the other, so that
// never both are being written.
type segment struct {
	op   blockdev.Op
	buf  []byte
	pos  uint64
	copy int // being written
	tail []byte
	next *segment
}

// step prepares the next operation that writes a segment; false when both copies are written.
func (seg *segment) step(c *checkpointer) bool {
	at, part, done := seg.pos, seg.tail, seg.op.Done
	if len(seg.tail) > 0 { // the part at the start of the ring
		at += uint64((len(seg.buf) - len(seg.tail)) / c.areas[0].unit)
		seg.tail = nil
	} else {
		if seg.copy++; seg.copy == len(c.areas) || seg.copy == 1 && c.s.mutant.Is(mutant.OneCopy) {
			return false
		}
		part, seg.tail = c.areas[seg.copy].cut(seg.pos, seg.buf)
	}
	seg.op = c.areas[seg.copy].op(blockdev.Write, at, part, done)
	c.s.mu.traffic.CheckpointBytes += uint64(len(seg.op.Buf))
	return true
}

// encoder turns a checkpoint into sealed segments. It implements pagemap.Sink.
type encoder struct {
	c         *checkpointer
	records   prior // of the open segment
	images    prior
	open      *segment
	ready     *segment // to be written, oldest first
	lastReady *segment
	nReady    int
	pulling   bool       // it is the checkpoint's turn, not a change's
	pos       uint64     // of the open segment
	last      segmentRef // the sealed one before
	payload   uint64     // bytes in sealed segments
	held      uint64     // versions of the map when it began
	versions  uint64     // in images
	bytes     uint64     // of images
	allowed   int        // bytes that a version may take, at most
	apart     []pagemap.ChunkVersion
}

// reset begins a checkpoint, of a map that holds so many versions, behind the one that is durable.
func (x *encoder) reset(held uint64) {
	*x = encoder{c: x.c, held: held, pos: x.c.current.head, last: x.c.current.last, apart: x.apart,
		allowed: int(x.c.s.mu.largest.dataSize(x.c.s.lay.dataBlocks))}
	x.begin()
}

// begin opens a segment.
func (x *encoder) begin() {
	x.open, x.records, x.images = x.c.newSegment(), prior{}, prior{}
	x.open.pos = x.pos
	b := x.open.buf[:segmentHeader]
	binary.LittleEndian.PutUint32(b[headerSize:], x.last.units)
	binary.LittleEndian.PutUint32(b[headerSize+4:], x.last.crc)
	x.open.buf = b
}

// seal closes the open segment.
func (x *encoder) seal() {
	seg, lay := x.open, x.c.areas[0]
	used := len(seg.buf) - headerSize
	seg.buf = seg.buf[:blockSize(used, lay.unit)]
	clear(seg.buf[headerSize+used:])
	h := header{kind: segmentBlock, used: used, id: x.c.s.id, incarnation: x.c.s.incarnation, seq: x.pos,
		aux: x.c.taking.number}
	x.last = segmentRef{crc: h.seal(seg.buf), units: uint32(lay.count(len(seg.buf)))}
	x.pos += uint64(x.last.units)
	x.payload += uint64(used)
	if x.pos-x.c.current.tail > lay.units {
		panic(fmt.Sprintf("pagestore: checkpoint from %d to %d, its ring has %d units", x.c.current.tail, x.pos,
			lay.units))
	}
	seg.copy, seg.tail = -1, nil
	if x.ready == nil {
		x.ready = seg
	} else {
		x.lastReady.next = seg
	}
	x.lastReady, x.open = seg, nil
	x.nReady++
}

// written is how many bytes the checkpoint has so far.
func (x *encoder) written() uint64 { return x.payload + uint64(len(x.open.buf)) }

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

// room makes the open segment have room for n bytes.
func (x *encoder) room(n int) {
	if len(x.open.buf)+n > x.c.size {
		x.seal()
		x.begin()
	}
}

// Record implements pagemap.Sink.
func (x *encoder) Record(r *pagemap.Record) {
	x.room(recordSize(r))
	x.open.buf = x.records.record(x.open.buf, r)
}

// meta adds a metadata record.
func (x *encoder) meta(e *metaEntry) {
	x.room(e.size())
	x.open.buf = appendMeta(x.open.buf, e)
}

// Chunk implements pagemap.Sink.
func (x *encoder) Chunk(e pagemap.Extent, versions []pagemap.ChunkVersion) {
	m := x.c.s.mutant
	if len(versions) == 0 && m.Is(mutant.EndUntold) || !x.pulling && m.Is(mutant.ChangedUntold) {
		return
	}
	x.versions += uint64(len(versions))
	for {
		part := versions[:min(len(versions), partVersions)]
		x.part(func(b []byte) []byte { return x.images.image(b, &e, part) })
		if versions = versions[len(part):]; len(versions) == 0 {
			return
		}
	}
}

// Image implements pagemap.Sink. An image that is longer than its versions may be, because every one of them
// has something of its own in the dictionary or the chunk has few of them, is taken apart.
func (x *encoder) Image(e pagemap.Extent, image pagemap.Image) {
	n := image.Count()
	if len(image) > min(n*x.allowed, maxPart-maxImageHeader) {
		x.apart = image.Versions(x.apart[:0])
		x.Chunk(e, x.apart)
		return
	}
	if !x.pulling && x.c.s.mutant.Is(mutant.ChangedUntold) {
		return
	}
	x.versions += uint64(n)
	x.part(func(b []byte) []byte { return x.images.packed(b, &e, image) })
}

// part adds a part of a chunk. Buffers have room for one part too many, which then begins the next segment.
func (x *encoder) part(add func([]byte) []byte) {
	before := len(x.open.buf)
	b := add(x.open.buf)
	if len(b) > x.c.size {
		x.seal()
		x.begin()
		before = len(x.open.buf)
		b = add(x.open.buf)
	}
	x.open.buf = b
	x.bytes += uint64(len(b) - before)
}

// end closes the checkpoint.
func (x *encoder) end(t *ckptTotals) {
	x.room(maxEnd)
	x.open.buf = appendEnd(x.open.buf, t)
	x.seal()
}

func (c *checkpointer) newSegment() *segment {
	seg := c.spare
	if seg != nil {
		c.spare = seg.next
		seg.next, seg.buf = nil, seg.buf[:0]
		return seg
	}
	seg = &segment{buf: make([]byte, 0, c.size+maxPart)}
	seg.op.Done = func(_ *blockdev.Op, err error) {
		c.s.locked(func(b *box) { c.segmentWritten(b, seg, err) })
	}
	return seg
}

// segmentWritten goes on with the other copy, or with another segment.
func (c *checkpointer) segmentWritten(b *box, seg *segment, err error) {
	if err != nil {
		c.s.fail(b, fmt.Errorf("checkpoint write: %w", err))
	}
	if c.s.mu.failed == nil && seg.step(c) {
		b.ops = append(b.ops, &seg.op)
		return
	}
	c.writes--
	seg.next, c.spare = c.spare, seg
	if c.stage == writing {
		c.write(b)
	}
}
