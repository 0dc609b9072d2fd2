package pagemap

import (
	"fmt"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// MaxImage is the room that any image fits in, if those of versions are cut to it.
const MaxImage = 4000

const (
	versionsHeader = 4
	versionSize    = 22
)

// Flags of a version in an image.
const (
	imageTombstone = 1
	imageBad       = 2
	imageTorn      = 3
)

// image is what was read of a chunk, valid in itself: every read of it stays in its bounds. Whether a map can
// hold it is another question.
type image []byte

// parseImage checks that b is one image, no more and no less.
func parseImage(b []byte) (image, error) {
	fail := func(format string, args ...any) (image, error) {
		return nil, fmt.Errorf("%w: image of %d bytes: %s", ErrCorrupt, len(b), fmt.Sprintf(format, args...))
	}
	if len(b) < packedHeader {
		return fail("no header")
	}
	var bad string
	switch p := packed(b); p.form() {
	case formRuns:
		bad = p.badRuns()
	case formArray:
		bad = p.badArray()
	case formVersions:
		bad = image(b).badVersions()
	default:
		bad = "unknown"
	}
	if bad != "" {
		return fail("form %d: %s", b[0], bad)
	}
	return b, nil
}

func (p packed) badRuns() string {
	if p.size() != len(p) {
		return "length"
	}
	at, block := 0, 0
	for i := range p.runs() {
		b := p[p.run(i):]
		first, dict, step, low, loc := int(b[0]), int(b[2]), b[3], get32(b[4:]), get32(b[8:])
		if int(b[1]) != at || p.length(i) <= 0 || first < block || dict >= p.dicts() || step > 1 {
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
		b := p[p.unit(i):]
		if dict := int(b[12]); dict >= p.dicts() || uint32(get64(p[p.dict(dict):])) == 0 && get32(b) == 0 {
			return fmt.Sprintf("dictionary or sequence of entry %d", i)
		}
	}
	return ""
}

// count is how many versions an image has.
func (b image) count() int {
	if b[0] == formVersions {
		return int(get16(b[2:])) + 1
	}
	return packed(b).n()
}

func (b image) badVersions() string {
	if b[1] != 0 || len(b) != versionsHeader+b.count()*versionSize {
		return "length"
	}
	var last ChunkVersion
	for i := range b.count() {
		v := b.version(i)
		flags := b[versionsHeader+i*versionSize+21]
		if v.W == 0 || flags > imageTorn || v.Tombstone && (v.Loc != 0 || v.CRC != 0) {
			return fmt.Sprintf("version %d", i)
		}
		if i > 0 && (v.Block < last.Block || v.Block == last.Block && v.W >= last.W) {
			return fmt.Sprintf("order of version %d", i)
		}
		last = v
	}
	return ""
}

// version reads the i-th of an image of versions.
func (b image) version(i int) ChunkVersion {
	p := b[versionsHeader+i*versionSize:][:versionSize]
	return ChunkVersion{W: cluster.Seq(get64(p)), Loc: uint64(get32(p[8:])), CRC: get32(p[12:]),
		Columns: Columns{Set: get16(p[16:]), Mask: get16(p[18:])}, Block: uint16(p[20]),
		Tombstone: p[21] == imageTombstone, Bad: p[21] == imageBad || p[21] == imageTorn, Torn: p[21] == imageTorn}
}

// appendVersions appends an image of at least one version, ordered by block and descending W.
func appendVersions(dst []byte, versions []ChunkVersion) []byte {
	dst = append(dst, formVersions, 0)
	dst = add16(dst, uint16(len(versions)-1))
	for i := range versions {
		v := &versions[i]
		dst = add64(dst, uint64(v.W))
		dst = add32(dst, uint32(v.Loc))
		dst = add32(dst, v.CRC)
		dst = add16(dst, v.Set)
		dst = add16(dst, v.Mask)
		flags := byte(0)
		switch {
		case v.Tombstone:
			flags = imageTombstone
		case v.Torn:
			flags = imageTorn
		case v.Bad:
			flags = imageBad
		}
		dst = append(dst, uint8(v.Block), flags)
	}
	return dst
}

// versions appends what an image says.
func (b image) versions(dst []ChunkVersion) []ChunkVersion {
	if b[0] == formVersions {
		for i := range b.count() {
			dst = append(dst, b.version(i))
		}
		return dst
	}
	for _, u := range packed(b).units(nil) {
		dst = append(dst, ChunkVersion{Block: uint16(u.block), W: u.w, Loc: uint64(u.loc), CRC: u.crc,
			Columns: u.columns})
	}
	return dst
}
