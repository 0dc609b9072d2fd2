package pagemap

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// RecordKind is what a record does.
type RecordKind uint8

// The kinds of records. Part of the on-disk format of the page store's log.
const (
	Put       RecordKind = iota + 1 // add version W of the extent's blocks
	Stable                          // W with Holes is a stable mark of its epoch, if the volume is known
	Settle                          // Epoch is the settled epoch of the volume
	Undo                            // remove version W of the extent's blocks
	Drop                            // remove the volume
	DropChunk                       // free all of the chunk that is held under the residency or an older one
	View                            // View is the view list of the volume, if it is newer
	Renumber                        // hold all of the chunk that is held under an older residency under this one
)

// Record is one change of the map.
type Record struct {
	Kind      RecordKind
	Extent                  // Put, Undo; DropChunk, Renumber (without blocks); the others use Vol only
	W         cluster.Seq   // Put, Undo, Stable
	Epoch     uint32        // Settle
	Loc       uint64        // Put with data: first of N consecutive data blocks, pending
	Tombstone bool          // Put: no data
	Replace   bool          // Put: take the place of a version W that is bad
	Columns   []Columns     // Put: of all blocks if it is one, else N
	CRC       []uint32      // Put with data: N
	Holes     []cluster.Seq // Stable
	View      chunk.View    // View
}

// Validate checks a record that was read from a log.
func (r *Record) Validate() error {
	if !r.Vol.Valid() {
		return fmt.Errorf("%w: volume key %v", ErrCorrupt, r.Vol)
	}
	switch r.Kind {
	case Put, Undo:
		if err := r.Extent.Validate(); err != nil || r.W == 0 {
			return fmt.Errorf("%w: extent %v, sequence %v", ErrCorrupt, r.Extent, r.W)
		}
		if r.Kind == Put && !r.Tombstone && len(r.CRC) != int(r.N) {
			return fmt.Errorf("%w: %d checksums of %d blocks", ErrCorrupt, len(r.CRC), r.N)
		}
		if n := len(r.Columns); r.Kind == Put && n != 1 && n != int(r.N) {
			return fmt.Errorf("%w: columns of %d of %d blocks", ErrCorrupt, n, r.N)
		}
	case Stable:
		return Mark{r.W, r.Holes}.validate()
	case View:
		if err := r.View.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	case DropChunk, Renumber:
		if r.Residency == 0 {
			return fmt.Errorf("%w: kind %d of residency 0", ErrCorrupt, r.Kind)
		}
	case Settle, Drop:
	default:
		return fmt.Errorf("%w: kind %d", ErrCorrupt, r.Kind)
	}
	return nil
}

// Apply carries out a valid record. The data blocks of a Put are pending before (Alloc or Claim); afterwards
// they are live, or free when the version was held already. A Put or Undo under a residency that another
// record has ended meanwhile changes nothing: see Superseded.
func (m *Map) Apply(r *Record) {
	switch r.Kind {
	case Put:
		m.put(r)
	case Stable:
		m.setStable(r.Vol, Mark{r.W, r.Holes})
	case Settle:
		m.settle(m.volume(r.Vol), r.Epoch)
	case Undo:
		m.undo(r)
	case DropChunk:
		m.dropChunk(r)
	case Renumber:
		m.renumber(r)
	case View:
		m.setView(m.volume(r.Vol), r.View)
	case Drop:
		m.drop(r.Vol)
	}
}

// volume finds or makes a volume.
func (m *Map) volume(key cluster.VolumeKey) *volume {
	v := m.vols[key]
	if v == nil {
		v = newVolume(key)
		v.noted, v.turned = m.snaps, m.snaps
		m.vols[key], m.sorted = v, nil
	}
	return v
}

// chunkOf finds or makes a chunk, under the residency of an extent, with room for blocks below end. What is
// held of it under an older residency is freed.
func (m *Map) chunkOf(v *volume, e Extent, end int) *chunkMap {
	c := v.chunks[e.key()]
	if c == nil {
		c = m.newChunk(v, e)
	}
	m.touch(v, c)
	if c.residency != e.Residency {
		m.empty(v, c)
		c.residency = e.Residency
	}
	c.reach(end)
	return c
}

// reach makes room for blocks below end.
func (c *chunkMap) reach(end int) {
	if end <= len(c.heads) {
		return
	}
	size := 8
	for size < end {
		size *= 2
	}
	c.heads = append(make([]nodeID, 0, size), c.heads...)[:size]
}

