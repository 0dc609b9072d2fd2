package pagemap

import (
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// packed is the compact form of a chunk: one version of each of some blocks, all of them data that is stable
// and not bad. The package doc draws it. Behind its size bytes may follow room to grow.
type packed []byte

// unit is one version of a packed chunk.
type unit struct {
	w       cluster.Seq
	loc     uint32
	crc     uint32
	columns Columns
	block   uint8
}

// The forms of an image; the first two are packed.
const (
	formRuns     = 1
	formArray    = 2
	formVersions = 3
)

const (
	packedHeader = 4
	dictSize     = 8
	runSize      = 12
	unitSize     = 13
	wordSize     = 8
	maxRuns      = 16 // of a packed chunk, so that a lookup in it is short
	maxPacked    = packedHeader + MaxChunkBlocks/64*wordSize + MaxChunkBlocks*(dictSize+unitSize)
)

func (p packed) form() byte { return p[0] }
func (p packed) dicts() int { return int(p[1]) + 1 }
func (p packed) n() int     { return int(p[2]) + 1 }
func (p packed) words() int { return int(p[3]) }     // array: of the bitmap
func (p packed) runs() int  { return int(p[3]) + 1 } // runs

// size is the length without the room behind.
func (p packed) size() int {
	if p.form() == formRuns {
		return packedHeader + p.dicts()*dictSize + p.runs()*runSize + p.n()*4
	}
	return p.unit(p.n())
}

// dict is where an entry of the dictionary begins.
func (p packed) dict(i int) int {
	if p.form() == formRuns {
		return packedHeader + i*dictSize
	}
	return packedHeader + p.words()*wordSize + i*dictSize
}

// run and sum are where a run and the checksum of the i-th block begin; unit is where that block of an array
// does.
func (p packed) run(i int) int  { return p.dict(p.dicts()) + i*runSize }
func (p packed) sum(i int) int  { return p.run(p.runs()) + i*4 }
func (p packed) unit(i int) int { return p.dict(p.dicts()) + i*unitSize }

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
func (p packed) get(block int) (u unit, ok bool) {
	if p.form() == formRuns {
		return p.getRun(block)
	}
	i, ok := rank(p.bitmap(), block)
	if ok {
		u = p.atUnit(i, uint8(block))
	}
	return u, ok
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
	return p.atRun(i, off), true
}

// atRun reads the off-th block of a run.
func (p packed) atRun(i, off int) unit {
	b := p[p.run(i):][:runSize]
	u := unit{block: b[0] + uint8(off), loc: get32(b[8:]) + uint32(off), crc: get32(p[p.sum(int(b[1])+off):])}
	u.share(get64(p[p.dict(int(b[2])):]), get32(b[4:]))
	u.w += cluster.Seq(b[3]) * cluster.Seq(off)
	return u
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
// in sequences that all are one, or go up by one.
func (u *unit) follows(first *unit, n int, step uint8) (uint8, bool) {
	if n == 1 {
		step = uint8(min(u.w-first.w, 2))
	}
	return step, int(u.block) == int(first.block)+n && u.loc == first.loc+uint32(n) && step <= 1 &&
		u.w == first.w+cluster.Seq(n)*cluster.Seq(step) && u.columns == first.columns
}

// countRuns counts the runs of ascending units, up to one more than maxRuns.
func countRuns(units []unit) int {
	runs := 0
	for i := 0; i < len(units) && runs <= maxRuns; runs++ {
		i += runLength(units[i:])
	}
	return runs
}

// runLength counts the units that form the first run.
func runLength(units []unit) int {
	step, ok := uint8(0), false
	for n := 1; n < len(units); n++ {
		if step, ok = units[n].follows(&units[0], n, step); !ok {
			return n
		}
	}
	return len(units)
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
		u, n, step := &units[i], runLength(units[i:]), uint8(0)
		if n > 1 {
			step = uint8(units[i+1].w - u.w)
		}
		dst = append(dst, u.block, uint8(i), uint8(indexOf(dict, u.high())), step)
		dst = add32(dst, uint32(u.w))
		dst = add32(dst, u.loc)
		i += n
	}
	for i := range units {
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
	for i := range units {
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
