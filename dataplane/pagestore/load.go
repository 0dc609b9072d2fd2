package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// Checkpoints are read from the head of the ring to its tail. The superblock says how the last segment must
// look, every segment says it of the one before: so whatever is not the segment that was written, for
// whatever reason, is noticed before anything of it is used, and the other copy is asked. And the newest
// image of a chunk is met first, so that older ones need not be loaded.

// loader fills a map from checkpoints.
type loader struct {
	r        *recovery
	into     *pagemap.Loader
	at       uint64     // position behind the next segment to be read
	want     segmentRef // how it must look
	number   uint64     // of the segment before; they descend
	totals   *ckptTotals
	versions []pagemap.ChunkVersion
	copies   [2]window
}

// window is a piece of a ring in memory.
type window struct {
	ring ring
	from uint64 // position
	buf  []byte
	room []byte
}

// rot is a segment that one copy has lost.
type rot struct {
	copy int
	pos  uint64
	want segmentRef
	err  error
}

// checkpoints loads what lies between head and tail of the ring.
func (r *recovery) checkpoints() error {
	ref := &r.sb.ckpt
	l := &loader{r: r, into: r.m.Load(ref.number), at: ref.head, want: ref.last, number: ref.number,
		copies: [2]window{{ring: r.sb.lay.area(0)}, {ring: r.sb.lay.area(1)}}}
	for l.at > ref.tail {
		if err := l.segment(ref.tail); err != nil {
			return fmt.Errorf("segment before %d: %w", l.at, err)
		}
	}
	t, loaded := l.totals, r.m.Usage().Versions // Finish frees what only pins needed that are gone
	if t == nil || t.versions != loaded || t.logNext != ref.logNext {
		return fmt.Errorf("%w: %d versions were loaded, want %+v", ErrDamaged, loaded, t)
	}
	if err := l.into.Finish(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.round = t.round
	return nil
}

// segment loads the one that ends at l.at, from either copy.
func (l *loader) segment(tail uint64) error {
	var errs [2]error
	good := false
	var h header
	var b []byte
	for k := range l.copies {
		i := (k + int(l.r.sb.incarnation%2)) % 2 // mounts take turns, so that each copy is looked at
		if good && !l.r.thorough {
			break
		}
		got, p, err := l.open(i, tail)
		if errs[i] = err; err == nil && !good {
			good, h, b = true, got, p
		}
	}
	if err := l.r.ctx.Err(); err != nil {
		return err
	}
	if !good {
		if err := errors.Join(errs[:]...); errors.Is(err, ErrIO) {
			return err
		}
		return fmt.Errorf("%w: neither copy can be used: %w", ErrDamaged, errors.Join(errs[:]...))
	}
	pos := l.at - uint64(l.want.units)
	for i, err := range errs {
		if err != nil {
			l.r.rotten = append(l.r.rotten, rot{copy: i, pos: pos, want: l.want, err: err})
		}
	}
	if err := l.payload(&h, h.payload(b)); err != nil {
		return fmt.Errorf("%w: at %d: %w", ErrDamaged, pos, err)
	}
	return nil
}

// open reads a segment from one copy and verifies that it is the right one.
func (l *loader) open(copy int, tail uint64) (header, []byte, error) {
	n := uint64(l.want.units)
	if n == 0 || n > l.at-tail || n > l.copies[copy].ring.count(maxBlock) {
		return header{}, nil, fmt.Errorf("%d units", n)
	}
	pos := l.at - n
	b, err := l.copies[copy].before(l.r, l.at, n, tail)
	if err != nil {
		return header{}, nil, err
	}
	h, err := openBlock(b, segmentBlock, l.r.sb.lay.unit)
	switch {
	case err != nil:
	case h.crc != l.want.crc || h.seq != pos || h.id != l.r.sb.id || h.used < segmentHeader-headerSize:
		err = fmt.Errorf("segment %d with checksum %08x of device %v, want %d with %08x", h.seq, h.crc,
			h.id.device, pos, l.want.crc)
	}
	return h, b, err
}

// before gives n units that end at a position. It reads a piece of the ring at a time, not beyond tail.
func (w *window) before(r *recovery, end, n, tail uint64) ([]byte, error) {
	from, unit := end-n, uint64(w.ring.unit)
	if have := uint64(len(w.buf)) / unit; from < w.from || end > w.from+have || have == 0 {
		piece := max(min(readPiece/unit, end-tail), n)
		if w.room == nil {
			w.room = make([]byte, min(readPiece, (end-tail)*unit))
		}
		w.from, w.buf = end-piece, w.room[:piece*unit]
		err := transfer(r.ctx, r.dev, w.ring.ops(blockdev.Read, w.from, w.buf)...)
		if err != nil && piece > n { // perhaps these units can be read
			w.from, w.buf = from, w.room[:n*unit]
			err = transfer(r.ctx, r.dev, w.ring.ops(blockdev.Read, from, w.buf)...)
		}
		if err != nil {
			w.buf = nil
			return nil, err
		}
	}
	return w.buf[(from-w.from)*unit : (end-w.from)*unit], nil
}

// repairRing writes segments that one copy has lost again, from the other, durably.
func (r *recovery) repairRing() error {
	if len(r.rotten) == 0 {
		return nil
	}
	for _, x := range r.rotten {
		good, bad := r.sb.lay.area(1-x.copy), r.sb.lay.area(x.copy)
		buf := make([]byte, int(x.want.units)*good.unit)
		if err := transfer(r.ctx, r.dev, good.ops(blockdev.Read, x.pos, buf)...); err != nil {
			return err
		}
		if h, err := openBlock(buf, segmentBlock, good.unit); err != nil || h.crc != x.want.crc {
			return fmt.Errorf("%w: segment at %d has changed: %w", ErrDamaged, x.pos, err)
		}
		if err := transfer(r.ctx, r.dev, bad.ops(blockdev.Write, x.pos, buf)...); err != nil {
			return err
		}
	}
	return transfer(r.ctx, r.dev, &blockdev.Op{Kind: blockdev.Flush})
}

// payload loads the records of a segment and learns about the one before.
func (l *loader) payload(h *header, p []byte) error {
	last := &l.r.sb.ckpt
	if h.aux > l.number || l.totals == nil && h.aux != last.number {
		return fmt.Errorf("checkpoint %d behind %d", h.aux, l.number)
	}
	l.number = h.aux
	l.at -= uint64(l.want.units)
	l.want = segmentRef{units: binary.LittleEndian.Uint32(p), crc: binary.LittleEndian.Uint32(p[4:])}
	var records, images prior
	var rec pagemap.Record
	for p = p[segmentHeader-headerSize:]; len(p) > 0; {
		n, err := 0, error(nil)
		switch p[0] & kindMask {
		case byte(pagemap.Settle), byte(pagemap.Stable), byte(pagemap.View), byte(pagemap.Drop):
			if n, err = records.readRecord(p, &rec); err == nil {
				l.into.Record(h.aux, &rec)
			}
		case ckptImage:
			n, err = l.image(h.aux, p, &images)
		case ckptPacked:
			n, err = l.packed(h.aux, p, &images)
		case metaRecord:
			var e metaEntry
			if e, n, err = readMeta(p); err == nil && h.aux == last.number {
				l.r.meta.put(e)
			}
		case ckptEnd:
			var t ckptTotals
			if t, n, err = readEnd(p); err == nil && l.totals == nil {
				l.totals = &t
			}
		default:
			err = fmt.Errorf("record of kind %d", p[0]&kindMask)
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// image loads an image and takes note of its numbers.
func (l *loader) image(number uint64, p []byte, images *prior) (n int, err error) {
	var e pagemap.Extent
	if e, l.versions, n, err = images.readImage(p, l.versions[:0]); err != nil {
		return 0, err
	}
	x := &l.r.largest
	x.place(&e)
	for i := range l.versions {
		x.version(l.versions[i].W, l.versions[i].Columns)
	}
	return n, l.into.Chunk(number, e, l.versions)
}

// packed is image for a chunk that was at rest.
func (l *loader) packed(number uint64, p []byte, images *prior) (int, error) {
	e, b, n, err := images.readPacked(p)
	if err != nil {
		return 0, err
	}
	if err := l.into.Image(number, e, b); err != nil {
		return 0, err
	}
	l.r.largest.place(&e)
	l.r.largest.version(b.Most())
	return n, nil
}
