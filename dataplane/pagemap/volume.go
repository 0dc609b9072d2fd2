package pagemap

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// nodeID names a version in the slabs; 0 is none.
type nodeID uint32

// node is one version, in a list ordered by descending w.
type node struct {
	w       cluster.Seq
	loc     uint32 // data block; unused for a tombstone
	crc     uint32
	older   nodeID
	columns Columns
	flags   flags
}

type flags uint8

const (
	flagTombstone flags = 1 << iota
	flagBad
	flagQueued // listed in an unstable heap: the version is not stable
)

// slabSize is the number of nodes of a slab.
const slabSize = 4096

// slabs holds all nodes, without pointers inside, so that the garbage collector has nothing to follow.
type slabs struct {
	slab [][]node
	next nodeID // first never used
	free nodeID // head of the list of free nodes, linked by older
	used uint64
}

func (s *slabs) at(id nodeID) *node { return &s.slab[id/slabSize][id%slabSize] }

func (s *slabs) get() nodeID {
	s.used++
	if id := s.free; id != 0 {
		s.free = s.at(id).older
		return id
	}
	if s.next == 0 {
		s.next = 1
	}
	if int(s.next/slabSize) == len(s.slab) {
		s.slab = append(s.slab, make([]node, slabSize))
	}
	s.next++
	return s.next - 1
}

func (s *slabs) put(id nodeID) {
	*s.at(id) = node{older: s.free}
	s.free = id
	s.used--
}

// chunkMap is the map of one chunk: the heads of the version lists of its blocks.
type chunkMap struct {
	key       chunkKey
	residency chunk.Residency
	snap      uint64 // twice the last snapshot that has it, or needs it not; odd: it has changed since
	versions  int32
	heads     []nodeID // up to the highest block ever held, rounded up
}

// volume is everything the map knows about one volume.
type volume struct {
	key       cluster.VolumeKey
	dropped   uint64     // snapshots begun when it was dropped, plus 1; 0: not dropped
	noted     uint64     // the last snapshot that has what is known of the volume as a whole
	turned    uint64     // the last snapshot begun when the next two began anew
	dirty     []chunkKey // changed since
	gone      []chunkKey // removed since, perhaps there again
	was       changes    // the same, for the snapshot being taken
	settled   uint32     // epochs below are stable
	marks     []Mark     // ascending, at most one per epoch, epochs >= settled
	view      chunk.View
	index     index
	chunks    map[chunkKey]*chunkMap
	unstable  []*epochHeap // by ascending epoch
	waiting   map[blockRef]struct{}
	nVersions uint64
	nBlocks   uint64 // data blocks in use
	nUnstable uint64
	nTombs    uint64
	nBad      uint64
}

// changes are chunks that differ between two snapshots.
type changes struct{ dirty, gone []chunkKey }

// blockRef names a block within a volume.
type blockRef struct {
	chunkKey
	block uint16
}

func (r blockRef) compare(o blockRef) int {
	if c := r.chunkKey.compare(o.chunkKey); c != 0 {
		return c
	}
	return cmp.Compare(r.block, o.block)
}

func newVolume(key cluster.VolumeKey) *volume {
	return &volume{key: key, chunks: map[chunkKey]*chunkMap{}, waiting: map[blockRef]struct{}{}}
}

// unstableRef is a version that was not stable when it came.
type unstableRef struct {
	w   cluster.Seq
	ref blockRef
}

// epochHeap orders the unstable versions of one epoch by w. An entry counts only while its version exists and
// is queued: undo and re-write leave old entries behind.
type epochHeap struct {
	epoch uint32
	refs  []unstableRef
}

func (h *epochHeap) Len() int           { return len(h.refs) }
func (h *epochHeap) Less(i, j int) bool { return h.refs[i].w < h.refs[j].w }
func (h *epochHeap) Swap(i, j int)      { h.refs[i], h.refs[j] = h.refs[j], h.refs[i] }
func (h *epochHeap) Push(x any)         { h.refs = append(h.refs, x.(unstableRef)) }
func (h *epochHeap) Pop() any {
	last := h.refs[len(h.refs)-1]
	h.refs = h.refs[:len(h.refs)-1]
	return last
}

// push adds without the boxing of container/heap: sequences nearly always ascend, so it rarely moves.
func (h *epochHeap) push(r unstableRef) {
	h.refs = append(h.refs, r)
	for i := len(h.refs) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.Less(i, parent) {
			return
		}
		h.Swap(i, parent)
		i = parent
	}
}

// pop removes the smallest.
func (h *epochHeap) pop() unstableRef {
	top, last := h.refs[0], len(h.refs)-1
	h.refs[0] = h.refs[last]
	h.refs = h.refs[:last]
	if last > 0 {
		heap.Fix(h, 0)
	}
	return top
}

// queue lists a version as unstable.
func (v *volume) queue(w cluster.Seq, ref blockRef) {
	e := w.Epoch()
	i, found := slices.BinarySearchFunc(v.unstable, e, func(h *epochHeap, e uint32) int {
		return cmp.Compare(h.epoch, e)
	})
	if !found {
		v.unstable = slices.Insert(v.unstable, i, &epochHeap{epoch: e})
	}
	v.unstable[i].push(unstableRef{w, ref})
}

// ripe removes and returns the listed versions that have become stable, appended to dst. Holes stay.
func (v *volume) ripe(dst []unstableRef) []unstableRef {
	keep := v.unstable[:0]
	for _, h := range v.unstable {
		limit := v.limit(h.epoch)
		var holes []unstableRef
		for len(h.refs) > 0 && h.refs[0].w <= limit {
			if u := h.pop(); v.stable(u.w) {
				dst = append(dst, u)
			} else {
				holes = append(holes, u)
			}
		}
		for _, u := range holes {
			h.push(u)
		}
		if len(h.refs) > 0 || h.epoch >= v.settled {
			keep = append(keep, h)
		}
	}
	clear(v.unstable[len(keep):])
	v.unstable = keep
	return dst
}
