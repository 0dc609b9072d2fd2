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
		s.noteMark(w.Vol, w.Stable)
	}
	done, replace, err := s.compare(w)
	if done || err != nil {
		return done, err
	}
	w.req = request{w: w, recs: w.req.recs[:0]}
	if w.Tombstone {
		w.req.recs = append(w.req.recs, pagemap.Record{Kind: pagemap.Put, Extent: w.Extent, W: w.W, Mask: w.Mask,
			Tombstone: true})
		err = s.admit(&w.req)
	} else {
		err = s.allocate(w, replace)
	}
	if err != nil {
		return false, err
	}
	for i := range w.ops[:w.req.data] {
		b.ops = append(b.ops, &w.ops[i])
	}
	if w.req.data > 0 {
		s.mu.log.dataOut++
		s.mu.traffic.DataBytes += uint64(len(w.Data))
	}
	s.mu.log.push(&w.req)
	return false, nil
}

// compare looks for (block, W) of a write in the map. done: all held, with the same content. replace: some
// are bad.
func (s *Store) compare(w *Write) (done, replace bool, err error) {
	if cap(w.held) < int(w.N) {
		w.held = make([]pagemap.Version, pagemap.MaxChunkBlocks)
	}
	held := w.held[:w.N]
	s.mu.m.Exact(w.Extent, w.W, held)
	done = true
	for i := range held {
		switch v := &held[i]; {
		case v.State == pagemap.Absent:
			done = false
		case (v.State == pagemap.Tombstone) != w.Tombstone, !w.Tombstone && v.CRC != w.CRC[i]:
			return false, false, fmt.Errorf("%w: block %d of %v at %v", ErrConflict, i, w.Extent, w.W)
		case v.State == pagemap.Bad:
			done, replace = false, true
		}
	}
	return done, replace, nil
}

// allocate finds blocks for the data of a write and prepares a record and an operation for each run of them.
func (s *Store) allocate(w *Write, replace bool) error {
	var ok bool
	if w.runs, ok = s.mu.m.Alloc(int(w.N), w.runs[:0]); !ok {
		return fmt.Errorf("%w: %d blocks wanted, %d free", ErrFull, w.N, s.mu.m.Usage().Free)
	}
	if cap(w.ops) < len(w.runs) {
		w.ops = make([]blockdev.Op, len(w.runs))
	}
	w.ops = w.ops[:len(w.runs)]
	at := uint16(0)
	for i, r := range w.runs {
		e := w.Extent
		e.First, e.N = e.First+at, r.N
		w.req.recs = append(w.req.recs, pagemap.Record{Kind: pagemap.Put, Extent: e, W: w.W, Loc: r.Loc,
			Mask: w.Mask, Replace: replace, CRC: w.CRC[at : at+r.N]})
		w.ops[i] = blockdev.Op{Kind: blockdev.Write, Off: s.lay.dataOffset(r.Loc), Done: w.onData,
			Buf: w.Data[int(at)*BlockSize : int(at+r.N)*BlockSize]}
		at += r.N
	}
	if err := s.admit(&w.req); err != nil {
		for _, r := range w.runs {
			s.mu.m.Release(r)
		}
		return err
	}
	w.req.data = len(w.runs)
	return nil
}
