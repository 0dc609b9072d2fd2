package pagemap

import (
	"iter"
	"math/bits"
)

// scratch is where packed chunks are taken apart and put together.
type scratch struct {
	units []unit
	bytes []byte
}

// packedOf is the packed part of a chunk, nil if nothing of it is at rest. It is good until the arena
// changes.
func (t *table) packedOf(c chunkMap) packed {
	if h := c.packed(); h != 0 {
		return packed(t.blobs.at(h))
	}
	return nil
}

// rest gives the version of a block that is at rest: older than all that are in flux.
func (t *table) rest(c chunkMap, block uint16) (unit, bool) {
	if h := c.packed(); h != 0 {
		return packed(t.blobs.at(h)).get(int(block))
	}
	return unit{}, false
}

// hasRest tells whether there is one.
func (t *table) hasRest(c chunkMap, block uint16) bool {
	p := t.packedOf(c)
	if p == nil {
		return false
	}
	if p.form() == formArray {
		_, ok := rank(p.bitmap(), int(block))
		return ok
	}
	_, ok := p.getRun(int(block))
	return ok
}

// atRest counts the versions of a chunk that are at rest.
func (t *table) atRest(c chunkMap) int {
	if p := t.packedOf(c); p != nil {
		return p.n()
	}
	return 0
}

// setRest makes a version the one at rest of its block. That takes constant time when the chunk is an array,
// or when the block comes behind all others. Any other change makes an array of runs, once: whether it can be
// runs again is looked at when half of it was changed since.
func (t *table) setRest(c chunkMap, u *unit) {
	p := t.packedOf(c)
	switch {
	case p == nil:
		t.scratch.units = append(t.scratch.units[:0], *u)
		t.store(c, appendPacked(t.scratch.bytes[:0], t.scratch.units))
	case p.form() == formArray:
		t.setInArray(c, p, u)
	case !t.extendRuns(c, p, u):
		t.scratch.units = withUnit(p.units(t.scratch.units[:0]), u)
		t.store(c, appendArray(t.scratch.bytes[:0], t.scratch.units))
	}
}

// withUnit puts a unit among ascending ones.
func withUnit(units []unit, u *unit) []unit {
	i := len(units)
	for i > 0 && units[i-1].block >= u.block {
		i--
	}
	if i == len(units) || units[i].block != u.block {
		units = append(units, unit{})
		copy(units[i+1:], units[i:])
	}
	units[i] = *u
	return units
}

// store makes an image, in the scratch bytes, the packed part of a chunk.
func (t *table) store(c chunkMap, b packed) {
	t.scratch.bytes = b
	t.keep(c, b)
}

// keep makes an image, which is copied, the packed part of a chunk.
func (t *table) keep(c chunkMap, b packed) {
	c.looked()
	if c.packed() == 0 {
		c.setPacked(t.blobs.alloc(c.id, len(b)))
	} else {
		c.setPacked(t.blobs.resize(c.packed(), len(b), 0))
	}
	p := t.packedOf(c)
	copy(p, b[:b.front()])
	copy(p[len(p)-b.tail():], b[b.front():])
}

// fit gives the packed part of a chunk room for n bytes, and little more.
func (t *table) fit(c chunkMap, p packed, n int) packed {
	c.setPacked(t.blobs.resize(c.packed(), n, p.tail()))
	return t.packedOf(c)
}

// extendRuns adds a block behind all others: to the last run or, if that is no longer than an array, as
// another one.
func (t *table) extendRuns(c chunkMap, p packed, u *unit) bool {
	last := p.runs() - 1
	n := p.length(last)
	first := p.atRun(last, 0)
	if int(u.block) < int(first.block)+n {
		return false
	}
	step, follows := u.follows(&first, n, p[p.run(last)+3])
	more := crcSize
	if !follows {
		if more += runSize; p.runs() == maxRuns || p.find(u.high()) < 0 ||
			p.size()+more > p.dict(p.dicts())+words(u.block)*wordSize+(p.n()+1)*unitSize {
			return false
		}
	}
	if size := p.size() + more; size > len(p) {
		p = t.fit(c, p, size)
	}
	if follows {
		p[p.run(last)+3] = step
	} else {
		b := p[p.run(last+1):]
		b[0], b[1], b[2], b[3] = u.block, uint8(p.n()), uint8(p.find(u.high())), 0
		put32(b[4:], uint32(u.w))
		put32(b[8:], u.loc)
		p[3]++
	}
	put32(p[p.crc(p.n()):], u.crc)
	p[2]++
	return true
}

// setInArray writes one block of an array.
func (t *table) setInArray(c chunkMap, p packed, u *unit) {
	c.written()
	i, present := rank(p.bitmap(), int(u.block))
	dict := p.find(u.high())
	if !present || dict < 0 {
		if p, dict = t.widen(c, p, u, dict, present); p == nil {
			return
		}
	}
	if !present {
		copy(p[p.unit(p.n()):], p[p.unit(p.n()-1):p.unit(i-1)])
		p.bitmap()[u.block/8] |= 1 << (u.block % 8)
		p[2]++
	}
	b := p[p.unit(i):][:unitSize]
	put32(b, uint32(u.w))
	put32(b[4:], u.loc)
	put32(b[8:], u.crc)
	b[12] = uint8(dict)
}

