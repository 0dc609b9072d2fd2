package pagemap

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Sink receives a snapshot of the map. What it is given is valid only during the call.
type Sink interface {
	// Record gives what makes a volume without its versions, or a Drop, which comes before all else of its key.
	Record(*Record)
	// Image gives a chunk that is at rest, Chunk any other one: all its versions, once.
	Image(e Extent, b Image)
	// Chunk without versions says that what earlier snapshots told of the chunk is gone; what it has now may be
	// told as well, before or behind.
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
	Torn      bool // Bad, and known to have never been complete
}

// Snapshot tells how the map differs from the snapshot before, and as much of the rest as it is asked for.
// All that it tells is the map as it was when it began, although the map goes on changing: a chunk about to
// change whose turn has not come is emitted first.
type Snapshot struct {
	m      *Map
	number uint64
	sink   Sink
	vols   []*volume // at the beginning, in key order
	at     int       // of vols: whose changes come next
	gone   uint64    // chunks that the snapshot tells to be gone, at most
	buf    []ChunkVersion
	image  []byte
}

// Round is a walk over all chunks, over several snapshots. A chunk that a snapshot since First has told is
// passed over, so when it ends these snapshots together hold the whole map.
type Round struct {
	First  uint64            // the snapshot that it began with
	Vol    cluster.VolumeKey // where it goes on
	Page   uint64
	Column uint8
	Passed uint64 // versions that lie behind
}

// BeginSnapshot starts a snapshot with the number behind that of the last one; the first of an empty map
// may have any. One at a time; it ends with End. A snapshot that ended early is not to be built upon.
func (m *Map) BeginSnapshot(number uint64, sink Sink) *Snapshot {
	if m.snap != nil || number <= m.snaps {
		panic("pagemap: two snapshots at a time, or out of order")
	}
	m.snaps = number
	s := &Snapshot{m: m, number: number, sink: sink, vols: m.inOrder(), gone: m.gone + uint64(len(m.drops))}
	for _, key := range m.drops {
		sink.Record(&Record{Kind: Drop, Extent: Extent{Vol: key}})
	}
	m.snap, m.gone, m.drops = s, 0, nil
	return s
}

// End ends the snapshot.
func (s *Snapshot) End() {
	if s.m.snap == s {
		s.m.snap = nil
	}
}

// Changes emits volumes, the ends of chunks, and chunks that have changed since the snapshot before, about
// limit versions. It reports whether there are more.
func (s *Snapshot) Changes(limit int) (more bool) {
	for ; limit > 0 && s.at < len(s.vols); limit-- {
		v := s.vols[s.at]
		s.notes(v)
		v.turn(s.number)
		was := &v.was
		for ; limit > 0 && len(was.gone) > 0; limit-- {
			key := was.gone[0]
			was.gone = was.gone[1:]
			s.sink.Chunk(Extent{Vol: v.key, Page: key.page, Column: key.column}, nil)
		}
		for ; limit > 0 && len(was.dirty) > 0; limit-- {
			if c := v.index.get(was.dirty[0]); c.ok() { // else it was told when it went, or its end was
				limit -= s.emit(v, c)
			}
			was.dirty = was.dirty[1:]
		}
		if len(was.gone) == 0 && len(was.dirty) == 0 {
			v.was = changes{}
			s.at++
		}
	}
	return s.at < len(s.vols)
}

// Round emits chunks that the round has not seen yet, about limit versions, and moves it on. It reports
// whether there are more. Not before Changes is through.
func (s *Snapshot) Round(r *Round, limit int) (more bool) {
	i, found := slices.BinarySearchFunc(s.vols, r.Vol, func(v *volume, key cluster.VolumeKey) int {
		return compareKeys(v.key, key)
	})
	at := chunkKey{r.Page, r.Column}
	if !found {
		at = chunkKey{}
	}
	for ; i < len(s.vols); i, at = i+1, (chunkKey{}) {
		v := s.vols[i]
		for c := v.index.seek(at); c.ok(); c = v.index.after(c.key()) {
			if limit <= 0 {
				k := c.key()
				r.Vol, r.Page, r.Column = v.key, k.page, k.column
				return true
			}
			limit--
			r.Passed += uint64(s.m.t.count(c))
			if c.snap() < 2*r.First {
				limit -= s.emit(v, c)
			}
		}
	}
	return false
}

// emit tells a chunk as it is, unless it was told already, and returns how many versions it has.
func (s *Snapshot) emit(v *volume, c chunkMap) int {
	if c.snap() >= 2*s.number {
		return 0
	}
	c.setSnap(2 * s.number)
	k := c.key()
	e := Extent{Vol: v.key, Page: k.page, Column: k.column, Residency: c.residency()}
	if p := s.m.t.packedOf(c); p != nil && c.flux() == 0 {
		s.image = p.appendTo(s.image[:0])
		s.sink.Image(e, s.image)
		return p.n()
	}
	s.buf = s.buf[:0]
	for b := s.m.t.nextBlock(c, 0); b >= 0; b = s.m.t.nextBlock(c, b+1) {
		for n := range s.m.t.versions(c, uint16(b)) {
			s.buf = append(s.buf, ChunkVersion{Block: uint16(b), W: n.w, Loc: uint64(n.loc), CRC: n.crc,
				Columns: n.columns, Tombstone: n.flags&flagTombstone != 0, Bad: n.flags&flagBad != 0,
				Torn: n.flags&flagTorn != 0})
		}
	}
	s.sink.Chunk(e, s.buf)
	return len(s.buf)
}

// notes gives what makes a volume without its versions.
func (s *Snapshot) notes(v *volume) {
	if v.noted >= s.number {
		return
	}
	v.noted = s.number
	e := Extent{Vol: v.key}
	s.sink.Record(&Record{Kind: Settle, Extent: e, Epoch: v.settled})
	for _, k := range v.marks {
		s.sink.Record(&Record{Kind: Stable, Extent: e, W: k.W, Holes: k.Holes})
	}
	if v.view.Version > 0 {
		s.sink.Record(&Record{Kind: View, Extent: e, View: v.view})
	}
}

// touch is called before a chunk changes: a snapshot that needs it as it is gets it, the next one will.
func (m *Map) touch(v *volume, c chunkMap) {
	if c.snap() > 2*m.snaps || v.dropped != 0 && v.dropped <= m.snaps {
		return
	}
	if m.snap != nil {
		m.snap.emit(v, c)
	}
	if v.dropped == 0 {
		v.turn(m.snaps)
		v.dirty = append(v.dirty, c.key())
	}
	c.setSnap(2*m.snaps + 1)
}

// touchNotes is called before what is known of a volume as a whole changes.
func (m *Map) touchNotes(v *volume) {
	if m.snap != nil && v.noted < m.snap.number {
		m.snap.notes(v)
	}
}

// turn begins the list of changes for the next snapshot.
func (v *volume) turn(snaps uint64) {
	if v.turned < snaps {
		v.was, v.dirty, v.gone, v.turned = changes{v.dirty, v.gone}, nil, nil, snaps
	}
}
