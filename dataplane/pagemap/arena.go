package pagemap

import "fmt"

// handle names a blob of the arena; 0 is none. It is the place of the blob, in units of 16 bytes.
type handle uint32

const (
	granule     = 16 // bytes; 2^32 of them are 64 GiB
	granuleLog  = 4
	ownerSize   = 4 // in front of every blob
	blobClasses = 80
)

// arena holds blobs of any size up to maxBlob, each for a chunk, packed without gaps: the blobs of a class
// fill slabs one after the other, and when one goes, the last takes its place. So all but the last slab of a
// class are full, whatever happened before. The price is that blobs move: a slice of one is good only until
// the next alloc, free or resize, and whoever owns a blob is told its new handle.
type arena struct {
	from  *slabs
	slab  []arenaSlab // handle 0 lies in slab 0, which does not exist
	spare []uint32    // numbers of slabs that were given back
	class [blobClasses]blobClass
	moved func(owner uint32, from, to handle)
	used  uint64 // bytes that blobs asked for
}

type arenaSlab struct {
	buf   []byte
	class uint8
}

// blobClass is the blobs of one size. All slabs but the last are full.
type blobClass struct {
	slabs []uint32
	size  int
	per   int // blobs of a slab
	last  int // blobs of the last slab
}

// classOf gives the class of blobs of n bytes, owner included: steps of 16 bytes up to 256, of 32 up to
// 1 KiB, of 128 above.
func classOf(n int) uint8 {
	switch {
	case n <= 256:
		return uint8((n+15)/16 - 1)
	case n <= 1024:
		return uint8(16 + (n-256+31)/32 - 1)
	}
	return uint8(40 + (n-1024+127)/128 - 1)
}

func classSize(c uint8) int {
	switch {
	case c < 16:
		return (int(c) + 1) * 16
	case c < 40:
		return 256 + (int(c)-15)*32
	}
	return 1024 + (int(c)-39)*128
}

func newArena(from *slabs, moved func(owner uint32, from, to handle)) *arena {
	a := &arena{from: from, moved: moved, slab: make([]arenaSlab, 1)}
	for c := range a.class {
		size := classSize(uint8(c))
		a.class[c] = blobClass{size: size, per: from.size() / size, last: from.size() / size}
	}
	return a
}

// whole is a blob with its owner in front.
func (a *arena) whole(h handle) []byte {
	shift := a.from.shift - granuleLog
	s := &a.slab[h>>shift]
	off := int(h&(1<<shift-1)) << granuleLog
	return s.buf[off : off+a.class[s.class].size]
}

// at is a blob, with the room behind it.
func (a *arena) at(h handle) []byte { return a.whole(h)[ownerSize:] }

// end is the last blob of a class.
func (a *arena) end(k *blobClass) handle {
	return handle(k.slabs[len(k.slabs)-1]<<(a.from.shift-granuleLog)) + handle((k.last-1)*k.size>>granuleLog)
}

// alloc makes a blob with room for n bytes; what is in it is arbitrary.
func (a *arena) alloc(owner uint32, n int) handle {
	c := classOf(n + ownerSize)
	k := &a.class[c]
	if k.last == k.per {
		k.slabs, k.last = append(k.slabs, a.newSlab(c)), 0
	}
	k.last++
	a.used += uint64(k.size)
	h := a.end(k)
	put32(a.whole(h), owner)
	return h
}

func (a *arena) newSlab(c uint8) uint32 {
	s := arenaSlab{a.from.get(), c}
	if n := len(a.spare); n > 0 {
		id := a.spare[n-1]
		a.spare = a.spare[:n-1]
		a.slab[id] = s
		return id
	}
	if len(a.slab)>>(32-a.from.shift+granuleLog) > 0 {
		panic("pagemap: more than 64 GiB of blobs")
	}
	a.slab = append(a.slab, s)
	return uint32(len(a.slab) - 1)
}

// free ends a blob; the last of its class takes its place.
func (a *arena) free(h handle) {
	k := &a.class[a.slab[h>>(a.from.shift-granuleLog)].class]
	if last := a.end(k); last != h {
		b := a.whole(h)
		copy(b, a.whole(last))
		a.moved(get32(b), last, h)
	}
	a.used -= uint64(k.size)
	k.last--
	if k.last == 0 {
		id := k.slabs[len(k.slabs)-1]
		k.slabs, k.last = k.slabs[:len(k.slabs)-1], k.per
		a.from.put(a.slab[id].buf)
		a.slab[id].buf = nil
		a.spare = append(a.spare, id)
	}
}

// resize moves a blob, if need be, to where it has room for n bytes and little more. What it ends with, of
// tail bytes, ends the new one, and what it begins with begins it. The owner learns the new handle from here
// only.
func (a *arena) resize(h handle, n, tail int) handle {
	b := a.whole(h)
	if classOf(n+ownerSize) == classOf(len(b)) {
		return h
	}
	to := a.alloc(get32(b), n)
	wide := a.at(to)
	copy(wide[:n-tail], b[ownerSize:])
	copy(wide[len(wide)-tail:], b[len(b)-tail:])
	a.free(h)
	return to
}

// bytes is what the arena holds, used or not.
func (a *arena) bytes() uint64 {
	return uint64((len(a.slab) - 1 - len(a.spare)) * a.from.size())
}

// check verifies that every class is dense and every blob has an owner that names it; it returns how many
// blobs there are.
func (a *arena) check(names func(owner uint32, h handle) bool) (blobs int, err error) {
	used := uint64(0)
	for c := range a.class {
		k := &a.class[c]
		for i, id := range k.slabs {
			n := k.per
			if i == len(k.slabs)-1 {
				n = k.last
			}
			for j := range n {
				h := handle(id<<(a.from.shift-granuleLog)) + handle(j*k.size>>granuleLog)
				if int(a.slab[id].class) != c || !names(get32(a.whole(h)), h) {
					return 0, fmt.Errorf("blob %d of class %d is nobody's", i*k.per+j, c)
				}
				blobs, used = blobs+1, used+uint64(k.size)
			}
		}
	}
	if used != a.used {
		return 0, fmt.Errorf("blobs of %d bytes, the arena says %d", used, a.used)
	}
	return blobs, nil
}
