package pagestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// readPiece is how much metadata recovery reads at a time, in bytes.
const readPiece = 1 << 20

// recovery rebuilds a store from its device: superblock, checkpoint, tail of the log. It writes nothing.
type recovery struct {
	ctx      context.Context
	dev      blockdev.Device
	sb       super
	mutant   mutant.Set
	thorough bool // look at both copies of the checkpoint ring

	m       *pagemap.Map
	mem     *memory // of m
	meta    metaTable
	largest largest
	round   pagemap.Round
	rotten  []rot

	next     uint64           // position behind the last log block of the contiguous tail
	promised uint64           // largest position up to which a log block of this life calls the log durable
	records  uint64           // replayed
	batch    []pagemap.Record // reused
	unsure   []unsureData
	buf      []byte
	seen     seen // is told of every record; nil: nobody
}

// seen is told of the records of the log as they are replayed: either a record of the map, or metadata.
type seen func(block uint64, rec *pagemap.Record, meta *metaEntry)

// unsureData is a put whose data may have been in flight when the power failed.
type unsureData struct {
	seq uint64
	e   pagemap.Extent
	w   cluster.Seq
	loc uint64
}

// readSupers reads both superblocks. bad says what is wrong with each.
func readSupers(ctx context.Context, dev blockdev.Device) (
	sb [superCopies]super, bad [superCopies]error, err error) {
	size := uint64(dev.Geometry().Size) / BlockSize
	if size < superCopies {
		return sb, bad, fmt.Errorf("%w: device of %d blocks", ErrForeign, size)
	}
	at := layout{total: size}
	buf := make([]byte, BlockSize)
	for i := range sb { // one at a time: one of them may be unreadable
		op := &blockdev.Op{Kind: blockdev.Read, Off: int64(at.superAt(i)) * BlockSize, Buf: buf}
		if bad[i] = transfer(ctx, dev, op); bad[i] == nil {
			sb[i], bad[i] = readSuper(buf, size)
		}
		if bad[i] == nil {
			at = sb[i].lay // the device may have grown
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
		var version versionError
		if errors.As(bad[0], &version) || errors.As(bad[1], &version) {
			return super{}, fmt.Errorf("%w: %w", ErrVersion, errors.Join(bad[:]...))
		}
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
		op := &blockdev.Op{Kind: blockdev.Write, Off: int64(trusted.lay.superAt(i)) * BlockSize, Buf: buf}
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
func recoverMap(ctx context.Context, dev blockdev.Device, sb super, o Options, thorough bool) (
	*recovery, error) {
	return recoverSeen(ctx, dev, sb, o, thorough, nil)
}

// recoverSeen is recoverMap for somebody who wants to know the records of the log.
func recoverSeen(ctx context.Context, dev blockdev.Device, sb super, o Options, thorough bool, f seen) (
	*recovery, error) {
	if lb := dev.Geometry().LogicalBlock; sb.lay.unit%lb != 0 {
		return nil, fmt.Errorf("%w: made for logical blocks of %d bytes, the device has %d: format it again",
			ErrInvalid, sb.lay.unit, lb)
	}
	m, mem, err := newMap(&sb.lay)
	if err != nil {
		return nil, err
	}
	r := &recovery{ctx: ctx, dev: dev, sb: sb, mutant: o.Mutant, thorough: thorough, m: m, mem: mem,
		meta: metaTable{byKey: map[string]*metaEntry{}}, buf: make([]byte, BlockSize), seen: f}
	if err := r.all(); err != nil {
		mem.close()
		return nil, err
	}
	return r, nil
}

func (r *recovery) all() error {
	if err := r.checkpoints(); err != nil {
		return fmt.Errorf("checkpoint %d: %w", r.sb.ckpt.number, err)
	}
	if err := r.log(); err != nil {
		return fmt.Errorf("log from %d: %w", r.sb.ckpt.logNext, err)
	}
	return r.verifyData()
}

// log reads the ring once around, from the first block that the checkpoint does not contain. Blocks up to
// the first missing one are replayed. Later ones only tell whether that one was ever promised durable.
func (r *recovery) log() error {
	first, ring := r.sb.ckpt.logNext, r.sb.lay.log()
	end := first + ring.units
	w := window{ring: ring, room: make([]byte, min(readPiece+maxBlock, ring.units*uint64(ring.unit)))}
	hole := false
	r.next = first
	for pos := first; pos < end; {
		b, err := w.behind(r, pos, end)
		if err != nil {
			return err
		}
		h, valid := r.logBlock(b, pos)
		if !valid {
			hole = true
			pos++
			continue
		}
		if !hole {
			if err := r.replay(&h, h.payload(b)); err != nil {
				return fmt.Errorf("%w: block %d: %w", ErrDamaged, pos, err)
			}
		}
		if pos += ring.count(headerSize + h.used); !hole {
			r.next = pos
		}
		r.promised = max(r.promised, h.aux)
	}
	if r.promised > r.next {
		return fmt.Errorf("%w: block %d is missing, and was durable: a later one says so of all before %d",
			ErrDamaged, r.next, r.promised)
	}
	return nil
}

// logBlock opens the log block at the start of b if it is one of this incarnation that belongs there. Most of
// what it is asked about is none.
func (r *recovery) logBlock(b []byte, pos uint64) (header, bool) {
	le := binary.LittleEndian
	switch {
	case le.Uint32(b) != magic:
		return header{}, false
	case le.Uint64(b[48:]) != r.sb.incarnation && !r.mutant.Is(mutant.IncarnationUnread),
		le.Uint64(b[56:]) != pos && !r.mutant.Is(mutant.PositionUnread):
		return header{}, false
	}
	h, err := openBlock(b, logBlock, r.sb.lay.unit)
	return h, err == nil && h.id == r.sb.id
}

// behind gives the units from a position on, not beyond end, at least as many as the largest block has.
// Those that cannot be read are zeroed: missing, like any other.
func (w *window) behind(r *recovery, pos, end uint64) ([]byte, error) {
	unit := uint64(w.ring.unit)
	need := min(maxBlock/unit, end-pos)
	if pos < w.from || pos+need > w.from+uint64(len(w.buf))/unit {
		w.from, w.buf = pos, w.room[:min(uint64(len(w.room))/unit, end-pos)*unit]
		err := transfer(r.ctx, r.dev, w.ring.ops(blockdev.Read, pos, w.buf)...)
		for p := w.buf; err != nil && len(p) > 0; p = p[unit:] {
			if transfer(r.ctx, r.dev, w.ring.ops(blockdev.Read, pos, p[:unit])...) != nil {
				clear(p[:unit])
			}
			pos++
		}
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		return w.buf, nil
	}
	return w.buf[(pos-w.from)*unit:], nil
}

// replayBatch is how many records are read before they are applied: enough for the memory that they concern
// to be fetched together.
const replayBatch = 64

// replay applies the records of one log block.
func (r *recovery) replay(h *header, p []byte) error {
	if r.batch == nil {
		r.batch = make([]pagemap.Record, replayBatch)
	}
	x := prior{}
	for len(p) > 0 {
		n := 0
		for ; n < len(r.batch) && len(p) > 0 && p[0]&kindMask != metaRecord; n++ {
			size, err := x.readRecord(p, &r.batch[n])
			if err != nil {
				return err
			}
			p = p[size:]
		}
		if n > 0 {
			if err := r.apply(h.seq, r.batch[:n]); err != nil {
				return err
			}
			continue
		}
		e, size, err := readMeta(p)
		if err != nil {
			return err
		}
		r.records++
		if r.seen != nil {
			r.seen(h.seq, nil, &e)
		}
		r.meta.put(e)
		p = p[size:]
	}
	// What this block calls durable needs no verification; most of the log never waits here for long.
	i := 0
	for i < len(r.unsure) && r.unsure[i].seq < h.aux {
		i++
	}
	r.unsure = r.unsure[:copy(r.unsure, r.unsure[i:])]
	return nil
}

// apply applies records of a log block.
func (r *recovery) apply(block uint64, recs []pagemap.Record) error {
	r.m.Warm(recs)
	for i := range recs {
		rec := &recs[i]
		r.records++
		if r.seen != nil {
			r.seen(block, rec, nil)
		}
		if rec.Kind == pagemap.Put && !rec.Tombstone {
			if err := r.m.Claim(pagemap.Run{Loc: rec.Loc, N: rec.N}); err != nil {
				return err
			}
			r.unsure = append(r.unsure, unsureData{seq: block, e: rec.Extent, w: rec.W, loc: rec.Loc})
		}
		r.applyOne(rec)
	}
	return nil
}

func (r *recovery) applyOne(rec *pagemap.Record) {
	if rec.Kind == pagemap.Put || rec.Kind == pagemap.Renumber {
		r.largest.place(&rec.Extent)
		for _, c := range rec.Columns {
			r.largest.version(rec.W, c)
		}
	}
	if r.mutant.Is(mutant.ReplaceIgnored) {
		rec.Replace = false
	}
	r.m.Apply(rec)
	for r.m.Purge(purgePiece) { // at least what was free when the next record was written has to be
	}
}

// verifyData reads the data of records that nothing calls durable. What fails its checksum stays, as bad.
func (r *recovery) verifyData() error {
	held := make([]pagemap.Version, pagemap.MaxChunkBlocks)
	for i := range r.unsure {
		u := &r.unsure[i]
		if u.seq < r.promised || r.mutant.Is(mutant.DataUnverified) {
			continue
		}
		held := held[:u.e.N]
		r.m.Exact(u.e, u.w, held)
		for j := range held {
			loc := u.loc + uint64(j)
			if held[j].State != pagemap.Data || held[j].Loc != loc {
				continue // superseded, undone or held already
			}
			buf := r.buf[:BlockSize]
			err := transfer(r.ctx, r.dev, &blockdev.Op{Kind: blockdev.Read, Off: r.sb.lay.dataOffset(loc), Buf: buf})
			if cerr := r.ctx.Err(); cerr != nil {
				return cerr
			}
			if err != nil || checksum(buf) != held[j].CRC {
				r.m.MarkTorn(u.e, u.e.First+uint16(j), u.w, loc)
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
	r, err := recoverMap(ctx, dev, sb, o, false)
	if err != nil {
		return nil, fmt.Errorf("open page store %v: %w", sb.id.device, err)
	}
	if err := r.repair(); err != nil {
		r.mem.close()
		return nil, fmt.Errorf("open page store %v: %w", sb.id.device, err)
	}
	if !o.Mutant.Is(mutant.IncarnationKept) {
		sb.incarnation++
	}
	s := newStore(dev, &sb, o, r.m, r.mem)
	s.mu.meta, s.mu.largest, s.mu.ckpt.round = r.meta, r.largest, r.round
	s.mu.bad.find(r.m)
	s.repaired = uint64(len(r.rotten))
	s.mu.log.next, s.mu.log.durable, s.mu.log.tail = r.next, r.next, sb.ckpt.logNext
	if err := s.mount(); err != nil {
		r.mem.close()
		return nil, fmt.Errorf("mount page store %v: %w", sb.id.device, err)
	}
	s.mu.ckpt.lazy = o.piece > 0
	return s, nil
}

// repair writes again what one copy has lost and the other has.
func (r *recovery) repair() error {
	if !r.mutant.Is(mutant.SupersUnequal) {
		if err := repairSupers(r.ctx, r.dev, r.sb); err != nil {
			return err
		}
	}
	if r.mutant.Is(mutant.RotKept) {
		return nil
	}
	if err := r.repairRing(); err != nil {
		return fmt.Errorf("repair the checkpoint ring: %w", err)
	}
	return nil
}

// mount makes a checkpoint of what was recovered, under a new incarnation, durable before anything is
// written.
func (s *Store) mount() error {
	b := s.box()
	s.mu.Lock()
	s.mu.ckpt.begin()
	s.maybeCheckpoint(b)
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
