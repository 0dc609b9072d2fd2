package pagemap

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ErrCorrupt is wrapped by errors about input, from a log or a checkpoint, that no correct history produces.
var ErrCorrupt = errors.New("impossible map record")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// Map is the block map of one device. Not safe for concurrent use.
type Map struct {
	alloc    allocator
	t        *table
	vols     map[cluster.VolumeKey]*volume
	dropping []*volume // dropped, not yet purged
	sweeping []*volume // gave up pins, not all chunks know
	live     uint64    // blocks referenced by versions of vols
	dropped  uint64    // blocks referenced by versions of dropping
	tombs    uint64
	bad      uint64
	notes    Notes
	snap     *Snapshot           // being taken, or nil
	snaps    uint64              // the last begun
	gone     uint64              // chunks removed since, volumes apart
	drops    []cluster.VolumeKey // volumes removed since
	sorted   []*volume           // by key; nil: not known
	ripe     []unstableRef
	sight    sight
	census   census
	warm     []warmBlock // of Warm
	warmth   byte        // what it loaded, so that it does load
}

// New makes the map of a device of so many data blocks, all free, on the Go heap.
func New(blocks uint64) (*Map, error) { return NewIn(blocks, heap) }

// NewIn makes a map that keeps what is large in the memory it is given.
func NewIn(blocks uint64, mem Memory) (*Map, error) {
	if blocks == 0 || blocks > MaxBlocks {
		return nil, fmt.Errorf("device of %d data blocks, at most %d", blocks, uint64(MaxBlocks))
	}
	return &Map{alloc: newAllocator(blocks, mem), t: newTable(blocks, mem),
		vols: map[cluster.VolumeKey]*volume{}}, nil
}

// Usage accounts for all space: Free + Live + Pending = Total.
type Usage struct {
	Total, Free, Live, Pending uint64 // data blocks
	Dropped                    uint64 // of Pending, those of dropped volumes
	Versions                   uint64 // of volumes not dropped, tombstones included
	Tombstones                 uint64
	Bad                        uint64
	Chunks                     uint64 // of dropped volumes too
	Gone                       uint64 // chunks and volumes whose end no finished snapshot tells
	Notes                      Notes
}

// Notes counts what the map knows about volumes as a whole, and a checkpoint has to hold.
type Notes struct {
	Volumes, Marks, Holes, Views, Pins, Hidden uint64
}

// Usage tells how space is used.
func (m *Map) Usage() Usage {
	u := Usage{Total: m.alloc.total, Free: m.alloc.nfree, Live: m.live, Dropped: m.dropped,
		Tombstones: m.tombs, Bad: m.bad, Notes: m.notes, Chunks: m.t.chunks.used,
		Gone: m.gone + uint64(len(m.drops))}
	if m.snap != nil {
		u.Gone += m.snap.gone
	}
	u.Pending = u.Total - u.Free - u.Live
	u.Versions = u.Live + u.Tombstones
	u.Notes.Volumes = uint64(len(m.vols))
	return u
}

// Alloc appends runs of n free blocks in all to dst, in one run if it finds one; they become pending. It
// returns false, and changes nothing, when fewer are free.
func (m *Map) Alloc(n int, dst []Run) ([]Run, bool) { return m.alloc.alloc(n, dst) }

// Release frees pending blocks whose Put is not and never will be logged.
func (m *Map) Release(r Run) {
	for i := range uint64(r.N) {
		m.alloc.give(r.Loc + i)
	}
}

// Claim makes given free blocks pending, for a Put that recovery is about to apply.
func (m *Map) Claim(r Run) error {
	if !m.alloc.take(r.Loc, uint64(r.N)) {
		return corrupt("data blocks %d+%d of %d are used twice, or are not there", r.Loc, r.N, m.alloc.total)
	}
	return nil
}

// Volumes lists the volumes, in key order.
func (m *Map) Volumes() []cluster.VolumeKey {
	keys := make([]cluster.VolumeKey, 0, len(m.vols))
	for _, v := range m.inOrder() {
		keys = append(keys, v.key)
	}
	return keys
}

// inOrder gives the volumes in key order. The slice is never changed.
func (m *Map) inOrder() []*volume {
	if m.sorted == nil {
		m.sorted = slices.SortedFunc(maps.Values(m.vols), func(a, b *volume) int {
			return compareKeys(a.key, b.key)
		})
	}
	return m.sorted
}

func compareKeys(a, b cluster.VolumeKey) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

// MarkIsNews reports whether a stable mark would change anything. The mark of an unknown volume does not.
func (m *Map) MarkIsNews(key cluster.VolumeKey, mark Mark) bool {
	v := m.vols[key]
	return v != nil && v.isNews(mark)
}

// VolumeState is what the map knows about a volume as a whole.
type VolumeState struct {
	Key        cluster.VolumeKey
	Settled    uint32     // versions of epochs below are stable
	Marks      []Mark     // ascending, one per epoch >= Settled, or the last before; read only
	View       chunk.View // read only
	Versions   uint64
	Blocks     uint64 // data blocks in use
	Unstable   uint64
	Tombstones uint64
	Bad        uint64
	// Pinned counts the data blocks that reads as of pins are answered with, and no read at present is.
	Pinned uint64
	// Reclaimable counts those that no read is answered with: they come back when what lies above them is
	// stable, settled or repaired.
	Reclaimable uint64
	// Sweeping: it gave up pins, and not all that only they saw has come back.
	Sweeping bool
}

