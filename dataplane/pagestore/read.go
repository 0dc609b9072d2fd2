package pagestore

import (
	"fmt"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// readRetries bounds how often a read starts again because the versions it was reading were freed meanwhile.
const readRetries = 8

// readState is the store's part of a Read. It is kept when the Read is used again.
type readState struct {
	store    *Store
	versions []pagemap.Version
	ops      []readOp
	list     []*blockdev.Op
	left     atomic.Int32 // operations in flight
	tries    int
	single   bool // one operation per block, after a longer one failed
	onData   func(*blockdev.Op, error)
}

// readOp reads consecutive blocks.
type readOp struct {
	op    blockdev.Op
	first int // block of the extent
	n     int
	err   error
}

// Read fetches versions. See the type Read for the contract.
func (s *Store) Read(r *Read) {
	if err := r.validate(); err != nil {
		r.Done(r, err)
		return
	}
	if r.store != s {
		r.store = s
		r.onData = r.dataRead
	}
	r.tries, r.single = 0, false
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		r.Done(r, ErrClosed)
		return
	}
	s.mu.reads++
	s.mu.Unlock()
	r.start()
}

func (r *Read) validate() error {
	if err := r.Extent.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !r.Head && len(r.Data) != int(r.N)*BlockSize || len(r.Info) != int(r.N) {
		return fmt.Errorf("%w: %d bytes and %d infos for %d blocks", ErrInvalid, len(r.Data), len(r.Info), r.N)
	}
	return nil
}

// start looks the versions up and reads those with data.
func (r *Read) start() {
	if cap(r.versions) < int(r.N) {
		r.versions = make([]pagemap.Version, pagemap.MaxChunkBlocks)
	}
	r.versions = r.versions[:r.N]
	s := r.store
	s.mu.Lock()
	mine := s.mu.m.Lookup(r.Extent, r.AsOf, r.versions)
	s.mu.Unlock()
	if !mine {
		r.finish(ErrNotMine)
		return
	}
	for i := range r.versions {
		v := &r.versions[i]
		r.Info[i] = BlockInfo{State: v.State, W: v.W, CRC: v.CRC, Columns: v.Columns}
		if v.State.Spoiled() && !r.Head {
			clear(r.Data[i*BlockSize:][:BlockSize])
		}
	}
	r.plan()
	if len(r.ops) == 0 {
		r.finish(nil)
		return
	}
	r.submit()
}

// plan makes one operation of every run of blocks that lie one after the other.
func (r *Read) plan() {
	r.ops = r.ops[:0]
	for i := range r.versions {
		v := &r.versions[i]
		if r.Head || v.State != pagemap.Data {
			continue
		}
		if k := len(r.ops) - 1; k >= 0 && !r.single && r.ops[k].first+r.ops[k].n == i &&
			r.versions[i-1].Loc+1 == v.Loc {
			r.ops[k].n++
			continue
		}
		r.ops = append(r.ops, readOp{first: i, n: 1})
	}
}

func (r *Read) submit() {
	r.list = r.list[:0]
	for k := range r.ops {
		o := &r.ops[k]
		loc := r.versions[o.first].Loc
		o.op = blockdev.Op{Kind: blockdev.Read, Off: r.store.lay.dataOffset(loc), Done: r.onData,
			Buf: r.Data[o.first*BlockSize : (o.first+o.n)*BlockSize]}
		r.list = append(r.list, &o.op)
	}
	r.left.Store(int32(len(r.ops)))
	r.store.dev.Submit(r.list...)
}

func (r *Read) dataRead(op *blockdev.Op, err error) {
	if err != nil {
		for k := range r.ops {
			if &r.ops[k].op == op {
				r.ops[k].err = err
			}
		}
	}
	if r.left.Add(-1) == 0 {
		r.verify()
	}
}

// verify checks what was read. A long operation that failed is split, to find the blocks that can be read.
func (r *Read) verify() {
	again := false
	for k := range r.ops {
		o := &r.ops[k]
		if o.err != nil && o.n > 1 {
			r.single = true
			r.start()
			return
		}
		for i := o.first; i < o.first+o.n; i++ {
			if o.err == nil && checksum(r.Data[i*BlockSize:][:BlockSize]) == r.versions[i].CRC {
				continue
			}
			again = !r.lost(i) || again
		}
	}
	if r.tries++; again && r.tries < readRetries {
		r.start()
		return
	}
	r.finish(nil)
}

// lost notes that the data of a block is lost. False when the version is not there any more: it was freed
// during the read, and what was read may be another's.
func (r *Read) lost(i int) bool {
	clear(r.Data[i*BlockSize:][:BlockSize])
	r.Info[i].State = pagemap.Bad
	s, v := r.store, &r.versions[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.m.MarkBad(r.Extent, r.First+uint16(i), v.W, v.Loc) {
		return false
	}
	s.mu.bad.note(r.Vol, pagemap.Cursor{Page: r.Page, Column: r.Column, Block: r.First + uint16(i), W: v.W})
	s.mu.traffic.CRCErrors++
	return true
}

func (r *Read) finish(err error) {
	s := r.store
	s.mu.Lock()
	s.mu.reads--
	if s.mu.closed && s.mu.reads == 0 {
		s.quiet.Broadcast()
	}
	s.mu.Unlock()
	r.Done(r, err)
}
