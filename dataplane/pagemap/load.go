package pagemap

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Loader makes a map of what snapshots told, the newest first. Of one snapshot the order does not matter.
type Loader struct {
	m     *Map
	last  uint64
	drops map[cluster.VolumeKey]uint64 // the snapshot before which the volume was another one
	notes []Record

	chunks []chunkMap // that need a closer look
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

// Image takes over a chunk that was at rest, unless a newer snapshot told of the chunk.
func (l *Loader) Image(number uint64, e Extent, b Image) error {
	v, c := l.chunk(number, e)
	if !c.ok() {
		return nil
	}
	if err := c.assign(e); err != nil {
		return err
	}
	p, err := parseImage(b)
	if err != nil {
		return err
	}
	if c.packed() != 0 || c.flux() != 0 {
		return corrupt("chunk %v/%v twice", e.Vol, c.key())
	}
	if err := l.m.claim(p); err != nil {
		return fmt.Errorf("chunk %v/%v: %w", e.Vol, c.key(), err)
	}
	n := uint64(p.n())
	v.nVersions, v.nBlocks, l.m.live = v.nVersions+n, v.nBlocks+n, l.m.live+n
	l.m.t.keep(c, p)
	return nil
}

// claim makes the blocks of an image used.
func (m *Map) claim(p packed) error {
	if p.form() == formRuns {
		for i := range p.runs() {
			if err := m.Claim(Run{Loc: uint64(get32(p[p.run(i)+8:])), N: uint16(p.length(i))}); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range p.n() {
		if err := m.Claim(Run{Loc: uint64(get32(p[p.unit(i)+4:])), N: 1}); err != nil {
			return err
		}
	}
	return nil
}

// chunk finds or makes the chunk that a snapshot told of; none when a newer one did, or dropped it.
func (l *Loader) chunk(number uint64, e Extent) (*volume, chunkMap) {
	v := l.m.vols[e.Vol]
	if number < l.drops[e.Vol] || v == nil && number < l.last {
		return nil, chunkMap{}
	}
	if v == nil {
		v = l.m.volume(e.Vol)
	}
	c := v.index.get(e.key())
	if !c.ok() {
		c = l.m.newChunk(v, Extent{Page: e.Page, Column: e.Column})
		c.setSnap(2 * number)
	}
	if c.snap() != 2*number {
		return nil, chunkMap{}
	}
	return v, c
}

// assign gives a chunk its residency.
func (c chunkMap) assign(e Extent) error {
	if !validResidency(e.Residency) || c.residency() != 0 && c.residency() != e.Residency {
		return corrupt("chunk %v/%v under residencies %v and %v", e.Vol, c.key(), c.residency(), e.Residency)
	}
	c.setResidency(e.Residency)
	return nil
}

// Chunk takes over versions of a chunk, unless a newer snapshot told of it.
func (l *Loader) Chunk(number uint64, e Extent, versions []ChunkVersion) error {
	v, c := l.chunk(number, e)
	if !c.ok() || len(versions) == 0 {
		return nil
	}
	if err := c.assign(e); err != nil {
		return err
	}
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
	if cv.W == 0 || cv.Block >= MaxChunkBlocks || cv.Bad && cv.Tombstone || cv.Torn && !cv.Bad {
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
		l.chunks = l.chunks[:0]
		for c := range v.index.all() {
			if !m.simple(v, c) {
				l.chunks = append(l.chunks, c)
			}
		}
		for _, c := range l.chunks {
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
	case r.Kind == Stable && (v.isNews(Mark{r.W, r.Holes}) || r.W.Epoch() < v.settled):
		v.setMark(Mark{r.W, r.Holes})
	case r.Kind == View:
		v.view = r.View.Clone()
	}
	l.m.account(v, plus)
	return nil
}

// simple counts what is there of a chunk for whom, if all of it is stable and nothing hidden: of most chunks.
func (m *Map) simple(v *volume, c chunkMap) bool {
	p := m.t.packedOf(c)
	if p == nil || c.flux() != 0 || len(v.view.Hidden) > 0 || !v.covers(p) {
		return false
	}
	v.current += uint64(p.n())
	return true
}

// covers tells whether all of an image is stable. It may say no when holes have to be looked at.
func (v *volume) covers(p packed) bool {
	if slices.ContainsFunc(v.marks, func(k Mark) bool { return len(k.Holes) > 0 }) {
		return false
	}
	if p.form() == formRuns {
		for i := range p.runs() {
			first, last := p.atRun(i, 0).w, p.atRun(i, p.length(i)-1).w
			if last > v.limit(first.Epoch()) {
				return false
			}
		}
		return true
	}
	var limits [MaxChunkBlocks]cluster.Seq
	for i := range p.dicts() {
		limits[i] = v.limit(cluster.Seq(get64(p[p.dict(i):]) << 32).Epoch())
	}
	for i := range p.n() {
		b := p[p.unit(i):][:unitSize]
		if cluster.Seq(get64(p[p.dict(int(b[12])):])<<32|uint64(get32(b))) > limits[b[12]] {
			return false
		}
	}
	return true
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
