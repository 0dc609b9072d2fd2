package pagemap

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Sink receives a snapshot of the map. What it is given is valid only during the call.
type Sink interface {
	// Record comes before any chunk, at least once for every volume: applied to an empty map, in order, the
	// records make the volumes without their versions.
	Record(*Record)
	// Chunk gives versions of one chunk: all of them, in any order of chunks, each chunk once.
	Chunk(e Extent, versions []ChunkVersion)
}

// ChunkVersion is one version of a block of a chunk, as a checkpoint keeps it.
type ChunkVersion struct {
	Block uint16
	W     cluster.Seq
	Loc   uint64 // 0 for a tombstone
	CRC   uint32
	Columns
	Tombstone bool
	Bad       bool
}

// Snapshot is a walk over the map as it was when the snapshot began.
type Snapshot struct {
	m    *Map
	seq  uint64
	sink Sink
	vols []*volume // not yet walked, the first in part
	at   chunkKey
	buf  []ChunkVersion
}

// BeginSnapshot starts a snapshot and emits the volumes. One at a time; it ends when Next returns false, or
// by Abort.
func (m *Map) BeginSnapshot(sink Sink) *Snapshot {
	if m.snap != nil {
		panic("pagemap: two snapshots at a time")
	}
	m.snaps++
	s := &Snapshot{m: m, seq: m.snaps, sink: sink}
	for _, key := range m.Volumes() {
		s.vols = append(s.vols, m.vols[key])
		m.vols[key].records(sink.Record)
	}
	m.snap = s
	return s
}

// records gives what makes the volume without its versions.
func (v *volume) records(emit func(*Record)) {
	e := Extent{Vol: v.key}
	emit(&Record{Kind: Settle, Extent: e, Epoch: v.settled})
	for _, k := range v.marks {
		emit(&Record{Kind: Stable, Extent: e, W: k.W, Holes: k.Holes})
	}
	if v.view.Version > 0 {
		emit(&Record{Kind: View, Extent: e, View: v.view})
	}
}

// Next emits about limit versions, each chunk once, and reports whether there are more.
func (s *Snapshot) Next(limit int) (more bool) {
	for limit > 0 && len(s.vols) > 0 {
		v := s.vols[0]
		c := v.index.seek(s.at)
		for ; c.ok() && limit > 0; c = v.index.after(c.key()) {
			if c.snap() != s.seq {
				limit -= s.m.t.count(c)
				s.emit(v, c)
			}
			limit--
			s.at = c.key()
		}
		if !c.ok() {
			s.vols, s.at = s.vols[1:], chunkKey{}
		}
	}
	if len(s.vols) > 0 {
		return true
	}
	s.Abort()
	return false
}

// Abort ends the snapshot early.
func (s *Snapshot) Abort() {
	if s.m.snap == s {
		s.m.snap = nil
	}
}

// touch emits a chunk that is about to change, if a snapshot still needs it.
func (m *Map) touch(v *volume, c chunkMap) {
	s := m.snap
	if s == nil || c.snap() == s.seq || v.dropped != 0 && v.dropped <= s.seq {
		return
	}
	s.emit(v, c)
}

func (s *Snapshot) emit(v *volume, c chunkMap) {
	c.setSnap(s.seq)
	s.buf = s.buf[:0]
	for b := s.m.t.nextBlock(c, 0); b >= 0; b = s.m.t.nextBlock(c, b+1) {
		for n := range s.m.t.versions(c, uint16(b)) {
			s.buf = append(s.buf, ChunkVersion{Block: uint16(b), W: n.w, Loc: uint64(n.loc), CRC: n.crc,
				Columns: n.columns, Tombstone: n.flags&flagTombstone != 0, Bad: n.flags&flagBad != 0})
		}
	}
	if len(s.buf) > 0 {
		k := c.key()
		s.sink.Chunk(Extent{Vol: v.key, Page: k.page, Column: k.column, Residency: c.residency()}, s.buf)
	}
}

// LoadVersion takes over one version from a checkpoint. Load ends with FinishLoad.
func (m *Map) LoadVersion(e Extent, cv ChunkVersion) error {
	v := m.vols[e.Vol]
	if v == nil || cv.W == 0 || !validResidency(e.Residency) || cv.Block >= MaxChunkBlocks ||
		cv.Bad && cv.Tombstone {
		return fmt.Errorf("%w: version %v of %v/%d/%d[%d]", ErrCorrupt, cv.W, e.Vol, e.Page, e.Column, cv.Block)
	}
	if c := v.index.get(e.key()); c.ok() && c.residency() != e.Residency {
		return fmt.Errorf("%w: %v/%d/%d under residencies %v and %v", ErrCorrupt, e.Vol, e.Page, e.Column,
			c.residency(), e.Residency)
	}
	n := node{w: cv.W, columns: cv.Columns, crc: cv.CRC}
	if cv.Tombstone {
		n.flags = flagTombstone
	} else if err := m.Claim(Run{Loc: cv.Loc, N: 1}); err != nil {
		return err
	} else {
		n.loc = uint32(cv.Loc)
	}
	if cv.Bad {
		n.flags |= flagBad
	}
	c := m.chunkOf(v, e)
	if u, ok := m.t.rest(c, cv.Block); ok && u.w >= cv.W {
		m.t.unrest(c, cv.Block)
	}
	p := m.t.find(c, cv.Block, cv.W)
	if p.id != 0 && m.t.w(p.id) == cv.W {
		return fmt.Errorf("%w: version %v of %v/%d/%d[%d] twice", ErrCorrupt, cv.W, e.Vol, e.Page, e.Column,
			cv.Block)
	}
	if !v.stable(cv.W) {
		n.flags |= flagQueued
		v.queue(unstableRef{w: cv.W, chunkKey: e.key(), first: cv.Block, n: 1})
	}
	m.tally(v, &n, plus)
	if _, ok := m.t.rest(c, cv.Block); !ok && p.id == 0 && n.atRest() {
		u := n.unit(cv.Block)
		m.t.setRest(c, &u)
	} else {
		m.t.insert(c, cv.Block, p, &n)
	}
	return nil
}

// FinishLoad derives what a checkpoint does not hold: which versions wait for their epoch to be settled, and
// how much is there for whom.
func (m *Map) FinishLoad() {
	for _, v := range m.vols {
		v.current, v.pinned = 0, 0
		for c := v.index.seek(chunkKey{}); c.ok(); c = v.index.after(c.key()) {
			for b := m.t.nextInFlux(c, 0); b >= 0; b = m.t.nextInFlux(c, b+1) {
				m.collect(v, c, uint16(b))
			}
			for b := m.t.nextBlock(c, 0); b >= 0; b = m.t.nextBlock(c, b+1) {
				m.weigh(v, c, uint16(b), plus)
			}
			m.t.settleDown(c)
		}
	}
}