// newChunk makes a chunk that no snapshot has, and the one being taken does not need.
func (m *Map) newChunk(v *volume, e Extent) *chunkMap {
	c := &chunkMap{key: e.key(), residency: e.Residency, snap: 2 * m.snaps}
	v.chunks[c.key] = c
	v.index.insert(c)
	m.nChunks++
	return c
}

// empty frees all that is held of a chunk.
func (m *Map) empty(v *volume, c *chunkMap) {
	for b := range c.heads {
		for c.heads[b] != 0 {
			m.unlink(v, c, &c.heads[b])
		}
	}
}

func (m *Map) dropChunk(r *Record) {
	v := m.vols[r.Vol]
	if v == nil {
		return
	}
	if c := v.chunks[r.key()]; c != nil && c.residency <= r.Residency {
		m.empty(v, c)
		m.forget(v, c)
	}
}

// renumber moves a chunk to a higher residency with all that it holds. Where that lies over no other device
// any more, tombstones that were kept to hide what is below go.
func (m *Map) renumber(r *Record) {
	v := m.vols[r.Vol]
	if v == nil {
		return
	}
	if c := v.chunks[r.key()]; c != nil && c.residency < r.Residency {
		m.touch(v, c)
		c.residency = r.Residency
		for b := range c.heads {
			m.collect(v, c, uint16(b))
		}
		m.forget(v, c)
	}
}

func (m *Map) put(r *Record) {
	if m.Superseded(r.Extent) {
		if !r.Tombstone {
			m.Release(Run{Loc: r.Loc, N: r.N})
		}
		return
	}
	v := m.volume(r.Vol)
	c := m.chunkOf(v, r.Extent, int(r.First)+int(r.N))
	for i := range r.N {
		n := node{w: r.W, columns: r.Columns[int(i)%len(r.Columns)]}
		if r.Tombstone {
			n.flags = flagTombstone
		} else {
			n.loc, n.crc = uint32(r.Loc+uint64(i)), r.CRC[i]
		}
		m.putBlock(v, c, r.First+i, n, r.Replace)
	}
	m.forget(v, c)
}

func (m *Map) putBlock(v *volume, c *chunkMap, block uint16, n node, replace bool) {
	link := m.slot(c, block, n.w)
	if *link != 0 && m.slabs.at(*link).w == n.w {
		if !replace {
			m.giveUp(&n)
			return
		}
		old := m.slabs.at(*link)
		m.uncount(v, c, old)
		m.giveUp(old)
		n.older, n.flags = old.older, n.flags|old.flags&flagQueued
		*old = n
		m.count(v, c, old)
		m.collect(v, c, block)
		return
	}
	id := m.slabs.get()
	n.older = *link
	ref := blockRef{c.key, block}
	if !v.stable(n.w) {
		n.flags |= flagQueued
		v.queue(n.w, ref)
	}
	*m.slabs.at(id) = n
	*link = id
	m.count(v, c, &n)
	m.collect(v, c, block)
}

// giveUp frees the data block of a node.
func (m *Map) giveUp(n *node) {
	if n.flags&flagTombstone == 0 {
		m.alloc.give(uint64(n.loc))
	}
}

// count and uncount keep the totals.
func (m *Map) count(v *volume, c *chunkMap, n *node) { m.tally(v, c, n, plus) }

func (m *Map) uncount(v *volume, c *chunkMap, n *node) { m.tally(v, c, n, minus) }

// Numbers to add, minus as a two's complement.
const (
	plus  = 1
	minus = math.MaxUint64
)

// account adds one of what a volume has to the totals, or takes it away.
func (m *Map) account(v *volume, one uint64) {
	if one == minus {
		m.touchNotes(v)
	}
	m.notes.Marks += one * uint64(len(v.marks))
	for _, k := range v.marks {
		m.notes.Holes += one * uint64(len(k.Holes))
	}
	if v.view.Version > 0 {
		m.notes.Views += one
	}
	m.notes.Pins += one * uint64(len(v.view.Pins))
	m.notes.Hidden += one * uint64(len(v.view.Hidden))
}

// tally adds one to every total a version belongs to, or takes it away.
func (m *Map) tally(v *volume, c *chunkMap, n *node, one uint64) {
	c.versions += int32(one)
	v.nVersions += one
	if n.flags&flagTombstone != 0 {
		v.nTombs += one
		m.tombs += one
	} else {
		v.nBlocks += one
		m.live += one
	}
	if n.flags&flagBad != 0 {
		v.nBad += one
		m.bad += one
	}
	if n.flags&flagQueued != 0 {
		v.nUnstable += one
	}
}

