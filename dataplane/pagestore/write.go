package pagestore

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// writeState is the store's part of a Write. It is kept when the Write is used again.
type writeState struct {
	store  *Store
	req    request
	ops    []blockdev.Op
	runs   []pagemap.Run
	held   []pagemap.Version
	onData func(*blockdev.Op, error)
}

// Write makes a version durable. See the type Write for the contract.
func (s *Store) Write(w *Write) {
	if err := w.validate(); err != nil {
		w.Done(w, err)
		return
	}
	if w.store != s {
		w.store = s
		w.onData = func(_ *blockdev.Op, err error) {
			s.locked(func(b *box) { s.dataWritten(b, &w.req, err) })
		}
	}
	b := s.box()
	s.mu.Lock()
	if done, err := s.startWrite(w, b); done || err != nil {
		b.calls = append(b.calls, call{w: w, err: err})
	}
	s.progress(b)
	s.mu.Unlock()
	s.send(b)
}

// validate checks a write, its checksums included, before the lock is taken.
func (w *Write) validate() error {
	if err := w.Extent.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if w.W == 0 {
		return fmt.Errorf("%w: write without a sequence", ErrInvalid)
	}
	if len(w.Columns) != int(w.N) {
		return fmt.Errorf("%w: columns of %d of %d blocks", ErrInvalid, len(w.Columns), w.N)
	}
	if w.Tombstone {
		return nil
	}
	if len(w.CRC) != int(w.N) || len(w.Data) != int(w.N)*BlockSize {
		return fmt.Errorf("%w: %d checksums and %d bytes for %d blocks", ErrInvalid, len(w.CRC), len(w.Data), w.N)
	}
	for i, want := range w.CRC {
		if got := checksum(w.Data[i*BlockSize:][:BlockSize]); got != want {
			return fmt.Errorf("%w: block %d of %v has checksum %08x, want %08x", ErrInvalid, i, w.Extent, got, want)
		}
	}
	return nil
}

// startWrite admits a write and sends its data. done: the version is held already.
func (s *Store) startWrite(w *Write, b *box) (done bool, err error) {
	if err := s.refuse(); err != nil {
		return false, err
	}
	if w.Stable != 0 {
		s.noteMark(w.Vol, pagemap.Mark{W: w.Stable})
	}
	missing, err := s.compare(w)
	if missing == 0 || err != nil {
		return err == nil, err
	}
	w.req = request{w: w, recs: w.req.recs[:0]}
	if w.Tombstone {
		w.req.recs = append(w.req.recs, pagemap.Record{Kind: pagemap.Put, Extent: w.Extent, W: w.W,
			Columns: columns(w.Columns), Tombstone: true})
		err = s.admit(&w.req)
	} else {
		err = s.allocate(w, missing)
	}
	if err != nil {
		return false, err
	}
	for i := range w.ops[:w.req.data] {
		b.ops = append(b.ops, &w.ops[i])
	}
	s.mu.log.push(&w.req)
	return false, nil
}

// compare looks for (block, W) of a write in the map, and leaves what it finds in w.held. missing: blocks
// that are to be written, because they are absent or bad.
func (s *Store) compare(w *Write) (missing int, err error) {
	if cap(w.held) < int(w.N) {
		w.held = make([]pagemap.Version, pagemap.MaxChunkBlocks)
	}
	w.held = w.held[:w.N]
	if !s.mu.m.Exact(w.Extent, w.W, w.held) {
		return 0, ErrNotMine
	}
	for i := range w.held {
		switch v := &w.held[i]; {
		case v.State == pagemap.Absent:
			missing++
		case (v.State == pagemap.Tombstone) != w.Tombstone, !w.Tombstone && v.CRC != w.CRC[i]:
			return 0, fmt.Errorf("%w: block %d of %v at %v", ErrConflict, i, w.Extent, w.W)
		case v.State.Spoiled():
			missing++
		}
	}
	return missing, nil
}

// columns makes one of many that are the same, as they nearly always are.
func columns(of []pagemap.Columns) []pagemap.Columns {
	for _, c := range of {
		if c != of[0] {
			return of
		}
	}
	return of[:1]
}

// allocate finds blocks for the missing data of a write, and prepares a record and an operation for each
// piece. A good version is never replaced: until the new data is durable it would be lost.
func (s *Store) allocate(w *Write, missing int) error {
	var ok bool
	if w.runs, ok = s.mu.m.Alloc(missing, w.runs[:0]); !ok {
		return fmt.Errorf("%w: %d blocks wanted, %d free", ErrFull, missing, s.mu.m.Usage().Free)
	}
	run, used := 0, uint16(0) // used blocks of the current run
	for i := uint16(0); i < w.N; {
		state := w.held[i].State
		if state == pagemap.Data {
			i++
			continue
		}
		n := uint16(1)
		for i+n < w.N && w.held[i+n].State == state && used+n < w.runs[run].N {
			n++
		}
		e := w.Extent
		e.First, e.N = e.First+i, n
		w.req.recs = append(w.req.recs, pagemap.Record{Kind: pagemap.Put, Extent: e, W: w.W,
			Loc: w.runs[run].Loc + uint64(used), Replace: state.Spoiled(), CRC: w.CRC[i : i+n],
			Columns: columns(w.Columns[i : i+n])})
		if used += n; used == w.runs[run].N {
			run, used = run+1, 0
		}
		i += n
	}
	if err := s.admit(&w.req); err != nil {
		for _, r := range w.runs {
			s.mu.m.Release(r)
		}
		return err
	}
	s.sendData(w)
	return nil
}

// sendData prepares the operations that write the data of the records.
func (s *Store) sendData(w *Write) {
	if cap(w.ops) < len(w.req.recs) {
		w.ops = make([]blockdev.Op, len(w.req.recs))
	}
	w.ops = w.ops[:len(w.req.recs)]
	for k := range w.req.recs {
		rec := &w.req.recs[k]
		at := int(rec.First-w.First) * BlockSize
		w.ops[k] = blockdev.Op{Kind: blockdev.Write, Off: s.lay.dataOffset(rec.Loc), Done: w.onData,
			Buf: w.Data[at : at+int(rec.N)*BlockSize]}
		s.mu.traffic.DataBytes += uint64(rec.N) * BlockSize
	}
	w.req.data = len(w.ops)
	s.mu.log.dataOut++
}
