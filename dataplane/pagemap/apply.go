package pagemap

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// RecordKind is what a record does.
type RecordKind uint8

// The kinds of records. Part of the on-disk format of the page store's log.
const (
	Put    RecordKind = iota + 1 // add version W of the extent's blocks
	Stable                       // W is the stable mark of its epoch in the volume, if there is one
	Settle                       // Epoch is the settled epoch of the volume
	Undo                         // remove version W of the extent's blocks
	Drop                         // remove the volume
)

// Record is one change of the map.
type Record struct {
	Kind      RecordKind
	Extent                // Put, Undo; the others use Vol only
	W         cluster.Seq // Put, Undo, Stable
	Epoch     uint32      // Settle
	Loc       uint64      // Put with data: first of N consecutive data blocks, pending
	Mask      uint16      // Put
	Tombstone bool        // Put: no data
	Replace   bool        // Put: take the place of a version W that is bad
	CRC       []uint32    // Put with data: N
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
	case Stable, Settle, Drop:
	default:
		return fmt.Errorf("%w: kind %d", ErrCorrupt, r.Kind)
	}
	return nil
}

// Apply carries out a valid record. The data blocks of a Put are pending before (Alloc or Claim); afterwards
// they are live, or free when the version was held already.
func (m *Map) Apply(r *Record) {
	switch r.Kind {
	case Put:
		m.put(r)
	case Stable:
		if v := m.vols[r.Vol]; v != nil && v.setMark(r.W) {
			m.promote(v)
		}
	case Settle:
		m.settle(m.volume(r.Vol), r.Epoch)
	case Undo:
		m.undo(r)
	case Drop:
		m.drop(r.Vol)
	}
}

// volume finds or makes a volume.
func (m *Map) volume(key cluster.VolumeKey) *volume {
	v := m.vols[key]
	if v == nil {
		v = newVolume(key)
		m.vols[key] = v
	}
	return v
}

// chunkOf finds or makes a chunk with room for blocks below end.
func (m *Map) chunkOf(v *volume, key chunkKey, end int) *chunk {
	c := v.chunks[key]
	if c == nil {
		c = &chunk{key: key, snap: m.snaps}
		v.chunks[key] = c
		v.index.insert(c)
	} else {
		m.touch(v, c)
	}
	if end > len(c.heads) {
		size := 8
		for size < end {
			size *= 2
		}
		c.heads = append(make([]nodeID, 0, size), c.heads...)[:size]
	}
	return c
}

func (m *Map) put(r *Record) {
	v := m.volume(r.Vol)
	c := m.chunkOf(v, chunkKey{r.Page, r.Column}, int(r.First)+int(r.N))
	for i := range r.N {
		n := node{w: r.W, mask: r.Mask}
		if r.Tombstone {
			n.flags = flagTombstone
		} else {
			n.loc, n.crc = uint32(r.Loc+uint64(i)), r.CRC[i]
		}
		m.putBlock(v, c, r.First+i, n, r.Replace)
	}
	m.forget(v, c)
}

func (m *Map) putBlock(v *volume, c *chunk, block uint16, n node, replace bool) {
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
func (m *Map) count(v *volume, c *chunk, n *node) { m.tally(v, c, n, 1) }

func (m *Map) uncount(v *volume, c *chunk, n *node) { m.tally(v, c, n, math.MaxUint64) }

// tally adds one, the number given as a two's complement, to every total a version belongs to.
func (m *Map) tally(v *volume, c *chunk, n *node, one uint64) {
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
func (m *Map) unlink(v *volume, c *chunk, link *nodeID) {
	id := *link
	n := m.slabs.at(id)
	m.uncount(v, c, n)
	m.giveUp(n)
	*link = n.older
	m.slabs.put(id)
}

// forget removes a chunk that holds nothing.
func (m *Map) forget(v *volume, c *chunk) {
	if c.versions == 0 {
		v.index.remove(c)
		delete(v.chunks, c.key)
	}
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
		m.touch(v, c)
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
		m.touch(v, c)
		m.collect(v, c, ref.block)
		m.forget(v, c)
	}
}

func (m *Map) settle(v *volume, epoch uint32) {
	if epoch <= v.settled {
		return
	}
	v.settled = epoch
	for len(v.marks) > 0 && v.marks[0].Epoch() < epoch {
		v.marks = v.marks[1:]
	}
	m.promote(v)
	waiting := slices.SortedFunc(maps.Keys(v.waiting), blockRef.compare)
	clear(v.waiting)
	for _, ref := range waiting {
		m.collectRef(v, ref)
	}
}

func (m *Map) undo(r *Record) {
	v := m.vols[r.Vol]
	if v == nil {
		return
	}
	c := v.chunks[chunkKey{r.Page, r.Column}]
	if c == nil {
		return
	}
	m.touch(v, c)
	for i := range r.N {
		link := m.slot(c, r.First+i, r.W)
		if *link != 0 && m.slabs.at(*link).w == r.W {
			m.unlink(v, c, link)
			m.collect(v, c, r.First+i)
		}
	}
	m.forget(v, c)
}

// superseded decides whether version old is freed, given the oldest version above it that is stable and not
// bad. Snapshots' pins will be asked here.
func (v *volume) superseded(old, by cluster.Seq) bool {
	return old.Epoch() < v.settled || old.Epoch() == by.Epoch()
}

// collect frees the versions of a block that are superseded, and a tombstone that says nothing any more.
// Those that only wait for their epoch to be settled are remembered.
func (m *Map) collect(v *volume, c *chunk, block uint16) {
	var by cluster.Seq
	for link := &c.heads[block]; *link != 0; {
		n := m.slabs.at(*link)
		if by != 0 && v.superseded(n.w, by) {
			m.unlink(v, c, link)
			continue
		}
		if by != 0 {
			v.waiting[blockRef{c.key, block}] = struct{}{}
		}
		if n.flags&(flagBad|flagQueued) == 0 && v.stable(n.w) {
			by = n.w
		}
		link = &n.older
	}
	if id := c.heads[block]; id != 0 {
		n := m.slabs.at(id)
		if n.flags&flagTombstone != 0 && n.older == 0 && v.stable(n.w) {
			m.unlink(v, c, &c.heads[block])
		}
	}
}

// drop makes a volume unknown; Purge gives its space back.
func (m *Map) drop(key cluster.VolumeKey) {
	v := m.vols[key]
	if v == nil {
		return
	}
	delete(m.vols, key)
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
		v.index.remove(c)
		delete(v.chunks, c.key)
	}
	return len(m.dropping) > 0
}