// unlink removes the version that link names and frees its space.
func (m *Map) unlink(v *volume, c *chunkMap, link *nodeID) {
	m.touch(v, c)
	id := *link
	n := m.slabs.at(id)
	m.uncount(v, c, n)
	m.giveUp(n)
	*link = n.older
	m.slabs.put(id)
}

// forget removes a chunk that holds nothing.
func (m *Map) forget(v *volume, c *chunkMap) {
	if c.versions == 0 {
		v.turn(m.snaps)
		v.gone = append(v.gone, c.key)
		m.gone++
		m.remove(v, c)
	}
}

// remove takes a chunk out of the map.
func (m *Map) remove(v *volume, c *chunkMap) {
	v.index.remove(c)
	delete(v.chunks, c.key)
	m.nChunks--
}

// promote acts on what has become stable: first all of it is no longer listed as unstable, then space is
// collected.
func (m *Map) promote(v *volume) {
	m.ripe = v.ripe(m.ripe[:0])
	for i, u := range m.ripe {
		c := v.chunks[u.ref.chunkKey]
		if c == nil {
			m.ripe[i].w = 0
			continue
		}
		id := *m.slot(c, u.ref.block, u.w)
		if id == 0 || m.slabs.at(id).w != u.w || m.slabs.at(id).flags&flagQueued == 0 {
			m.ripe[i].w = 0 // undone since, or listed twice
			continue
		}
		m.slabs.at(id).flags &^= flagQueued
		v.nUnstable--
	}
	for _, u := range m.ripe {
		if u.w != 0 {
			m.collectRef(v, u.ref)
		}
	}
}

func (m *Map) collectRef(v *volume, ref blockRef) {
	if c := v.chunks[ref.chunkKey]; c != nil && int(ref.block) < len(c.heads) {
		m.collect(v, c, ref.block)
		m.forget(v, c)
	}
}

func (m *Map) setStable(key cluster.VolumeKey, mark Mark) {
	v := m.vols[key]
	if v == nil || !v.isNews(mark) {
		return
	}
	m.account(v, minus)
	v.setMark(mark)
	m.account(v, plus)
	m.promote(v)
}

func (m *Map) settle(v *volume, epoch uint32) {
	if epoch <= v.settled {
		return
	}
	m.account(v, minus)
	v.settled = epoch
	for len(v.marks) > 0 && v.marks[0].W.Epoch() < epoch {
		v.marks = v.marks[1:]
	}
	m.account(v, plus)
	m.promote(v)
	waiting := slices.SortedFunc(maps.Keys(v.waiting), blockRef.compare)
	clear(v.waiting)
	for _, ref := range waiting {
		m.collectRef(v, ref)
	}
}

func (m *Map) undo(r *Record) {
	c := m.chunk(r.Extent)
	if c == nil {
		return
	}
	v := m.vols[r.Vol]
	for i := range r.N {
		link := m.slot(c, r.First+i, r.W)
		if *link != 0 && m.slabs.at(*link).w == r.W {
			m.unlink(v, c, link)
			m.collect(v, c, r.First+i)
		}
	}
	m.forget(v, c)
}

// drop makes a volume unknown; Purge gives its space back.
func (m *Map) drop(key cluster.VolumeKey) {
	v := m.vols[key]
	if v == nil {
		return
	}
	m.account(v, minus)
	delete(m.vols, key)
	m.sorted = nil
	m.drops = append(m.drops, key)
	v.dropped = m.snaps + 1
	m.live -= v.nBlocks
	m.tombs -= v.nTombs
	m.bad -= v.nBad
	m.dropping = append(m.dropping, v)
}

// Purge frees at most about limit versions of dropped volumes and reports whether there are more.
func (m *Map) Purge(limit int) (more bool) {
	for ; limit > 0 && len(m.dropping) > 0; limit-- {
		v := m.dropping[0]
		c := v.index.last()
		if c == nil {
			m.dropping[0] = nil
			m.dropping = m.dropping[1:]
			continue
		}
		m.touch(v, c)
		for b := range c.heads {
			for id := c.heads[b]; id != 0; limit-- {
				n := m.slabs.at(id)
				m.giveUp(n)
				next := n.older
				m.slabs.put(id)
				id = next
			}
		}
		m.remove(v, c)
	}
	return len(m.dropping) > 0
}
