package pagemap

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// maxProblems bounds what Check reports.
const maxProblems = 20

// checker walks a map and counts everything again.
type checker struct {
	m        *Map
	used     []uint64 // bitmap of data blocks referenced by a version
	chunks   map[uint32]bool
	live     uint64 // of vols
	dropped  uint64 // of dropping
	nodes    uint64 // in flux
	blobs    int
	pages    uint64
	tombs    uint64
	bad      uint64
	notes    Notes
	problems []error
}

func (k *checker) failf(format string, args ...any) {
	if len(k.problems) < maxProblems {
		k.problems = append(k.problems, fmt.Errorf(format, args...))
	}
}

// Check verifies every invariant of the map. It takes time and memory in proportion to the map.
func (m *Map) Check() error {
	k := &checker{m: m, used: make([]uint64, m.alloc.free.words()), chunks: map[uint32]bool{}}
	for key, v := range m.vols {
		if key != v.key || v.dropped != 0 {
			k.failf("volume %v is listed as %v", v.key, key)
		}
		k.volume(v, true)
	}
	live := k.live
	for _, v := range m.dropping {
		if v.dropped == 0 {
			k.failf("volume %v is being purged and not dropped", v.key)
		}
		k.volume(v, false)
	}
	k.space(live)
	return errors.Join(k.problems...)
}

func (k *checker) space(live uint64) {
	m := k.m
	k.notes.Volumes = uint64(len(m.vols))
	if k.dropped != m.dropped {
		k.failf("counted %d blocks of dropped volumes, the map says %d", k.dropped, m.dropped)
	}
	if u := m.Usage(); k.notes != u.Notes {
		k.failf("counted %+v, the map says %+v", k.notes, u.Notes)
	} else if live != m.live || k.tombs != m.tombs || k.bad != m.bad ||
		u.Free+u.Live+u.Pending != u.Total {
		k.failf("counted %d live blocks, %d tombstones, %d bad; the map says %+v", live, k.tombs, k.bad, u)
	}
	k.memory()
	var free uint64
	for b := range m.alloc.total {
		isFree, used := m.alloc.isFree(b), k.used[b/64]>>(b%64)&1 == 1
		if isFree {
			free++
		}
		if isFree && used {
			k.failf("block %d is free and used", b)
		}
	}
	if free != m.alloc.nfree {
		k.failf("%d blocks are free, the allocator says %d", free, m.alloc.nfree)
	}
	for w := range m.alloc.free.words() {
		if (m.alloc.free.word(w) != 0) != (m.alloc.some.word(w/64)>>(w%64)&1 == 1) {
			k.failf("the summary of free blocks from %d is wrong", w*64)
		}
	}
}

// memory checks that what is in use of the table is what volumes have, and that blobs lie without gaps.
func (k *checker) memory() {
	t := k.m.t
	if k.nodes != t.nodes.used || uint64(len(k.chunks)) != t.chunks.used || k.pages != t.pages.used {
		k.failf("%d versions in flux, %d chunks and %d pages are reachable; %d, %d and %d in use", k.nodes,
			len(k.chunks), k.pages, t.nodes.used, t.chunks.used, t.pages.used)
	}
	blobs, err := t.blobs.check(func(owner uint32, h handle) bool {
		return k.chunks[owner] && (t.at(owner).packed() == h || t.at(owner).flux() == h)
	})
	if err != nil {
		k.failf("%w", err)
	} else if blobs != k.blobs {
		k.failf("%d blobs are reachable, %d in use", k.blobs, blobs)
	}
	slabs := uint64(len(t.slabs.spare)) + (t.blobs.bytes()+t.nodes.bytes()+t.chunks.bytes()+t.pages.bytes())/
		uint64(t.slabs.size())
	if slabs != t.slabs.n {
		k.failf("%d slabs are somewhere, %d were made", slabs, t.slabs.n)
	}
}

