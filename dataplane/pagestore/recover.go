package pagestore

import (
	"context"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// readPiece is how much metadata recovery reads at a time, in blocks.
const readPiece = 256

// recovery rebuilds a store from its device: superblock, checkpoint, tail of the log. It writes nothing.
type recovery struct {
	ctx  context.Context
	dev  blockdev.Device
	sb   super
	m    *pagemap.Map
	meta metaTable

	next     uint64 // sequence behind the last log block of the contiguous tail
	promised uint64 // largest sequence that a log block of this incarnation calls durable
	records  uint64 // replayed
	unsure   []unsureData
	buf      []byte
	seen     seen // is told of every record; nil: nobody
}

// seen is told of the records of the log as they are replayed: either a record of the map, or metadata.
type seen func(block uint64, rec *pagemap.Record, meta *metaEntry)

// unsureData is a record whose data may have been in flight when the power failed.
type unsureData struct {
	seq uint64
	rec pagemap.Record
}

// readSupers reads both superblocks. bad says what is wrong with each.
func readSupers(ctx context.Context, dev blockdev.Device) (
	sb [superBlocks]super, bad [superBlocks]error, err error) {
	size := uint64(dev.Geometry().Size) / BlockSize
	if size < superBlocks {
		return sb, bad, fmt.Errorf("%w: device of %d blocks", ErrForeign, size)
	}
	buf := make([]byte, superBlocks*BlockSize)
	for i := range sb { // one at a time: one of them may be unreadable
		p := buf[i*BlockSize:][:BlockSize]
		op := &blockdev.Op{Kind: blockdev.Read, Off: int64(i) * BlockSize, Buf: p}
		if bad[i] = transfer(ctx, dev, op); bad[i] == nil {
			sb[i], bad[i] = decodeSuper(p, size)
		}
	}
	if err := ctx.Err(); err != nil {
		return sb, bad, err
	}
	return sb, bad, nil
}

// newestSuper chooses the superblock to trust.
func newestSuper(ctx context.Context, dev blockdev.Device) (super, error) {
	sb, bad, err := readSupers(ctx, dev)
	switch {
	case err != nil:
		return super{}, err
	case errors.Is(bad[0], ErrIO) && errors.Is(bad[1], ErrIO):
		return super{}, errors.Join(bad[:]...)
	case bad[0] != nil && bad[1] != nil:
		if ours(bad[0]) || ours(bad[1]) {
			return super{}, fmt.Errorf("%w: both superblocks: %w", ErrDamaged, errors.Join(bad[:]...))
		}
		return super{}, fmt.Errorf("%w: %w", ErrForeign, errors.Join(bad[:]...))
	case bad[0] != nil || bad[1] == nil && sb[1].seq > sb[0].seq:
		return sb[1], nil
	}
	return sb[0], nil
}

// repairSupers makes both superblocks equal to the one that recovery trusted. The other may be torn, or
// older and name the area that the next checkpoint overwrites.
func repairSupers(ctx context.Context, dev blockdev.Device, trusted super) error {
	sb, bad, err := readSupers(ctx, dev)
	if err != nil {
		return err
	}
	for i := range sb {
		if bad[i] == nil && sb[i] == trusted {
			continue
		}
		buf := make([]byte, BlockSize)
		trusted.encode(buf)
		op := &blockdev.Op{Kind: blockdev.Write, Off: int64(i) * BlockSize, Buf: buf}
		if err := transfer(ctx, dev, op); err != nil {
			return fmt.Errorf("repair superblock %d: %w", i, err)
		}
		if err := transfer(ctx, dev, &blockdev.Op{Kind: blockdev.Flush}); err != nil {
			return fmt.Errorf("repair superblock %d: %w", i, err)
		}
	}
	return nil
}

// ours tells a superblock with something wrong from foreign data.
func ours(bad error) bool { return !errors.Is(bad, errNoBlock) }

// check compares who a device is with who it should be.
func (id identity) check(o Options) error {
	if !o.ClusterID.IsZero() && id.cluster != o.ClusterID {
		return fmt.Errorf("%w: it belongs to cluster %v, this is %v", ErrForeign, id.cluster, o.ClusterID)
	}
	if !o.DeviceUUID.IsZero() && id.device != o.DeviceUUID {
		return fmt.Errorf("%w: it is device %v, want %v", ErrWrongDevice, id.device, o.DeviceUUID)
	}
	return nil
}

// recoverMap reads everything that the map consists of.
func recoverMap(ctx context.Context, dev blockdev.Device, sb super) (*recovery, error) {
	return recoverSeen(ctx, dev, sb, nil)
}

// recoverSeen is recoverMap for somebody who wants to know the records of the log.
func recoverSeen(ctx context.Context, dev blockdev.Device, sb super, f seen) (*recovery, error) {
	m, err := pagemap.New(sb.lay.dataBlocks)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r := &recovery{ctx: ctx, dev: dev, sb: sb, m: m, meta: metaTable{m: map[string]metaEntry{}},
		buf: make([]byte, readPiece*BlockSize), seen: f}
	if err := r.checkpoint(); err != nil {
		return nil, fmt.Errorf("checkpoint %d: %w", sb.ckpt.number, err)
	}
	if err := r.log(); err != nil {
		return nil, fmt.Errorf("log from %d: %w", sb.ckpt.logNext, err)
	}
	if err := r.verifyData(); err != nil {
		return nil, err
	}
	return r, nil
}

// checkpoint loads the checkpoint that the superblock names.
func (r *recovery) checkpoint() error {
	ref, crc := r.sb.ckpt, uint32(0)
	var versions uint64
	var totals ckptTotals
	for done := uint64(0); done < ref.blocks; {
		n := min(ref.blocks-done, readPiece)
		buf := r.buf[:n*BlockSize]
		off := int64(r.sb.lay.area(ref.number)+done) * BlockSize
		if err := transfer(r.ctx, r.dev, &blockdev.Op{Kind: blockdev.Read, Off: off, Buf: buf}); err != nil {
			return err
		}
		for ; len(buf) > 0; buf = buf[BlockSize:] {
			h, err := openBlock(buf[:BlockSize], checkpointBlock)
			if err == nil && (h.id != r.sb.id || h.seq != ref.number || h.aux != done) {
				err = fmt.Errorf("block %d of checkpoint %d of device %v", h.aux, h.seq, h.id.device)
			}
			if err == nil {
				err = r.ckptPayload(h.payload(buf), &versions, &totals)
			}
			if err != nil {
				return fmt.Errorf("%w: block %d: %w", ErrDamaged, done, err)
			}
			crc = chainCRC(crc, h.crc)
			done++
		}
	}
	if crc != ref.crc || totals != (ckptTotals{versions: versions, logNext: ref.logNext}) {
		return fmt.Errorf("%w: %d blocks with checksum %08x end in %+v, want %08x and %+v", ErrDamaged, ref.blocks,
			crc, totals, ref.crc, ckptTotals{versions: versions, logNext: ref.logNext})
	}
	r.m.FinishLoad()
	return nil
}

// ckptPayload loads the records of one checkpoint block.
func (r *recovery) ckptPayload(p []byte, versions *uint64, totals *ckptTotals) error {
	var chunk []pagemap.ChunkVersion
	for len(p) > 0 {
		var n int
		var err error
		switch p[0] {
		case byte(pagemap.Settle), byte(pagemap.Stable), byte(pagemap.View):
			var rec pagemap.Record
			if n, err = decodeRecord(p, &rec); err == nil {
				r.m.Apply(&rec)
			}
		case ckptChunk:
			var e pagemap.Extent
			if e, chunk, n, err = decodeCkptChunk(p, chunk[:0]); err == nil {
				*versions += uint64(len(chunk))
				err = r.loadChunk(e, chunk)
			}
		case metaRecord:
			var e metaEntry
			if e, n, err = decodeMeta(p); err == nil {
				r.meta.put(e)
			}
		case ckptEnd:
			*totals, n, err = decodeCkptEnd(p)
		default:
			err = fmt.Errorf("record of kind %d", p[0])
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (r *recovery) loadChunk(e pagemap.Extent, chunk []pagemap.ChunkVersion) error {
	for i := range chunk {
		if err := r.m.LoadVersion(e, chunk[i]); err != nil {
			return err
		}
	}
	return nil
}

// log reads the ring once around, from the first block that the checkpoint does not contain. Blocks up to
// the first missing one are replayed. Later ones only tell whether that one was ever promised durable.
func (r *recovery) log() error {
	first, ring := r.sb.ckpt.logNext, r.sb.lay.logBlocks
	hole := false
	r.next = first
	for seq := first; seq < first+ring; {
		n := min(ring-seq%ring, first+ring-seq, readPiece)
		buf := r.buf[:n*BlockSize]
		if err := r.readLog(seq, buf); err != nil {
			return err
		}
		for ; len(buf) > 0; buf = buf[BlockSize:] {
			h, err := openBlock(buf[:BlockSize], logBlock)
			valid := err == nil && h.id == r.sb.id && h.incarnation == r.sb.incarnation && h.seq == seq
			switch {
			case valid && !hole:
				if err := r.replay(&h, h.payload(buf)); err != nil {
					return fmt.Errorf("%w: block %d: %w", ErrDamaged, seq, err)
				}
				r.next = seq + 1
			case !valid:
				hole = true
			}
			if valid {
				r.promised = max(r.promised, h.aux)
			}
			seq++
		}
	}
	if r.promised >= r.next {
		return fmt.Errorf("%w: block %d is missing, and was durable: a later one says so of %d", ErrDamaged, r.next,
			r.promised)
	}
	return nil
}

// readLog reads consecutive log blocks. Those that cannot be read are zeroed: missing, like any other.
func (r *recovery) readLog(seq uint64, buf []byte) error {
	err := transfer(r.ctx, r.dev, &blockdev.Op{Kind: blockdev.Read, Off: r.sb.lay.logOffset(seq), Buf: buf})
	if err == nil || r.ctx.Err() != nil {
		return err
	}
	for ; len(buf) > 0; buf = buf[BlockSize:] {
		op := &blockdev.Op{Kind: blockdev.Read, Off: r.sb.lay.logOffset(seq), Buf: buf[:BlockSize]}
		if err := transfer(r.ctx, r.dev, op); err != nil {
			clear(buf[:BlockSize])
		}
		seq++
	}
	return r.ctx.Err()
}

// replay applies the records of one log block.
func (r *recovery) replay(h *header, p []byte) error {
	var rec pagemap.Record
	for len(p) > 0 {
		r.records++
		if p[0] == metaRecord {
			e, n, err := decodeMeta(p)
			if err != nil {
				return err
			}
			if r.seen != nil {
				r.seen(h.seq, nil, &e)
			}
			r.meta.put(e)
			p = p[n:]
			continue
		}
		n, err := decodeRecord(p, &rec)
		if err != nil {
			return err
		}
		if r.seen != nil {
			r.seen(h.seq, &rec, nil)
		}
		p = p[n:]
		if rec.Kind == pagemap.Put && !rec.Tombstone {
			if err := r.m.Claim(pagemap.Run{Loc: rec.Loc, N: rec.N}); err != nil {
				return err
			}
			r.unsure = append(r.unsure, unsureData{seq: h.seq, rec: rec})
		}
		r.m.Apply(&rec)
		if rec.Kind == pagemap.Drop {
			for r.m.Purge(purgePiece) {
			}
		}
	}
	// What this block calls durable needs no verification; most of the log never waits here for long.
	i := 0
	for i < len(r.unsure) && r.unsure[i].seq <= h.aux {
		i++
	}
	r.unsure = r.unsure[:copy(r.unsure, r.unsure[i:])]
	return nil
}

// verifyData reads the data of records that nothing calls durable. What fails its checksum stays, as bad.
func (r *recovery) verifyData() error {
	held := make([]pagemap.Version, pagemap.MaxChunkBlocks)
	for i := range r.unsure {
		u := &r.unsure[i]
		if u.seq <= r.promised {
			continue
		}
		held := held[:u.rec.N]
		r.m.Exact(u.rec.Extent, u.rec.W, held)
		for j := range held {
			loc := u.rec.Loc + uint64(j)
			if held[j].State != pagemap.Data || held[j].Loc != loc {
				continue // superseded, undone or held already
			}
			buf := r.buf[:BlockSize]
			err := transfer(r.ctx, r.dev, &blockdev.Op{Kind: blockdev.Read, Off: r.sb.lay.dataOffset(loc), Buf: buf})
			if cerr := r.ctx.Err(); cerr != nil {
				return cerr
			}
			if err != nil || checksum(buf) != held[j].CRC {
				r.m.MarkBad(u.rec.Extent, u.rec.First+uint16(j), u.rec.W, loc)
			}
		}
	}
	return nil
}

// Open recovers the store: newest valid checkpoint, then the tail of the log. ErrForeign, ErrDamaged.
// The caller keeps ownership of dev and closes it after Close.
func Open(ctx context.Context, dev blockdev.Device, o Options) (*Store, error) {
	sb, err := newestSuper(ctx, dev)
	if err == nil {
		err = sb.id.check(o)
	}
	if err != nil {
		return nil, fmt.Errorf("open page store: %w", err)
	}
	r, err := recoverMap(ctx, dev, sb)
	if err != nil {
		return nil, fmt.Errorf("open page store %v: %w", sb.id.device, err)
	}
	if err := repairSupers(ctx, dev, sb); err != nil {
		return nil, fmt.Errorf("open page store %v: %w", sb.id.device, err)
	}
	sb.incarnation++
	s, err := newStore(dev, &sb, o.Groups)
	if err != nil {
		return nil, err
	}
	if o.segment > 0 {
		s.mu.ckpt.segment, s.mu.ckpt.piece = o.segment, 16*o.segment
	}
	s.mu.m, s.mu.meta = r.m, r.meta
	s.mu.bad.find(r.m)
	s.mu.log.next, s.mu.log.durable, s.mu.log.tail = r.next, r.next-1, sb.ckpt.logNext
	if err := s.mount(); err != nil {
		return nil, fmt.Errorf("mount page store %v: %w", sb.id.device, err)
	}
	return s, nil
}

// mount makes a checkpoint of what was recovered, under a new incarnation, durable before anything is
// written.
func (s *Store) mount() error {
	b := s.box()
	s.mu.Lock()
	s.mu.ckpt.begin()
	s.mu.ckpt.write(b)
	s.mu.Unlock()
	s.send(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mu.ckpt.busy() {
		s.quiet.Wait()
	}
	s.free.Store(s.mu.m.Usage().Free)
	return s.mu.failed
}
