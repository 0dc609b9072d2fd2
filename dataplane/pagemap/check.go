package pagemap

import (
	"errors"
	"fmt"
)

// maxProblems bounds what Check reports.
const maxProblems = 20

// checker walks a map and counts everything again.
type checker struct {
	m        *Map
	used     []uint64 // bitmap of data blocks referenced by a version
	live     uint64   // of vols
	nodes    uint64
	tombs    uint64
	bad      uint64
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
	if u := m.Usage(); live != m.live || k.tombs != m.tombs || k.bad != m.bad ||
		u.Free+u.Live+u.Pending != u.Total {
		k.failf("counted %d live blocks, %d tombstones, %d bad; the map says %+v", live, k.tombs, k.bad, u)
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
	var prev *chunk
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
	if chunks != len(v.chunks) {
		k.failf("volume %v: %d chunks in order, %d by key", v.key, chunks, len(v.chunks))
	}
	if !known {
		return
	}
	k.tombs += sum.Tombstones
	k.bad += sum.Bad
	if sum.Versions != v.nVersions || sum.Blocks != v.nBlocks || sum.Unstable != v.nUnstable ||
		sum.Tombstones != v.nTombs || sum.Bad != v.nBad {
		st, _ := k.m.Volume(v.key)
		k.failf("volume %v: counted %+v, it says %+v", v.key, sum, st)
	}
	k.unstable(v)
}

// block checks one list of versions.
func (k *checker) block(v *volume, c *chunk, block uint16, id nodeID, sum *VolumeState) {
	where := func() string { return fmt.Sprintf("%v/%d/%d[%d]", v.key, c.key.page, c.key.column, block) }
	var prev, by *node
	for ; id != 0; id = prev.older {
		n := k.m.slabs.at(id)
		k.nodes++
		sum.Versions++
		if prev != nil && prev.w <= n.w || n.w == 0 {
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
			k.rules(v, n, by, blockRef{c.key, block}, where)
		}
		if n.flags&(flagBad|flagQueued) == 0 {
			by = n
		}
		prev = n
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

// rules checks that nothing is kept that should be freed, and that what waits is remembered.
func (k *checker) rules(v *volume, n, by *node, ref blockRef, where func() string) {
	if (n.flags&flagQueued != 0) == v.stable(n.w) {
		k.failf("%s: version %v: queued as unstable %v, stable %v", where(), n.w, n.flags&flagQueued != 0,
			v.stable(n.w))
	}
	if by == nil {
		if n.flags&flagTombstone != 0 && n.older == 0 && v.stable(n.w) &&
			v.chunks[ref.chunkKey].heads[ref.block] != 0 &&
			k.m.slabs.at(v.chunks[ref.chunkKey].heads[ref.block]) == n {
			k.failf("%s: tombstone %v covers nothing", where(), n.w)
		}
		return
	}
	if _, waits := v.waiting[ref]; v.superseded(n.w, by.w) {
		k.failf("%s: version %v is superseded by %v and kept", where(), n.w, by.w)
	} else if !waits {
		k.failf("%s: version %v waits below %v and is forgotten", where(), n.w, by.w)
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