func (k *checker) volume(v *volume, known bool) {
	var sum VolumeState
	chunks := 0
	var prev chunkMap
	for c := v.index.seek(chunkKey{}); c.ok(); c = v.index.after(c.key()) {
		if got := v.index.get(c.key()); got.id != c.id || prev.ok() && prev.key().compare(c.key()) >= 0 {
			k.failf("volume %v: chunk %v is misplaced", v.key, c.key())
			return
		}
		k.chunks[c.id] = true
		chunks++
		k.chunk(v, c, &sum)
		prev = c
	}
	if chunks != v.index.size() {
		k.failf("volume %v: %d chunks in order, %d by key", v.key, chunks, v.index.size())
	}
	k.pages += uint64(len(v.index.leaves) + len(v.index.hash.segs))
	if !known {
		k.dropped += sum.Blocks
		if sum.Blocks != v.nBlocks {
			k.failf("volume %v is dropped: counted %d blocks, it says %d", v.key, sum.Blocks, v.nBlocks)
		}
		return
	}
	k.note(v)
	k.tombs += sum.Tombstones
	k.bad += sum.Bad
	if sum.Versions != v.nVersions || sum.Blocks != v.nBlocks || sum.Unstable != v.nUnstable ||
		sum.Pinned != v.pinned || sum.Reclaimable != v.nBlocks-v.current-v.pinned ||
		sum.Tombstones != v.nTombs || sum.Bad != v.nBad {
		st, _ := k.m.Volume(v.key)
		k.failf("volume %v: counted %+v, it says %+v", v.key, sum, st)
	}
	k.unstable(v)
}

// note counts what the map knows of a volume besides versions.
func (k *checker) note(v *volume) {
	k.notes.Marks += uint64(len(v.marks))
	for i, mark := range v.marks {
		k.notes.Holes += uint64(len(mark.Holes))
		if mark.validate() != nil || mark.W.Epoch() < v.settled && len(v.marks) > 1 || i > 0 &&
			v.marks[i-1].W.Epoch() >= mark.W.Epoch() || i == maxMarks {
			k.failf("volume %v: marks %v, settled %d", v.key, v.marks, v.settled)
		}
	}
	if err := v.view.Validate(); err != nil {
		k.failf("volume %v: %v", v.key, err)
	}
	if v.view.Version > 0 {
		k.notes.Views++
	}
	k.notes.Pins += uint64(len(v.view.Pins))
	k.notes.Hidden += uint64(len(v.view.Hidden))
}

// chunk checks what is held of one chunk.
func (k *checker) chunk(v *volume, c chunkMap, sum *VolumeState) {
	t := k.m.t
	before := sum.Versions
	for b := t.nextBlock(c, 0); b >= 0; b = t.nextBlock(c, b+1) {
		k.block(v, c, uint16(b), sum)
	}
	if n := sum.Versions - before; n != uint64(t.count(c)) || n == 0 {
		k.failf("volume %v chunk %v: %d versions, it says %d", v.key, c.key(), n, t.count(c))
	}
	if c.flux() != 0 {
		k.blobs++
	}
	p := t.packedOf(c)
	if p == nil {
		return
	}
	k.blobs++
	if _, err := parseImage(p.appendTo(nil)); err != nil {
		k.failf("volume %v chunk %v at rest: %w", v.key, c.key(), err)
	}
	if len(p)-p.size() > p.size()/2+3*granule {
		k.failf("volume %v chunk %v at rest: %d bytes in a blob of %d", v.key, c.key(), p.size(), len(p))
	}
}

// block checks the versions of one block.
func (k *checker) block(v *volume, c chunkMap, block uint16, sum *VolumeState) {
	key, t := c.key(), k.m.t
	where := func() string { return fmt.Sprintf("%v/%d/%d[%d]", v.key, key.page, key.column, block) }
	var above []node
	inFlux := uint64(0)
	for id := t.head(c, block); id != 0; id = t.older(id) {
		inFlux++
	}
	k.nodes += inFlux
	for n := range t.versions(c, block) {
		sum.Versions++
		if i := len(above); i > 0 && above[i-1].w <= n.w || n.w == 0 {
			k.failf("%s: version %v out of order", where(), n.w)
			return
		}
		if n.flags&flagTombstone != 0 {
			sum.Tombstones++
		} else {
			sum.Blocks++
			k.reference(uint64(n.loc), where)
		}
		if n.flags&flagBad != 0 {
			sum.Bad++
		}
		if n.flags&flagQueued != 0 {
			sum.Unstable++
		}
		if v.dropped == 0 {
			k.rules(v, &n, above, c, block, where)
		}
		above = append(above, n)
	}
	if v.dropped != 0 {
		return
	}
	k.answers(v.follows(c), above, sum)
	oldest := &above[len(above)-1]
	if uint64(len(above)) == inFlux && oldest.atRest() {
		k.failf("%s: version %v is at rest, and not packed", where(), oldest.w)
	}
	if len(above) == 1 && oldest.flags&flagTombstone != 0 && v.stable(oldest.w) && !v.hides(c) {
		k.failf("%s: tombstone %v covers nothing", where(), oldest.w)
	}
}

