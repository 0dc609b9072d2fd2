package pagemap

import (
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// maxProblems bounds what Check reports.
const maxProblems = 20

// checker walks a map and counts everything again.
type checker struct {
	m        *Map
	used     []uint64 // bitmap of data blocks referenced by a version
	live     uint64   // of vols
	nodes    uint64
	chunks   uint64
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
	k := &checker{m: m, used: make([]uint64, len(m.alloc.free))}
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
	if u := m.Usage(); k.notes != u.Notes {
		k.failf("counted %+v, the map says %+v", k.notes, u.Notes)
	} else if live != m.live || k.tombs != m.tombs || k.bad != m.bad ||
		u.Free+u.Live+u.Pending != u.Total {
		k.failf("counted %d live blocks, %d tombstones, %d bad; the map says %+v", live, k.tombs, k.bad, u)
	}
	if k.chunks != m.nChunks {
		k.failf("%d chunks are reachable, %d counted", k.chunks, m.nChunks)
	}
	if k.nodes != m.slabs.used {
		k.failf("%d versions are reachable, %d in use", k.nodes, m.slabs.used)
	}
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
	for w, word := range m.alloc.free {
		if (word != 0) != (m.alloc.some[w/64]>>(w%64)&1 == 1) {
			k.failf("the summary of free blocks from %d is wrong", w*64)
		}
	}
}

func (k *checker) volume(v *volume, known bool) {
	var sum VolumeState
	chunks := 0
	var prev *chunkMap
	for c := v.index.seek(chunkKey{}); c != nil; c = v.index.after(c.key) {
		if v.chunks[c.key] != c || prev != nil && prev.key.compare(c.key) >= 0 {
			k.failf("volume %v: chunk %v is misplaced", v.key, c.key)
			return
		}
		chunks++
		before := sum.Versions
		for b, id := range c.heads {
			k.block(v, c, uint16(b), id, &sum)
		}
		if sum.Versions-before != uint64(c.versions) || c.versions == 0 {
			k.failf("volume %v chunk %v: %d versions, it says %d", v.key, c.key, sum.Versions-before, c.versions)
		}
		prev = c
	}
	k.chunks += uint64(chunks)
	if chunks != len(v.chunks) {
		k.failf("volume %v: %d chunks in order, %d by key", v.key, chunks, len(v.chunks))
	}
	if !known {
		return
	}
	k.note(v)
	k.tombs += sum.Tombstones
	k.bad += sum.Bad
	if sum.Versions != v.nVersions || sum.Blocks != v.nBlocks || sum.Unstable != v.nUnstable ||
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
		if mark.validate() != nil || mark.W.Epoch() < v.settled || i > 0 &&
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

// block checks one list of versions.
func (k *checker) block(v *volume, c *chunkMap, block uint16, id nodeID, sum *VolumeState) {
	where := func() string { return fmt.Sprintf("%v/%d/%d[%d]", v.key, c.key.page, c.key.column, block) }
	var above []*node
	for ; id != 0; id = k.m.slabs.at(id).older {
		n := k.m.slabs.at(id)
		k.nodes++
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
			k.rules(v, n, above, c, block, where)
		}
		above = append(above, n)
	}
	if len(above) != 1 || v.dropped != 0 {
		return
	}
	if n := above[0]; n.flags&flagTombstone != 0 && v.stable(n.w) && !c.residency.Overlay() {
		k.failf("%s: tombstone %v covers nothing", where(), n.w)
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
func (k *checker) rules(v *volume, n *node, above []*node, c *chunkMap, block uint16, where func() string) {
	if (n.flags&flagQueued != 0) == v.stable(n.w) {
		k.failf("%s: version %v: queued as unstable %v, stable %v", where(), n.w, n.flags&flagQueued != 0,
			v.stable(n.w))
	}
	needed, seen, waits := false, false, false
	for i := range len(v.view.Pins) + 1 {
		var s cluster.Seq // the present
		if i > 0 {
			s = v.view.Pins[i-1]
		}
		if !v.view.Sees(s, n.w) {
			continue
		}
		replaced, covered := false, false
		for _, y := range above {
			if v.view.Sees(s, y.w) && y.flags&(flagBad|flagQueued) == 0 {
				covered, replaced = true, replaced || v.superseded(n.w, y.w)
			}
		}
		needed, seen, waits = needed || !replaced, true, waits || covered && !replaced
	}
	if !needed && (seen || n.flags&flagQueued == 0) {
		k.failf("%s: nobody needs version %v and it is kept", where(), n.w)
	}
	if _, remembered := v.waiting[blockRef{c.key, block}]; waits && !remembered {
		k.failf("%s: version %v waits for a settlement and is forgotten", where(), n.w)
	}
}

// unstable checks that every queued version is in the heap of its epoch.
func (k *checker) unstable(v *volume) {
	listed := map[unstableRef]bool{}
	for _, h := range v.unstable {
		for i, u := range h.refs {
			if u.w.Epoch() != h.epoch || i > 0 && h.refs[(i-1)/2].w > u.w {
				k.failf("volume %v: unstable %v is misplaced", v.key, u.w)
			}
			c := v.chunks[u.ref.chunkKey]
			if c == nil {
				continue
			}
			if id := *k.m.slot(c, u.ref.block, u.w); id != 0 {
				n := k.m.slabs.at(id)
				listed[u] = n.w == u.w && n.flags&flagQueued != 0
			}
		}
	}
	var n uint64
	for _, valid := range listed {
		if valid {
			n++
		}
	}
	if n != v.nUnstable {
		k.failf("volume %v: %d unstable versions are listed, %d counted", v.key, n, v.nUnstable)
	}
}
