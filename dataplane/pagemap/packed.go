package pagemap

import (
	"math/bits"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// packed is the compact form of a chunk: one version of each of some blocks, all of them data that is stable
// and not bad. The package doc draws it. There may be room to grow between its front and its tail.
//
// What is there of each block is counted from the end: where it lies follows from the block alone in a chunk
// that is full, so a processor that guesses as much reads it while it still waits for the front.
type packed []byte

// unit is one version of a packed chunk.
type unit struct {
	w       cluster.Seq
	loc     uint32
	crc     uint32
	columns Columns
	block   uint8
}

// The forms of an image.
const (
	formRuns  = 1
	formArray = 2
)

const (
	packedHeader = 4
	dictSize     = 8
	runSize      = 12
	crcSize      = 4
	unitSize     = 13
	wordSize     = 8
	maxStep      = 8  // of a run: writes of half a chunk
	maxRuns      = 16 // of a packed chunk, so that a lookup in it is short
	maxPacked    = packedHeader + MaxChunkBlocks/64*wordSize + MaxChunkBlocks*(dictSize+unitSize)
)

func (p packed) form() byte { return p[0] }
func (p packed) dicts() int { return int(p[1]) + 1 }
func (p packed) n() int     { return int(p[2]) + 1 }
func (p packed) words() int { return int(p[3]) }     // array: of the bitmap
func (p packed) runs() int  { return int(p[3]) + 1 } // runs

// front is the length up to the dictionary or the runs; tail is the length of what is there of each block.
func (p packed) front() int {
	if p.form() == formRuns {
		return p.run(p.runs())
	}
	return p.dict(p.dicts())
}

func (p packed) tail() int {
	if p.form() == formRuns {
		return p.n() * crcSize
	}
	return p.n() * unitSize
}

// size is the length without the room between.
func (p packed) size() int { return p.front() + p.tail() }

// appendTo appends the image, without the room.
func (p packed) appendTo(dst []byte) []byte {
	return append(append(dst, p[:p.front()]...), p[len(p)-p.tail():]...)
}

// dict is where an entry of the dictionary begins, run where a run does.
func (p packed) dict(i int) int {
	if p.form() == formRuns {
		return packedHeader + i*dictSize
	}
	return packedHeader + p.words()*wordSize + i*dictSize
}

func (p packed) run(i int) int { return p.dict(p.dicts()) + i*runSize }

// crc and unit are where the checksum or the unit of the i-th block begins.
func (p packed) crc(i int) int  { return len(p) - (i+1)*crcSize }
func (p packed) unit(i int) int { return len(p) - (i+1)*unitSize }

// length counts the blocks of a run.
func (p packed) length(i int) int {
	end := p.n()
	if i+1 < p.runs() {
		end = int(p[p.run(i+1)+1])
	}
	return end - int(p[p.run(i)+1])
}

// high is what the versions of a dictionary entry have in common: the upper half of w and the columns.
func (u *unit) high() uint64 {
	return uint64(u.w)>>32 | uint64(u.columns.Set)<<32 | uint64(u.columns.Mask)<<48
}

// share sets what u has of a dictionary entry and the lower half of w.
func (u *unit) share(high uint64, low uint32) {
	u.w = cluster.Seq(high<<32 | uint64(low))
	u.columns = Columns{Set: uint16(high >> 32), Mask: uint16(high >> 48)}
}

// find gives the number of a dictionary entry, -1 if there is none.
func (p packed) find(high uint64) int {
	for i, at := 0, p.dict(0); i < p.dicts(); i, at = i+1, at+dictSize {
		if get64(p[at:]) == high {
			return i
		}
	}
	return -1
}

// rank counts the blocks of a bitmap below one, and tells whether that is in it.
func rank(bitmap []byte, block int) (n int, present bool) {
	word := block / 64
	if word >= len(bitmap)/wordSize {
		word, block = len(bitmap)/wordSize, 0
	} else {
		here := get64(bitmap[word*wordSize:])
		n = bits.OnesCount64(here & (1<<(block%64) - 1))
		present = here>>(block%64)&1 == 1
	}
	for i := range word {
		n += bits.OnesCount64(get64(bitmap[i*wordSize:]))
	}
	return n, present
}

func (p packed) bitmap() []byte { return p[packedHeader : packedHeader+p.words()*wordSize] }

// get finds the version of a block.
func (p packed) get(block int) (unit, bool) {
	if p.form() == formRuns {
		return p.getRun(block)
	}
	i, ok := rank(p.bitmap(), block)
	switch {
	case !ok:
		return unit{}, false
	case i == block: // a guess that is worth a load from memory
		return p.atUnit(block, uint8(block)), true
	}
	return p.atUnit(i, uint8(block)), true
}

// atUnit reads the i-th block of an array.
func (p packed) atUnit(i int, block uint8) unit {
	b := p[p.unit(i):][:unitSize]
	u := unit{loc: get32(b[4:]), crc: get32(b[8:]), block: block}
	u.share(get64(p[p.dict(int(b[12])):]), get32(b))
	return u
}

func (p packed) getRun(block int) (unit, bool) {
	i := p.runs() - 1
	for i > 0 && int(p[p.run(i)]) > block {
		i--
	}
	off := block - int(p[p.run(i)])
	if off < 0 || off >= p.length(i) {
		return unit{}, false
	}
	at := int(p[p.run(i)+1]) + off
	if at == block { // the same guess
		return p.inRun(i, off, get32(p[p.crc(block):])), true
	}
	return p.inRun(i, off, get32(p[p.crc(at):])), true
}

// inRun gives the off-th block of a run.
func (p packed) inRun(i, off int, crc uint32) unit {
	b := p[p.run(i):][:runSize]
	u := unit{block: b[0] + uint8(off), loc: get32(b[8:]) + uint32(off), crc: crc}
	u.share(get64(p[p.dict(int(b[2])):]), get32(b[4:]))
	u.w += climb(b[3], off)
	return u
}

// atRun reads the off-th block of a run.
func (p packed) atRun(i, off int) unit {
	return p.inRun(i, off, get32(p[p.crc(int(p[p.run(i)+1])+off):]))
}

// units appends all versions, by ascending block.
func (p packed) units(dst []unit) []unit {
	if p.form() == formRuns {
		for i := range p.runs() {
			for off := range p.length(i) {
				dst = append(dst, p.atRun(i, off))
			}
		}
		return dst
	}
	i := 0
	for w := range p.words() {
		for word := get64(p[packedHeader+w*wordSize:]); word != 0; word &= word - 1 {
			dst = append(dst, p.atUnit(i, uint8(w*64+bits.TrailingZeros64(word))))
			i++
		}
	}
	return dst
}

// follows tells whether u goes on with a run of n blocks that begins with first: in blocks, in locations, and
// in sequences. Writes of as many blocks each are one run, if that is a power of two: the first one says how
// many.
func (u *unit) follows(first *unit, n int, step uint8) (uint8, bool) {
	if step == 0 && n&(n-1) == 0 && u.w == first.w+1 {
		step = uint8(bits.Len(uint(n)))
	}
	return step, int(u.block) == int(first.block)+n && u.loc == first.loc+uint32(n) &&
		u.w == first.w+climb(step, n) && u.columns == first.columns
}

// climb is how far sequences have gone up by the off-th block of a run.
func climb(step uint8, off int) cluster.Seq {
	if step == 0 {
		return 0
	}
	return cluster.Seq(off >> (step - 1))
}

// countRuns counts the runs of ascending units, up to one more than maxRuns.
func countRuns(units []unit) int {
	runs := 0
	for i := 0; i < len(units) && runs <= maxRuns; runs++ {
		n, _ := runLength(units[i:])
		i += n
	}
	return runs
}

// fewRuns tells whether an array could be runs.
func (p packed) fewRuns() bool {
	var first unit
	runs, n, i, step := 0, 0, 0, uint8(0)
	for w := range p.words() {
		for word := get64(p[packedHeader+w*wordSize:]); word != 0; word &= word - 1 {
			u := p.atUnit(i, uint8(w*64+bits.TrailingZeros64(word)))
			i++
			if next, ok := u.follows(&first, n, step); ok && n > 0 {
				n, step = n+1, next
				continue
			}
			if runs++; runs > maxRuns {
				return false
			}
			first, n, step = u, 1, 0
		}
	}
	return true
}

// runLength counts the units that form the first run.
func runLength(units []unit) (n int, step uint8) {
	for n = 1; n < len(units); n++ {
		next, ok := units[n].follows(&units[0], n, step)
		if !ok {
			break
		}
		step = next
	}
	return n, step
}

// words counts the words of a bitmap of blocks up to one.
func words(block uint8) int { return int(block)/64 + 1 }

// appendPacked appends the smaller form of at least one ascending unit.
func appendPacked(dst []byte, units []unit) []byte {
	runs := countRuns(units)
	array := words(units[len(units)-1].block)*wordSize + len(units)*unitSize
	if runs <= maxRuns && runs*runSize+len(units)*4 < array {
		return appendRuns(dst, units, runs)
	}
	return appendArray(dst, units)
}

// appendDict appends the dictionary of units; dicts tells how many entries it has.
func appendDict(dst []byte, units []unit) (out []byte, dicts int) {
	at := len(dst)
	last := uint64(0)
	for i := range units {
		high := units[i].high()
		if (i == 0 || high != last) && indexOf(dst[at:], high) < 0 {
			dst = add64(dst, high)
		}
		last = high
	}
	return dst, (len(dst) - at) / dictSize
}

// indexOf finds an entry of a dictionary.
func indexOf(dict []byte, high uint64) int {
	for i := 0; i < len(dict); i += dictSize {
		if get64(dict[i:]) == high {
			return i / dictSize
		}
	}
	return -1
}

func appendRuns(dst []byte, units []unit, runs int) []byte {
	at := len(dst)
	dst = append(dst, formRuns, 0, uint8(len(units)-1), uint8(runs-1))
	dst, dicts := appendDict(dst, units)
	dst[at+1] = uint8(dicts - 1)
	dict := dst[at+packedHeader:]
	for i := 0; i < len(units); {
		u := &units[i]
		n, step := runLength(units[i:])
		dst = append(dst, u.block, uint8(i), uint8(indexOf(dict, u.high())), step)
		dst = add32(dst, uint32(u.w))
		dst = add32(dst, u.loc)
		i += n
	}
	for i := range slices.Backward(units) {
		dst = add32(dst, units[i].crc)
	}
	return dst
}

func appendArray(dst []byte, units []unit) []byte {
	at, n := len(dst), words(units[len(units)-1].block)
	dst = append(dst, formArray, 0, uint8(len(units)-1), uint8(n))
	for range n {
		dst = add64(dst, 0)
	}
	bitmap := dst[at+packedHeader:]
	for i := range units {
		bitmap[units[i].block/8] |= 1 << (units[i].block % 8)
	}
	from := len(dst)
	dst, dicts := appendDict(dst, units)
	dst[at+1] = uint8(dicts - 1)
	dict := dst[from:]
	for i := range slices.Backward(units) {
		dst = units[i].append(dst, indexOf(dict[:dicts*dictSize], units[i].high()))
	}
	return dst
}

// append appends the unit of an array.
func (u *unit) append(dst []byte, dict int) []byte {
	dst = add32(dst, uint32(u.w))
	dst = add32(dst, u.loc)
	dst = add32(dst, u.crc)
	return append(dst, uint8(dict))
}