// answers counts the data blocks that no read at present needs.
func (k *checker) answers(view *chunk.View, versions []node, sum *VolumeState) {
	read := func(s cluster.Seq) int {
		return slices.IndexFunc(versions, func(n node) bool { return view.Sees(s, n.w) })
	}
	current, pinned := read(0), map[int]bool{}
	for _, s := range view.Pins {
		pinned[read(s)] = true
	}
	for i := range versions {
		switch {
		case versions[i].flags&flagTombstone != 0 || i == current:
		case pinned[i]:
			sum.Pinned++
		default:
			sum.Reclaimable++
		}
	}
}

// reference notes that a version lies in a data block.
func (k *checker) reference(loc uint64, where func() string) {
	if loc >= k.m.alloc.total || k.used[loc/64]>>(loc%64)&1 == 1 {
		k.failf("%s: block %d is used twice, or does not exist", where(), loc)
		return
	}
	k.used[loc/64] |= 1 << (loc % 64)
	k.live++
}

// rules checks that nothing is kept that should be freed, and that what waits is remembered. It asks every
// viewpoint, where sight asks classes of them.
func (k *checker) rules(v *volume, n *node, above []node, c chunkMap, block uint16, where func() string) {
	if (n.flags&flagQueued != 0) == v.stable(n.w) {
		k.failf("%s: version %v: queued as unstable %v, stable %v", where(), n.w, n.flags&flagQueued != 0,
			v.stable(n.w))
	}
	needed, seen, waits, view := false, false, false, v.follows(c)
	for i := range len(view.Pins) + 1 {
		var s cluster.Seq // the present
		if i > 0 {
			s = view.Pins[i-1]
		}
		if !view.Sees(s, n.w) {
			continue
		}
		replaced, covered := false, false
		for _, y := range above {
			if view.Sees(s, y.w) && y.flags&(flagBad|flagQueued) == 0 {
				covered, replaced = true, replaced || v.superseded(n.w, y.w)
			}
		}
		needed, seen, waits = needed || !replaced, true, waits || covered && !replaced
	}
	if !needed && (seen || n.flags&flagQueued == 0) {
		k.failf("%s: nobody needs version %v and it is kept", where(), n.w)
	}
	if _, remembered := v.waiting[blockRef{c.key(), block}]; waits && !remembered {
		k.failf("%s: version %v waits for a settlement and is forgotten", where(), n.w)
	}
}

// unstable checks that every queued version is in the heap of its epoch.
func (k *checker) unstable(v *volume) {
	listed := map[nodeID]bool{}
	for _, h := range v.unstable {
		for i, u := range h.refs {
			if u.w.Epoch() != h.epoch || i > 0 && h.refs[(i-1)/2].w > u.w {
				k.failf("volume %v: unstable %v is misplaced", v.key, u.w)
			}
			c := v.index.get(u.chunkKey)
			for b := u.first; c.ok() && b < u.first+u.n; b++ {
				p := k.m.t.find(c, b, u.w)
				if p.id != 0 && k.m.t.w(p.id) == u.w && k.m.t.flags(p.id)&flagQueued != 0 {
					listed[p.id] = true
				}
			}
		}
	}
	if n := uint64(len(listed)); n != v.nUnstable {
		k.failf("volume %v: %d unstable versions are listed, %d counted", v.key, n, v.nUnstable)
	}
}
