package pagemap

import (
	"cmp"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// volume is everything the map knows about one volume.
type volume struct {
	key     cluster.VolumeKey
	dropped uint64     // snapshots begun when it was dropped, plus 1; 0: not dropped
	noted   uint64     // the last snapshot that has what is known of the volume as a whole
	turned  uint64     // the last snapshot begun when the next two began anew
	dirty   []chunkKey // changed since
	gone    []chunkKey // removed since, perhaps there again
	was     changes    // the same, for the snapshot being taken
	settled uint32     // epochs below are stable
	marks   []Mark     // ascending, at most one per epoch; an epoch < settled only if alone
	lists
	index     index
	unstable  []*epochHeap // by ascending epoch
	waiting   map[blockRef]struct{}
	nVersions uint64
	nBlocks   uint64 // data blocks in use
	current   uint64 // of these: answer a read at present
	pinned    uint64 // of these: answer reads as of pins only
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

func newVolume(key cluster.VolumeKey, t *table) *volume {
	return &volume{key: key, index: newIndex(t), waiting: map[blockRef]struct{}{}}
}

// unstableRef names a version of consecutive blocks of a chunk, not stable when it came.
type unstableRef struct {
	chunkKey
	w        cluster.Seq
	first, n uint16
	found    uint32 // the chunk, for who has just looked
}

// epochHeap orders the unstable versions of one epoch by w. A block of an entry counts only while its version
// exists and is queued: undo and re-write leave old entries behind.
type epochHeap struct {
	epoch uint32
	refs  []unstableRef
}

// push adds; sequences nearly always ascend, so it rarely moves anything.
func (h *epochHeap) push(r unstableRef) {
	i := len(h.refs)
	h.refs = append(h.refs, r)
	for i > 0 && h.refs[(i-1)/2].w > r.w {
		h.refs[i] = h.refs[(i-1)/2]
		i = (i - 1) / 2
	}
	h.refs[i] = r
}

// pop removes the smallest.
func (h *epochHeap) pop() unstableRef {
	top, last := h.refs[0], h.refs[len(h.refs)-1]
	h.refs = h.refs[:len(h.refs)-1]
	for i, n := 0, len(h.refs); n > 0; {
		child := 2*i + 1
		if child+1 < n && h.refs[child+1].w < h.refs[child].w {
			child++
		}
		if child >= n || h.refs[child].w >= last.w {
			h.refs[i] = last
			break
		}
		h.refs[i] = h.refs[child]
		i = child
	}
	return top
}

// queue lists a version as unstable.
func (v *volume) queue(u unstableRef) {
	e := u.w.Epoch()
	i, found := slices.BinarySearchFunc(v.unstable, e, func(h *epochHeap, e uint32) int {
		return cmp.Compare(h.epoch, e)
	})
	if !found {
		v.unstable = slices.Insert(v.unstable, i, &epochHeap{epoch: e})
	}
	v.unstable[i].push(u)
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
