package pagemap

import (
	"fmt"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Image is the packed form of a chunk, for who keeps it elsewhere. The package doc draws it.
type Image []byte

// Count is how many versions an image has.
func (b Image) Count() int { return packed(b).n() }

// Versions appends what an image says, by ascending block.
func (b Image) Versions(dst []ChunkVersion) []ChunkVersion {
	for _, u := range packed(b).units(nil) {
		dst = append(dst, ChunkVersion{Block: uint16(u.block), W: u.w, Loc: uint64(u.loc), CRC: u.crc,
			Columns: u.columns})
	}
	return dst
}

// Most gives a sequence that is above all of an image, though not by much, and all columns of it.
func (b Image) Most() (w cluster.Seq, c Columns) {
	for p, i := packed(b), 0; i < p.dicts(); i++ {
		var u unit
		u.share(get64(p[p.dict(i):]), 0)
		w = max(w, u.w+1<<32)
		c.Set, c.Mask = c.Set|u.columns.Set, c.Mask|u.columns.Mask
	}
	return w, c
}

// parseImage checks that b is one image, no more and no less: every read of it stays in its bounds. Whether a
// map can hold it is another question.
func parseImage(b Image) (packed, error) {
	fail := func(format string, args ...any) (packed, error) {
		return nil, fmt.Errorf("%w: image of %d bytes: %s", ErrCorrupt, len(b), fmt.Sprintf(format, args...))
	}
	if len(b) < packedHeader {
		return fail("no header")
	}
	p, bad := packed(b), ""
	switch p.form() {
	case formRuns:
		bad = p.badRuns()
	case formArray:
		bad = p.badArray()
	default:
		bad = "unknown"
	}
	if bad != "" {
		return fail("form %d: %s", b[0], bad)
	}
	return p, nil
}

func (p packed) badRuns() string {
	if p.size() != len(p) || p.runs() > maxRuns {
		return "length"
	}
	at, block := 0, 0
	for i := range p.runs() {
		b := p[p.run(i):]
		first, dict, step, low, loc := int(b[0]), int(b[2]), b[3], get32(b[4:]), get32(b[8:])
		if int(b[1]) != at || p.length(i) <= 0 || first < block || dict >= p.dicts() || step > maxStep {
			return fmt.Sprintf("run %d", i)
		}
		at, block = at+p.length(i), first+p.length(i)
		w := get64(p[p.dict(dict):])<<32 | uint64(low)
		if block > MaxChunkBlocks || uint64(loc)+uint64(p.length(i)) > MaxBlocks || w == 0 ||
			w+uint64(p.length(i)) < w {
			return fmt.Sprintf("range of run %d", i)
		}
	}
	if at != p.n() {
		return "blocks"
	}
	return ""
}

func (p packed) badArray() string {
	if p.words() == 0 || p.words() > MaxChunkBlocks/64 || p.size() != len(p) {
		return "length"
	}
	n := 0
	for i := range p.words() {
		n += bits.OnesCount64(get64(p.bitmap()[i*wordSize:]))
	}
	if n != p.n() || get64(p.bitmap()[(p.words()-1)*wordSize:]) == 0 {
		return "bitmap"
	}
	for i := range n {
		b := p[p.unit(i):][:unitSize]
		if dict := int(b[12]); dict >= p.dicts() || get32(b) == 0 && uint32(get64(p[p.dict(dict):])) == 0 {
			return fmt.Sprintf("dictionary or sequence of entry %d", i)
		}
	}
	return ""
}
