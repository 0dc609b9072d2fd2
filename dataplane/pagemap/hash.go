package pagemap

// hash finds the chunks of a volume by key: an extendible hash table. Its segments are pages of the table
// with 256 slots, probed one after the other; a full one is split in two, so that no insertion ever moves
// more than a page. A slot is the tag of a key over the number of its chunk; 0 is free. Tag bits from the top
// select the segment, the lowest eight the first slot.
type hash struct {
	t     *table
	n     int      // chunks held
	depth uint8    // tag bits that select
	dir   []uint32 // by these bits: number of a segment
	segs  []segment
	// crowded counts the chunks that found no room because too many tags are alike; who looks for one of these
	// has to ask the index.
	crowded int
}

type segment struct {
	page  uint32
	used  uint16
	depth uint8 // tag bits that all chunks of it share
}

const (
	segmentSlots = pageSize / 8
	segmentFull  = segmentSlots * 7 / 8
	// The directory is at most so many times as long as there are segments.
	maxSparse = 64
)

// tag mixes the bits of a key (the finalizer of MurmurHash3).
func (k chunkKey) tag() uint32 {
	h := k.page<<8 + k.page>>56 + uint64(k.column)
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return uint32((h ^ h>>33) >> 32)
}

// find returns a chunk and where its slot lies.
func (x *hash) find(key chunkKey) (c chunkMap, page []byte, slot int) {
	if x.n == 0 {
		return chunkMap{}, nil, 0
	}
	tag := key.tag()
	page = x.t.pages.at(x.segs[x.dir[tag>>(32-x.depth)]].page)
	for slot = int(tag % segmentSlots); ; slot = (slot + 1) % segmentSlots {
		s := get64(page[slot*8:])
		if s == 0 {
			return chunkMap{}, nil, 0
		}
		if uint32(s>>32) == tag {
			if c = x.t.at(uint32(s)); c.is(key) {
				return c, page, slot
			}
		}
	}
}

// insert adds a chunk that is not there.
func (x *hash) insert(c chunkMap) {
	if x.n == 0 {
		x.begin()
	}
	tag := c.key().tag()
	seg := &x.segs[x.dir[tag>>(32-x.depth)]]
	for seg.used == segmentFull {
		if !x.split(tag) {
			x.crowded++
			return
		}
		seg = &x.segs[x.dir[tag>>(32-x.depth)]]
	}
	x.n++
	seg.add(x.t.pages.at(seg.page), uint64(tag)<<32|uint64(c.id))
}

func (x *hash) begin() {
	id, _ := x.t.pages.get()
	x.depth, x.dir, x.segs = 0, append(x.dir[:0], 0), append(x.segs[:0], segment{page: id})
}

// add fills the first free slot for what has a tag.
func (s *segment) add(page []byte, value uint64) {
	slot := int(value >> 32 % segmentSlots)
	for get64(page[slot*8:]) != 0 {
		slot = (slot + 1) % segmentSlots
	}
	put64(page[slot*8:], value)
	s.used++
}

// split divides the segment of a tag by the next bit; false when the directory would get too long.
func (x *hash) split(tag uint32) bool {
	i := x.dir[tag>>(32-x.depth)]
	if x.segs[i].depth == x.depth {
		if x.depth == 31 || 2*len(x.dir) > maxSparse*(len(x.segs)+1) {
			return false
		}
		x.depth++
		x.dir = append(x.dir, x.dir...)
		for j := len(x.dir) - 1; j > 0; j-- {
			x.dir[j] = x.dir[j/2]
		}
	}
	var all [segmentSlots]uint64
	low := &x.segs[i]
	page := x.t.pages.at(low.page)
	for j := range all {
		all[j] = get64(page[j*8:])
	}
	clear(page)
	low.used, low.depth = 0, low.depth+1
	id, second := x.t.pages.get()
	high := segment{page: id, depth: low.depth}
	for _, v := range all {
		switch {
		case v == 0:
		case v>>(64-low.depth)&1 == 0:
			low.add(page, v)
		default:
			high.add(second, v)
		}
	}
	x.segs = append(x.segs, high)
	half := 1 << (x.depth - high.depth) // of the directory entries that name the segment
	first := int(tag>>(32-high.depth)|1) * half
	for j := first; j < first+half; j++ {
		x.dir[j] = uint32(len(x.segs) - 1)
	}
	return true
}

// remove takes a chunk out; what was displaced by it moves up.
func (x *hash) remove(c chunkMap) {
	key := c.key()
	found, page, slot := x.find(key)
	if !found.ok() {
		x.crowded--
		return
	}
	x.n--
	x.segs[x.dir[key.tag()>>(32-x.depth)]].used--
	for next := (slot + 1) % segmentSlots; ; next = (next + 1) % segmentSlots {
		v := get64(page[next*8:])
		if v == 0 {
			break
		}
		// v may fill the gap unless its first slot lies behind that.
		if home := int(v >> 32 % segmentSlots); (next-home+segmentSlots)%segmentSlots >=
			(next-slot+segmentSlots)%segmentSlots {
			put64(page[slot*8:], v)
			slot = next
		}
	}
	put64(page[slot*8:], 0)
	if x.n == 0 {
		x.end()
	}
}

// end gives the pages back.
func (x *hash) end() {
	for _, s := range x.segs {
		x.t.pages.put(s.page)
	}
	x.depth, x.dir, x.segs = 0, nil, nil
}
