package pagemap

// Memory gives n bytes, all zero, that nobody else uses. A map keeps what it got for as long as it lives, and
// what it asked for is bounded by the largest content it ever had: see the package doc. It asks for steps of
// 1 MiB at least, and less only on devices so small that they are tests.
type Memory func(n int) []byte

// heap is the memory of maps that nobody gave any.
func heap(n int) []byte { return make([]byte, n) }

// slabShift gives the size of a slab, as a power of two, and the step in which memory is asked for.
func slabSizes(blocks uint64) (shift uint, step int) {
	if blocks < 1<<16 {
		return 13, 1 << 13
	}
	return 16, 1 << 20
}

// slabs gives out pieces of memory of one size and takes them back.
type slabs struct {
	mem   Memory
	shift uint // size of a slab: 1<<shift
	step  int
	rest  []byte   // of the last step
	spare [][]byte // given back
	n     uint64   // ever made
}

func (s *slabs) size() int { return 1 << s.shift }

// get gives a slab with anything in it.
func (s *slabs) get() []byte {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	if len(s.rest) == 0 {
		s.rest = s.mem(s.step)
	}
	b := s.rest[:s.size():s.size()]
	s.rest = s.rest[s.size():]
	s.n++
	return b
}

func (s *slabs) put(b []byte) { s.spare = append(s.spare, b) }

// pool holds records of one size that stay where they are. A record that is free begins with the number of
// the next one; 0 is none.
type pool struct {
	from  *slabs
	size  int
	shift uint // records of a slab: 1<<shift
	slab  [][]byte
	next  uint32 // first never used
	free  uint32
	used  uint64
}

func newPool(from *slabs, size int) pool {
	p := pool{from: from, size: size, next: 1}
	for size<<(p.shift+1) <= from.size() {
		p.shift++
	}
	return p
}

func (p *pool) at(id uint32) []byte {
	off := int(id&(1<<p.shift-1)) * p.size
	return p.slab[id>>p.shift][off : off+p.size]
}

// get gives a record of zeros.
func (p *pool) get() (uint32, []byte) {
	id := p.free
	if id == 0 {
		id = p.next
		p.next++
		if int(id>>p.shift) == len(p.slab) {
			p.slab = append(p.slab, p.from.get())
		}
	}
	b := p.at(id)
	if id == p.free {
		p.free = get32(b)
	}
	clear(b)
	p.used++
	return id, b
}

func (p *pool) put(id uint32) {
	b := p.at(id)
	clear(b)
	put32(b, p.free)
	p.free = id
	p.used--
}

// bytes is what the pool holds, used or not.
func (p *pool) bytes() uint64 { return uint64(len(p.slab) * p.from.size()) }

// RAM is what the map holds outside the Go heap, in bytes, used or not.
type RAM struct {
	Packed   uint64 // chunks at rest, and who is in flux in a chunk
	Versions uint64 // in flux
	Chunks   uint64
	Index    uint64
	Space    uint64 // bitmaps of free blocks
	Spare    uint64 // for any of these
	InUse    uint64 // of all this
}

// Total is what was asked of the memory.
func (r *RAM) Total() uint64 {
	return r.Packed + r.Versions + r.Chunks + r.Index + r.Space + r.Spare
}

// RAM tells how much memory the map holds, and what for.
func (m *Map) RAM() RAM {
	t := m.t
	r := RAM{Packed: t.blobs.bytes(), Versions: t.nodes.bytes(), Chunks: t.chunks.bytes(),
		Index: t.pages.bytes(), Space: m.alloc.bytes()}
	r.Spare = uint64(len(t.slabs.spare)*t.slabs.size() + len(t.slabs.rest))
	r.InUse = t.blobs.used + t.nodes.used*nodeSize + t.chunks.used*chunkSize + t.pages.used*pageSize + r.Space
	return r
}