// widen makes room in an array for one more block or dictionary entry. A dictionary is swept before it gets
// longer than it was when it was last swept, twice over: then the array is written anew, nil is returned and
// the block is in it.
func (t *table) widen(c chunkMap, p packed, u *unit, dict int, present bool) (packed, int) {
	if d := p.dicts(); dict < 0 && d >= 4 && bits.OnesCount(uint(d)) == 1 {
		t.scratch.units = withUnit(p.units(t.scratch.units[:0]), u)
		t.store(c, appendArray(t.scratch.bytes[:0], t.scratch.units))
		return nil, 0
	}
	size := p.size()
	more, wider := 0, max(words(u.block)-p.words(), 0)*wordSize
	if dict < 0 {
		more = dictSize
	}
	if !present {
		more += unitSize
	}
	if size += more + wider; size > len(p) {
		p = t.fit(c, p, size)
	}
	if wider > 0 {
		copy(p[p.dict(0)+wider:], p[p.dict(0):p.front()])
		clear(p[p.dict(0) : p.dict(0)+wider])
		p[3] = uint8(words(u.block))
	}
	if dict < 0 {
		dict = p.dicts()
		put64(p[p.front():], u.high())
		p[1]++
	}
	return p, dict
}

// dropRest forgets the version of a block that is at rest.
func (t *table) dropRest(c chunkMap, block uint16) {
	p := t.packedOf(c)
	if p.n() == 1 {
		h := c.packed()
		c.setPacked(0)
		t.blobs.free(h)
		return
	}
	if p.form() == formRuns {
		t.scratch.units = p.units(t.scratch.units[:0])
		t.store(c, appendArray(t.scratch.bytes[:0], t.scratch.units))
		p = t.packedOf(c)
	}
	c.written()
	i, _ := rank(p.bitmap(), int(block))
	copy(p[p.unit(p.n()-2):], p[p.unit(p.n()-1):p.unit(i)])
	p.bitmap()[block/8] &^= 1 << (block % 8)
	p[2]--
	if n := p.words(); n > 1 && get64(p.bitmap()[(n-1)*wordSize:]) == 0 {
		t.scratch.units = p.units(t.scratch.units[:0])
		t.store(c, appendArray(t.scratch.bytes[:0], t.scratch.units))
	} else if size := p.size(); size < len(p)*3/4 {
		t.fit(c, p, size)
	}
}

// settleDown looks, when nothing of a chunk is in flux any more and half of it was changed since the last
// time, whether it can be runs.
func (t *table) settleDown(c chunkMap) {
	p := t.packedOf(c)
	if p == nil || p.form() == formRuns || c.flux() != 0 || 2*c.fresh() < p.n() {
		return
	}
	c.looked()
	if p.fewRuns() {
		t.scratch.units = p.units(t.scratch.units[:0])
		t.store(c, appendPacked(t.scratch.bytes[:0], t.scratch.units))
	}
}

// unrest puts the version at rest of a block in flux, as the oldest.
func (t *table) unrest(c chunkMap, block uint16) {
	u, ok := t.rest(c, block)
	if !ok {
		return
	}
	t.dropRest(c, block)
	n := u.node()
	t.insert(c, block, t.find(c, block, 0), &n)
}

// nextAtRest gives the first block from one on that has a version at rest, -1 if there is none.
func (t *table) nextAtRest(c chunkMap, from int) int {
	p := t.packedOf(c)
	if p == nil {
		return -1
	}
	if p.form() == formArray {
		return nextBit(p.bitmap(), from)
	}
	for i := range p.runs() {
		if first := int(p[p.run(i)]); from < first+p.length(i) {
			return max(first, from)
		}
	}
	return -1
}

// nextBlock gives the first block from one on that has any version, -1 if there is none.
func (t *table) nextBlock(c chunkMap, from int) int {
	a, b := t.nextInFlux(c, from), t.nextAtRest(c, from)
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// versions gives those of a block, newest first. The chunk must not change meanwhile.
func (t *table) versions(c chunkMap, block uint16) iter.Seq[node] {
	return func(yield func(node) bool) {
		for id := t.head(c, block); id != 0; {
			n := t.node(id)
			if !yield(n) {
				return
			}
			id = n.older
		}
		if u, ok := t.rest(c, block); ok {
			yield(u.node())
		}
	}
}

// count is how many versions a chunk has.
func (t *table) count(c chunkMap) int { return int(t.inFlux(c)) + t.atRest(c) }

// clear empties a chunk, and tells of every version that it had.
func (t *table) clear(c chunkMap, each func(*node)) {
	for b := t.nextInFlux(c, 0); b >= 0; b = t.nextInFlux(c, b+1) {
		for id := t.head(c, uint16(b)); id != 0; {
			n := t.node(id)
			each(&n)
			t.nodes.put(id)
			id = n.older
		}
	}
	if h := c.flux(); h != 0 {
		c.setFlux(0)
		t.blobs.free(h)
	}
	p := t.packedOf(c)
	if p == nil {
		return
	}
	t.scratch.units = p.units(t.scratch.units[:0])
	for i := range t.scratch.units {
		n := t.scratch.units[i].node()
		each(&n)
	}
	h := c.packed()
	c.setPacked(0)
	t.blobs.free(h)
}
