package pagemap

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Sink receives a snapshot of the map. What it is given is valid only during the call.
type Sink interface {
	// Record gives what makes a volume without its versions, or a Drop, which comes before all else of its key.
	Record(*Record)
	// Chunk gives the image of a chunk, all its versions, once. Without versions it says that what earlier
	// snapshots told of the chunk is gone; its image may come as well, before or behind.
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
	s.buf = s.buf[:0]
	for b := s.m.t.nextBlock(c, 0); b >= 0; b = s.m.t.nextBlock(c, b+1) {
		for n := range s.m.t.versions(c, uint16(b)) {
			s.buf = append(s.buf, ChunkVersion{Block: uint16(b), W: n.w, Loc: uint64(n.loc), CRC: n.crc,
				Columns: n.columns, Tombstone: n.flags&flagTombstone != 0, Bad: n.flags&flagBad != 0,
				Torn: n.flags&flagTorn != 0})
		}
	}
	k := c.key()
	s.sink.Chunk(Extent{Vol: v.key, Page: k.page, Column: k.column, Residency: c.residency()}, s.buf)
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

// Loader makes a map of what snapshots told, the newest first. Of one snapshot the order does not matter.
type Loader struct {
	m     *Map
	last  uint64
	drops map[cluster.VolumeKey]uint64 // the snapshot before which the volume was another one
	notes []Record
}

// Load starts to fill an empty map from snapshots up to a number.
func (m *Map) Load(last uint64) *Loader {
	m.snaps = last
	return &Loader{m: m, last: last, drops: map[cluster.VolumeKey]uint64{}}
}

// Record takes over what a snapshot said of a volume; only the last one counts.
func (l *Loader) Record(number uint64, r *Record) {
	switch {
	case r.Kind == Drop:
		l.drops[r.Vol] = max(l.drops[r.Vol], number)
	case number == l.last:
		if r.Kind == Settle {
			l.m.volume(r.Vol)
		}
		l.notes = append(l.notes, *r)
	}
}

// Chunk takes over an image, or a part of one, unless a newer one was given.
func (l *Loader) Chunk(number uint64, e Extent, versions []ChunkVersion) error {
	v := l.m.vols[e.Vol]
	if number < l.drops[e.Vol] || v == nil && number < l.last {
		return nil
	}
	if v == nil {
		v = l.m.volume(e.Vol)
	}
	c := v.index.get(e.key())
	if !c.ok() {
		c = l.m.newChunk(v, Extent{Page: e.Page, Column: e.Column})
		c.setSnap(2 * number)
	}
	if c.snap() != 2*number || len(versions) == 0 {
		return nil
	}
	if !validResidency(e.Residency) || c.residency() != 0 && c.residency() != e.Residency {
		return corrupt("chunk %v/%d/%d under residencies %v and %v", e.Vol, e.Page, e.Column, c.residency(),
			e.Residency)
	}
	c.setResidency(e.Residency)
	for i := range versions {
		if err := l.version(v, c, &versions[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *Loader) version(v *volume, c chunkMap, cv *ChunkVersion) error {
	m := l.m
	n := node{w: cv.W, columns: cv.Columns, crc: cv.CRC, loc: uint32(cv.Loc)}
	where := func() string { return fmt.Sprintf("version %v of %v/%v[%d]", cv.W, v.key, c.key(), cv.Block) }
	if cv.W == 0 || cv.Block >= MaxChunkBlocks || cv.Bad && cv.Tombstone ||
		cv.Torn && !cv.Bad {
		return corrupt("%s", where())
	}
	if u, ok := m.t.rest(c, cv.Block); ok && u.w >= cv.W {
		m.t.unrest(c, cv.Block)
	}
	p := m.t.find(c, cv.Block, cv.W)
	if p.id != 0 && m.t.w(p.id) == cv.W {
		return corrupt("%s twice", where())
	}
	if cv.Tombstone {
		n.flags, n.loc = flagTombstone, 0
	} else if err := m.Claim(Run{Loc: cv.Loc, N: 1}); err != nil {
		return err
	}
	if cv.Bad {
		n.flags |= flagBad
	}
	if cv.Torn {
		n.flags |= flagTorn
	}
	m.tally(v, &n, plus)
	if !n.atRest() || p.id != 0 || m.t.hasRest(c, cv.Block) {
		m.t.insert(c, cv.Block, p, &n)
		return nil
	}
	u := n.unit(cv.Block)
	m.t.setRest(c, &u)
	return nil
}

// Finish derives what snapshots do not tell: which versions are not stable, and which wait for their epoch
// to be settled.
func (l *Loader) Finish() error {
	m := l.m
	for _, r := range l.notes {
		if r.Kind == Settle {
			m.vols[r.Vol].settled, m.vols[r.Vol].noted = r.Epoch, l.last+1
		}
	}
	for _, r := range l.notes {
		if err := l.note(&r); err != nil {
			return err
		}
	}
	for _, v := range m.inOrder() {
		if v.noted != l.last+1 {
			return corrupt("volume %v has chunks and no beginning", v.key)
		}
		v.noted = l.last
		var next chunkMap
		for c := v.index.seek(chunkKey{}); c.ok(); c = next {
			next = v.index.after(c.key())
			if m.t.count(c) == 0 { // told to be gone
				m.remove(v, c)
				continue
			}
			m.derive(v, c)
			m.rest(v, c)
		}
	}
	return nil
}

// note takes over what is known of a volume as a whole, besides its settled epoch.
func (l *Loader) note(r *Record) error {
	v := l.m.vols[r.Vol]
	if v == nil {
		return corrupt("volume %v has notes and no beginning", r.Vol)
	}
	l.m.account(v, minus)
	switch {
	case r.Kind == Stable && v.isNews(Mark{r.W, r.Holes}):
		v.setMark(Mark{r.W, r.Holes})
	case r.Kind == View:
		v.view = chunk.View{Version: r.View.Version, Pins: slices.Clone(r.View.Pins),
			Hidden: slices.Clone(r.View.Hidden)}
	}
	l.m.account(v, plus)
	return nil
}

// derive lists what is not stable of a chunk, and counts what is there for whom.
func (m *Map) derive(v *volume, c chunkMap) {
	for b := m.t.nextAtRest(c, 0); b >= 0; b = m.t.nextAtRest(c, b+1) {
		if u, _ := m.t.rest(c, uint16(b)); !v.stable(u.w) {
			m.t.unrest(c, uint16(b))
		}
	}
	for b := m.t.nextInFlux(c, 0); b >= 0; b = m.t.nextInFlux(c, b+1) {
		for id := m.t.head(c, uint16(b)); id != 0; id = m.t.older(id) {
			if n := m.t.node(id); !v.stable(n.w) {
				n.flags |= flagQueued
				m.t.setNode(id, &n)
				v.nUnstable++
				v.queue(unstableRef{w: n.w, chunkKey: c.key(), first: uint16(b), n: 1})
			}
		}
		m.collect(v, c, uint16(b))
	}
	for b := m.t.nextBlock(c, 0); b >= 0; b = m.t.nextBlock(c, b+1) {
		m.weigh(v, c, uint16(b), plus)
	}
}
