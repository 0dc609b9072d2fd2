package pagemap

import (
	"cmp"
	"iter"
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
const leafMax = pageSize / 4

// index finds the chunks of a volume, by key and in key order: a sorted list of sorted leaves, none of them
// empty, and a hash. A leaf is a page of the table with the numbers of its chunks.
type index struct {
	t      *table
	leaves []leaf
	hash   hash
}

type leaf struct {
	first chunkKey // of its first chunk, or less
	page  uint32
	n     int32
}

func newIndex(t *table) index { return index{t: t, hash: hash{t: t}} }

// get returns the chunk of a key, if there is one.
func (x *index) get(key chunkKey) chunkMap {
	c, _, _ := x.hash.find(key)
	if !c.ok() && x.hash.crowded > 0 {
		if c = x.seek(key); c.ok() && !c.is(key) {
			return chunkMap{}
		}
	}
	return c
}

func (x *index) at(l *leaf, pos int) chunkMap { return x.t.at(get32(x.t.pages.at(l.page)[pos*4:])) }

// find returns the leaf that holds key, or should, and the position there.
func (x *index) find(key chunkKey) (at, pos int) {
	at = sort.Search(len(x.leaves), func(i int) bool { return x.leaves[i].first.compare(key) > 0 })
	at = max(at-1, 0)
	if at == len(x.leaves) {
		return at, 0
	}
	l := &x.leaves[at]
	if at == len(x.leaves)-1 && x.at(l, int(l.n)-1).key().compare(key) < 0 {
		return at, int(l.n) // most chunks come last
	}
	return at, sort.Search(int(l.n), func(i int) bool { return x.at(l, i).key().compare(key) >= 0 })
}

// seek returns the first chunk not before key, if there is one.
func (x *index) seek(key chunkKey) chunkMap {
	at, pos := x.find(key)
	switch {
	case at >= len(x.leaves):
	case pos < int(x.leaves[at].n):
		return x.at(&x.leaves[at], pos)
	case at+1 < len(x.leaves):
		return x.at(&x.leaves[at+1], 0)
	}
	return chunkMap{}
}

// after returns the first chunk behind key, if there is one.
func (x *index) after(key chunkKey) chunkMap {
	if key.column < 1<<8-1 {
		return x.seek(chunkKey{key.page, key.column + 1})
	}
	if key.page == 1<<64-1 {
		return chunkMap{}
	}
	return x.seek(chunkKey{page: key.page + 1})
}

// insert adds a chunk that is not there.
func (x *index) insert(c chunkMap) {
	key := c.key()
	x.hash.insert(c)
	at, pos := x.find(key)
	if at == len(x.leaves) || x.leaves[at].n == leafMax {
		at, pos = x.makeRoom(at, pos, key)
	}
	l := &x.leaves[at]
	b := x.t.pages.at(l.page)
	copy(b[(pos+1)*4:(l.n+1)*4], b[pos*4:l.n*4])
	put32(b[pos*4:], c.id)
	l.n++
	if pos == 0 {
		l.first = key
	}
}

// makeRoom adds a leaf behind a full one, and half of that to it; none if the key comes last, so that what
// is written in order fills its leaves.
func (x *index) makeRoom(at, pos int, key chunkKey) (int, int) {
	id, b := x.t.pages.get()
	if at == len(x.leaves) || at == len(x.leaves)-1 && pos == leafMax {
		x.leaves = append(x.leaves, leaf{first: key, page: id})
		return len(x.leaves) - 1, 0
	}
	const half = leafMax / 2
	l := &x.leaves[at]
	copy(b, x.t.pages.at(l.page)[half*4:])
	l.n = half
	right := leaf{page: id, n: leafMax - half}
	right.first = x.at(&right, 0).key()
	x.leaves = slices.Insert(x.leaves, at+1, right)
	if pos > half {
		return at + 1, pos - half
	}
	return at, pos
}

func (x *index) remove(c chunkMap) {
	x.hash.remove(c)
	at, pos := x.find(c.key())
	l := &x.leaves[at]
	b := x.t.pages.at(l.page)
	copy(b[pos*4:], b[(pos+1)*4:l.n*4])
	l.n--
	switch {
	case l.n == 0:
		x.t.pages.put(l.page)
		x.leaves = slices.Delete(x.leaves, at, at+1)
	case at > 0 && l.n+x.leaves[at-1].n <= leafMax/2:
		x.join(at - 1)
	case at+1 < len(x.leaves) && l.n+x.leaves[at+1].n <= leafMax/2:
		x.join(at)
	}
}

// join moves the chunks of a leaf to the one before it, so that leaves stay a quarter full on average.
func (x *index) join(at int) {
	l, r := &x.leaves[at], x.leaves[at+1]
	copy(x.t.pages.at(l.page)[l.n*4:], x.t.pages.at(r.page)[:r.n*4])
	l.n += r.n
	x.t.pages.put(r.page)
	x.leaves = slices.Delete(x.leaves, at+1, at+2)
}

// last returns the chunk with the largest key, if there is one.
func (x *index) last() chunkMap {
	if len(x.leaves) == 0 {
		return chunkMap{}
	}
	l := &x.leaves[len(x.leaves)-1]
	return x.at(l, int(l.n)-1)
}

// all gives the chunks in key order. The index must not change meanwhile.
func (x *index) all() iter.Seq[chunkMap] {
	return func(yield func(chunkMap) bool) {
		for i := range x.leaves {
			for pos := range int(x.leaves[i].n) {
				if !yield(x.at(&x.leaves[i], pos)) {
					return
				}
			}
		}
	}
}

// size counts the chunks.
func (x *index) size() int { return x.hash.n + x.hash.crowded }