// Volume tells about one volume; false when it is unknown.
func (m *Map) Volume(key cluster.VolumeKey) (VolumeState, bool) {
	v := m.vols[key]
	if v == nil {
		return VolumeState{Key: key}, false
	}
	return VolumeState{Key: key, Settled: v.settled, Marks: v.marks, View: v.view, Versions: v.nVersions,
		Blocks: v.nBlocks, Unstable: v.nUnstable, Tombstones: v.nTombs, Bad: v.nBad, Pinned: v.pinned,
		Reclaimable: v.nBlocks - v.current - v.pinned, Sweeping: v.sweep.busy}, true
}

// Dropping counts for each dropped volume the data blocks that have still to come back.
func (m *Map) Dropping() map[cluster.VolumeKey]uint64 {
	left := make(map[cluster.VolumeKey]uint64, len(m.dropping))
	for _, v := range m.dropping {
		left[v.key] += v.nBlocks
	}
	return left
}

// Version is one version of a block.
type Version struct {
	State State
	W     cluster.Seq
	Loc   uint64 // data block; 0 unless Data, Bad or Torn
	CRC   uint32
	Columns
}

func (n *node) version() Version {
	v := Version{State: n.state(), W: n.w, CRC: n.crc, Columns: n.columns}
	if v.State != Tombstone {
		v.Loc = uint64(n.loc)
	}
	return v
}

func (n *node) state() State {
	switch {
	case n.flags&flagTorn != 0:
		return Torn
	case n.flags&flagBad != 0:
		return Bad
	case n.flags&flagTombstone != 0:
		return Tombstone
	}
	return Data
}

// Superseded reports whether an extent names a residency below the one that is held: what the map says about
// it is not to be told. One above the one held sees nothing.
func (m *Map) Superseded(e Extent) bool {
	_, c := m.find(e)
	return c.ok() && e.Residency < c.residency()
}

// Lookup fills out[0:N] with the version of each block of an extent that is seen at present, or as of asOf
// when that is not 0. mine: as in Exact.
func (m *Map) Lookup(e Extent, asOf cluster.Seq, out []Version) (mine bool) {
	out = out[:e.N]
	clear(out)
	v, c := m.find(e)
	if !c.ok() || c.residency() != e.Residency {
		return !c.ok() || e.Residency > c.residency()
	}
	view := &v.view
	for i := range out {
		block := e.First + uint16(i)
		id := m.t.head(c, block)
		for ; id != 0; id = m.t.older(id) {
			if view.Sees(asOf, m.t.w(id)) {
				n := m.t.node(id)
				out[i] = n.version()
				break
			}
		}
		if id != 0 {
			continue
		}
		if u, ok := m.t.rest(c, block); ok && view.Sees(asOf, u.w) {
			n := u.node()
			out[i] = n.version()
		}
	}
	return true
}

// Exact fills out[0:N] with version w of each block of an extent; Absent where there is none. It reports
// whether the extent is not superseded: if it is, what the map says about it is not to be told.
func (m *Map) Exact(e Extent, w cluster.Seq, out []Version) (mine bool) {
	out = out[:e.N]
	clear(out)
	_, c := m.find(e)
	if !c.ok() || c.residency() != e.Residency {
		return !c.ok() || e.Residency > c.residency()
	}
	for i := range out {
		block := e.First + uint16(i)
		if p := m.t.find(c, block, w); p.id != 0 && m.t.w(p.id) == w {
			n := m.t.node(p.id)
			out[i] = n.version()
		} else if u, ok := m.t.rest(c, block); ok && u.w == w {
			n := u.node()
			out[i] = n.version()
		}
	}
	return true
}

// find finds what is held of a chunk, and its volume.
func (m *Map) find(e Extent) (*volume, chunkMap) {
	v := m.vols[e.Vol]
	if v == nil {
		return nil, chunkMap{}
	}
	return v, v.index.get(e.key())
}

// chunk finds what is held under the residency of an extent.
func (m *Map) chunk(e Extent) chunkMap {
	if _, c := m.find(e); c.ok() && c.residency() == e.Residency {
		return c
	}
	return chunkMap{}
}

// MarkBad notes that the data of a version is lost, if that version still lies at loc. It reports whether it
// does.
func (m *Map) MarkBad(e Extent, block uint16, w cluster.Seq, loc uint64) bool {
	return m.mark(e, block, w, loc, flagBad)
}

// MarkTorn is MarkBad for data that was never whole: nobody was told that it is durable.
func (m *Map) MarkTorn(e Extent, block uint16, w cluster.Seq, loc uint64) bool {
	return m.mark(e, block, w, loc, flagBad|flagTorn)
}

func (m *Map) mark(e Extent, block uint16, w cluster.Seq, loc uint64, as flags) bool {
	c := m.chunk(e)
	if !c.ok() {
		return false
	}
	v := m.vols[e.Vol]
	if u, ok := m.t.rest(c, block); ok && u.w == w && uint64(u.loc) == loc {
		m.touch(v, c)
		m.t.unrest(c, block)
	}
	p := m.t.find(c, block, w)
	if p.id == 0 {
		return false
	}
	n := m.t.node(p.id)
	if n.w != w || n.flags&flagTombstone != 0 || uint64(n.loc) != loc {
		return false
	}
	if n.flags&flagBad == 0 {
		m.touch(v, c)
		n.flags |= as
		m.t.setNode(p.id, &n)
		v.nBad++
		m.bad++
	}
	return true
}
