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
		if !validResidency(r.Residency) {
			return fmt.Errorf("%w: kind %d of residency %#x", ErrCorrupt, r.Kind, uint64(r.Residency))
		}
	case Settle, Drop:
	default:
		return fmt.Errorf("%w: kind %d", ErrCorrupt, r.Kind)
	}
	return nil
}

// Apply carries out a valid record. The data blocks of a Put are pending before (Alloc or Claim); afterwards
// they are live, or free when the version was held already. A Put or Undo under a residency that another
// record has ended meanwhile changes nothing, and is not mine: see Superseded.
func (m *Map) Apply(r *Record) (mine bool) {
	if k := r.Kind; (k == Undo || k == DropChunk || k == Renumber) && m.Superseded(r.Extent) {
		return false
	}
	switch r.Kind {
	case Put:
		return m.put(r)
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
	return true
}

// volume finds or makes a volume.
func (m *Map) volume(key cluster.VolumeKey) *volume {
	v := m.vols[key]
	if v == nil {
		v = newVolume(key, m.t)
		v.noted, v.turned = m.snaps, m.snaps
		m.vols[key], m.sorted = v, nil
	}
	return v
}

// hold makes sure that a chunk is held under the residency of an extent: c, if there is one, is what is held.
// What that has of an older residency is freed.
func (m *Map) hold(v *volume, c chunkMap, e Extent) chunkMap {
	if !c.ok() {
		c = m.newChunk(v, e)
	}
	m.touch(v, c)
	if c.residency() != e.Residency {
		m.empty(v, c)
		c.setResidency(e.Residency)
	}
	return c
}

// newChunk makes a chunk that no snapshot has, and the one being taken does not need.
func (m *Map) newChunk(v *volume, e Extent) chunkMap {
	c := m.t.newChunk(e.key(), e.Residency)
	c.setSnap(2 * m.snaps)
	v.index.insert(c)
	return c
}

// empty frees all that is held of a chunk.
func (m *Map) empty(v *volume, c chunkMap) {
	m.touch(v, c)
	for b := m.t.nextBlock(c, 0); b >= 0; b = m.t.nextBlock(c, b+1) {
		m.weigh(v, c, uint16(b), minus)
	}
	m.t.clear(c, func(n *node) {
		m.tally(v, n, minus)
		m.giveUp(n)
	})
}

func (m *Map) dropChunk(r *Record) {
	v := m.vols[r.Vol]
	if v == nil {
		return
	}
	if c := v.index.get(r.key()); c.ok() && c.residency() <= r.Residency {
		m.empty(v, c)
		m.rest(v, c)
	}
}

// renumber moves a chunk to a higher residency with all that it holds. Where that lies over no other device
// any more, tombstones that were kept to hide what is below go.
func (m *Map) renumber(r *Record) {
	v := m.vols[r.Vol]
	if v == nil {
		return
	}
	if c := v.index.get(r.key()); c.ok() && c.residency() < r.Residency {
		m.touch(v, c)
		c.setResidency(r.Residency)
		for b := m.t.nextInFlux(c, 0); b >= 0; b = m.t.nextInFlux(c, b+1) {
			m.collect(v, c, uint16(b))
		}
		m.rest(v, c)
	}
}

func (m *Map) put(r *Record) (mine bool) {
	v := m.volume(r.Vol)
	c := v.index.get(r.key())
	if c.ok() && r.Residency < c.residency() { // superseded
		if !r.Tombstone {
			m.Release(Run{Loc: r.Loc, N: r.N})
		}
		return false
	}
	c = m.hold(v, c, r.Extent)
	stable, queued := v.stable(r.W), uint16(0)
	for i := range r.N {
		n := node{w: r.W, columns: r.Columns[int(i)%len(r.Columns)]}
		if r.Tombstone {
			n.flags = flagTombstone
		} else {
			n.loc, n.crc = uint32(r.Loc+uint64(i)), r.CRC[i]
		}
		if !stable {
			n.flags |= flagQueued
		}
		m.weigh(v, c, r.First+i, minus)
		added := m.putBlock(v, c, r.First+i, &n, r.Replace)
		m.weigh(v, c, r.First+i, plus)
		switch {
		case added && !stable:
			queued++
		case queued > 0:
			v.queue(unstableRef{w: r.W, chunkKey: r.key(), first: r.First + i - queued, n: queued})
			queued = 0
		}
	}
	if queued > 0 {
		v.queue(unstableRef{w: r.W, chunkKey: r.key(), first: r.First + r.N - queued, n: queued})
	}
	m.rest(v, c)
	return true
}

// putBlock adds a version of a block, or lets it take the place of the one with its sequence; true: the
// sequence is new.
func (m *Map) putBlock(v *volume, c chunkMap, block uint16, n *node, replace bool) bool {
	if u, ok := m.t.rest(c, block); ok && u.w >= n.w {
		if u.w == n.w && !replace {
			m.giveUp(n)
			return false
		}
		m.t.unrest(c, block)
	}
	p := m.t.find(c, block, n.w)
	if p.id != 0 && m.t.w(p.id) == n.w {
		if !replace {
			m.giveUp(n)
			return false
		}
		old := m.t.node(p.id)
		m.tally(v, &old, minus)
		m.giveUp(&old)
		n.older, n.flags = old.older, n.flags&^flagQueued|old.flags&flagQueued
		m.t.setNode(p.id, n)
		m.tally(v, n, plus)
		m.collect(v, c, block)
		return false
	}
	m.t.insert(c, block, p, n)
	m.tally(v, n, plus)
	if p.prev != 0 || n.flags&flagQueued == 0 || !plain(v.follows(c)) { // else it changes nothing for the others
		m.collect(v, c, block)
	}
	return true
}

// giveUp frees the data block of a node.
func (m *Map) giveUp(n *node) {
	if n.flags&flagTombstone == 0 {
		m.alloc.give(uint64(n.loc))
	}
}

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
func (m *Map) tally(v *volume, n *node, one uint64) {
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

// unlink removes the version at a place and frees its space.
func (m *Map) unlink(v *volume, c chunkMap, block uint16, p place) {
	m.touch(v, c)
	n := m.t.node(p.id)
	m.tally(v, &n, minus)
	m.giveUp(&n)
	m.t.unlink(c, block, p)
}

// rest ends a change of a chunk: one that holds nothing is forgotten, one that has come to rest may become
// smaller.
func (m *Map) rest(v *volume, c chunkMap) {
	if c.packed() == 0 && c.flux() == 0 {
		v.turn(m.snaps)
		v.gone = append(v.gone, c.key())
		m.gone++
		m.remove(v, c)
		return
	}
	m.t.settleDown(c)
}

// remove takes a chunk out of the map.
func (m *Map) remove(v *volume, c chunkMap) {
	v.index.remove(c)
	m.t.chunks.put(c.id)
}

// promote acts on what has become stable: first all of it is no longer listed as unstable, then space is
// collected.
func (m *Map) promote(v *volume) {
	m.ripe = v.ripe(m.ripe[:0])
	gone := m.gone
	for i := range m.ripe {
		u := &m.ripe[i]
		c := v.index.get(u.chunkKey)
		if u.found = c.id; !c.ok() {
			u.n = 0
			continue
		}
		for b := u.first; b < u.first+u.n; b++ {
			p := m.t.find(c, b, u.w)
			if p.id == 0 || m.t.w(p.id) != u.w {
				continue // undone since
			}
			if n := m.t.node(p.id); n.flags&flagQueued != 0 { // else it is listed twice
				n.flags &^= flagQueued
				m.t.setNode(p.id, &n)
				v.nUnstable--
			}
		}
	}
	for i := range m.ripe {
		u := &m.ripe[i]
		switch {
		case u.n == 0:
		case m.gone == gone:
			m.collectRange(v, m.t.at(u.found), u.first, u.n)
		default: // a chunk is gone, perhaps this one
			m.collectRange(v, v.index.get(u.chunkKey), u.first, u.n)
		}
	}
}

// collectRange collects blocks of a chunk, if there is one.
func (m *Map) collectRange(v *volume, c chunkMap, first, n uint16) {
	if !c.ok() {
		return
	}
	for b := first; b < first+n; b++ {
		if plain(v.follows(c)) { // what the present reads stays
			m.collect(v, c, b)
			continue
		}
		m.weigh(v, c, b, minus)
		m.collect(v, c, b)
		m.weigh(v, c, b, plus)
	}
	m.rest(v, c)
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
	v.forgetMarks()
	m.account(v, plus)
	m.promote(v)
	waiting := slices.SortedFunc(maps.Keys(v.waiting), blockRef.compare)
	clear(v.waiting)
	for _, ref := range waiting {
		m.collectRange(v, v.index.get(ref.chunkKey), ref.block, 1)
	}
}

func (m *Map) undo(r *Record) {
	c := m.chunk(r.Extent)
	if !c.ok() {
		return
	}
	v := m.vols[r.Vol]
	for b := r.First; b < r.First+r.N; b++ {
		m.weigh(v, c, b, minus)
		if u, ok := m.t.rest(c, b); ok && u.w == r.W {
			m.t.unrest(c, b)
		}
		if p := m.t.find(c, b, r.W); p.id != 0 && m.t.w(p.id) == r.W {
			m.unlink(v, c, b, p)
			m.collect(v, c, b)
		}
		m.weigh(v, c, b, plus)
	}
	m.rest(v, c)
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
	m.dropped += v.nBlocks
	m.tombs -= v.nTombs
	m.bad -= v.nBad
	m.dropping = append(m.dropping, v)
}

// Purge frees at most about limit versions of dropped volumes, then looks at so many blocks of volumes that
// gave up pins, and reports whether there is more to do.
func (m *Map) Purge(limit int) (more bool) {
	for ; limit > 0 && len(m.dropping) > 0; limit-- {
		v := m.dropping[0]
		c := v.index.last()
		if !c.ok() {
			m.dropping[0] = nil
			m.dropping = m.dropping[1:]
			continue
		}
		m.touch(v, c)
		m.t.clear(c, func(n *node) {
			m.giveUp(n)
			if n.flags&flagTombstone == 0 {
				v.nBlocks--
				m.dropped--
			}
			limit--
		})
		m.remove(v, c)
	}
	for limit > 0 && len(m.sweeping) > 0 {
		if v := m.sweeping[0]; v.dropped == 0 {
			limit = m.sweep(v, limit)
		}
		if limit > 0 {
			m.sweeping[0] = nil
			m.sweeping = m.sweeping[1:]
		}
	}
	return len(m.dropping)+len(m.sweeping) > 0
}
