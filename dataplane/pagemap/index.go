package pagemap

import (
	"cmp"
	"slices"
	"sort"
)

// chunkKey names a chunk within its volume.
type chunkKey struct {
	page   uint64
	column uint8
}

func (k chunkKey) compare(o chunkKey) int {
	if c := cmp.Compare(k.page, o.page); c != 0 {
		return c
	}
	return cmp.Compare(k.column, o.column)
}

// leafMax is the largest number of chunks of a leaf.
const leafMax = 256

// index keeps the chunks of a volume in key order: a sorted list of sorted leaves, none of them empty.
type index struct {
	leaves [][]*chunkMap
}

// find returns the leaf that holds key, or should, and the position there.
func (x *index) find(key chunkKey) (leaf, pos int) {
	leaf = sort.Search(len(x.leaves), func(i int) bool { return x.leaves[i][0].key.compare(key) > 0 })
	leaf = max(leaf-1, 0)
	if leaf == len(x.leaves) {
		return leaf, 0
	}
	l := x.leaves[leaf]
	return leaf, sort.Search(len(l), func(i int) bool { return l[i].key.compare(key) >= 0 })
}

// seek returns the first chunk not before key, or nil.
func (x *index) seek(key chunkKey) *chunkMap {
	leaf, pos := x.find(key)
	switch {
	case leaf >= len(x.leaves):
		return nil
	case pos < len(x.leaves[leaf]):
		return x.leaves[leaf][pos]
	case leaf+1 < len(x.leaves):
		return x.leaves[leaf+1][0]
	}
	return nil
}

// after returns the first chunk behind key, or nil.
func (x *index) after(key chunkKey) *chunkMap {
	if key.column < 1<<8-1 {
		return x.seek(chunkKey{key.page, key.column + 1})
	}
	if key.page == 1<<64-1 {
		return nil
	}
	return x.seek(chunkKey{page: key.page + 1})
}

func (x *index) insert(c *chunkMap) {
	leaf, pos := x.find(c.key)
	if leaf == len(x.leaves) {
		x.leaves = append(x.leaves, []*chunkMap{c})
		return
	}
	l := slices.Insert(x.leaves[leaf], pos, c)
	x.leaves[leaf] = l
	if len(l) > leafMax {
		half := len(l) / 2
		right := append(make([]*chunkMap, 0, leafMax+1), l[half:]...)
		clear(l[half:])
		x.leaves[leaf] = l[:half]
		x.leaves = slices.Insert(x.leaves, leaf+1, right)
	}
}

func (x *index) remove(c *chunkMap) {
	leaf, pos := x.find(c.key)
	l := slices.Delete(x.leaves[leaf], pos, pos+1)
	x.leaves[leaf] = l
	if len(l) == 0 {
		x.leaves = slices.Delete(x.leaves, leaf, leaf+1)
	}
}

// last returns the chunk with the largest key, or nil.
func (x *index) last() *chunkMap {
	if len(x.leaves) == 0 {
		return nil
	}
	l := x.leaves[len(x.leaves)-1]
	return l[len(l)-1]
}
