package pagestore

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// Flags of a version in an image: what it has in common with the one before. Part of the format.
const (
	verTombstone = 1 << iota
	verBad
	verColumns // the same columns
	verBlock   // the next block
	verLoc     // the next data block
	verW       // the same sequence
	verTorn    // beside verBad
)

// Bounds of images, in bytes.
const (
	maxImageHeader = 1 + maxVolume + maxPlace + 3
	maxVersion     = 1 + 1 + 10 + 6 + 5 + 4
	maxEnd         = 1 + 10 + 10 + 10 + maxVolume + 10 + 1 + 10
)

// image appends the image of a chunk, or a part of it: what its versions have in common is said once, numbers
// are differences. Without versions: the chunk is gone.
func (x *prior) image(b []byte, e *pagemap.Extent, versions []pagemap.ChunkVersion) []byte {
	if len(versions) == 0 {
		return x.place(x.start(b, ckptImage|flagTombstone, e.Vol), e)
	}
	b = appendResidency(x.place(x.start(b, ckptImage, e.Vol), e), e.Residency)
	b = binary.AppendUvarint(b, uint64(len(versions)))
	block, columns := uint16(1<<16-1), pagemap.Columns{}
	for i := range versions {
		v := &versions[i]
		at := len(b)
		b = append(b, 0)
		flags := byte(0)
		if v.Block == block+1 {
			flags |= verBlock
		} else {
			b = append(b, byte(v.Block))
		}
		if v.W == x.w {
			flags |= verW
		} else {
			b = x.seq(b, v.W)
		}
		if v.Columns == columns {
			flags |= verColumns
		} else {
			b = appendColumns(b, v.Columns)
		}
		if v.Bad {
			flags |= verBad
		}
		if v.Torn {
			flags |= verTorn
		}
		switch {
		case v.Tombstone:
			flags |= verTombstone
		case v.Loc == x.loc+1:
			flags |= verLoc
			x.loc++
		default:
			b = binary.AppendUvarint(b, zigzag(int64(v.Loc-x.loc)))
			x.loc = v.Loc
		}
		if !v.Tombstone {
			b = binary.LittleEndian.AppendUint32(b, v.CRC)
		}
		b[at], block, columns = flags, v.Block, v.Columns
	}
	return b
}

// readImage reads the image at the start of b, its versions into dst, and returns its length. No versions:
// the chunk is gone.
func (x *prior) readImage(b []byte, dst []pagemap.ChunkVersion) (pagemap.Extent, []pagemap.ChunkVersion,
	int, error) {
	r := reader{b: b}
	first := r.byte()
	e := pagemap.Extent{Vol: x.volume(&r, first)}
	x.readPlace(&r, &e)
	n := 0
	if first&flagTombstone == 0 {
		e.Residency = r.residency()
		if n = int(r.uvarint(maxBlock)); n == 0 || !e.Vol.Valid() {
			r.bad = true
		}
	}
	block, columns := uint16(1<<16-1), pagemap.Columns{}
	for ; n > 0 && !r.bad; n-- {
		flags := r.byte()
		v := pagemap.ChunkVersion{Tombstone: flags&verTombstone != 0, Bad: flags&verBad != 0,
			Torn: flags&verTorn != 0}
		if block++; flags&verBlock == 0 {
			block = uint16(r.byte())
		}
		if flags&verW == 0 {
			x.w += cluster.Seq(r.delta())
		}
		if flags&verColumns == 0 {
			columns = r.columns()
		}
		if !v.Tombstone {
			if x.loc++; flags&verLoc == 0 {
				x.loc += r.delta() - 1
			}
			v.Loc, v.CRC = x.loc, r.uint32()
		}
		v.Block, v.W, v.Columns = block, x.w, columns
		dst = append(dst, v)
	}
	if r.bad {
		return e, dst, 0, fmt.Errorf("%w: image of %v", errShort, e)
	}
	return e, dst, len(b) - len(r.b), nil
}

// packed appends a chunk that is at rest, as it is in memory.
func (x *prior) packed(b []byte, e *pagemap.Extent, image pagemap.Image) []byte {
	b = appendResidency(x.place(x.start(b, ckptPacked, e.Vol), e), e.Residency)
	return append(binary.AppendUvarint(b, uint64(len(image))), image...)
}

// readPacked reads what packed appended at the start of b, and returns its length. The image is a part of b,
// and nobody has looked at it.
func (x *prior) readPacked(b []byte) (pagemap.Extent, pagemap.Image, int, error) {
	r := reader{b: b}
	first := r.byte()
	e := pagemap.Extent{Vol: x.volume(&r, first)}
	x.readPlace(&r, &e)
	e.Residency = r.residency()
	image := r.bytes(int(r.uvarint(maxBlock)))
	if r.bad || !e.Vol.Valid() {
		return e, nil, 0, fmt.Errorf("%w: packed image of %v", errShort, e)
	}
	return e, image, len(b) - len(r.b), nil
}

// ckptTotals ends a checkpoint: what must have been loaded, and where the round goes on.
type ckptTotals struct {
	versions uint64
	logNext  uint64
	round    pagemap.Round
}

// appendEnd appends the last record of a checkpoint.
func appendEnd(b []byte, t *ckptTotals) []byte {
	b = append(b, ckptEnd)
	r := &t.round
	for _, v := range []uint64{t.versions, t.logNext, r.First, uint64(r.Vol.VUID), uint64(r.Vol.Generation),
		r.Page, uint64(r.Column), r.Passed} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func readEnd(b []byte) (ckptTotals, int, error) {
	r := reader{b: b[1:]}
	const any64 = 1<<64 - 1
	t := ckptTotals{versions: r.uvarint(any64), logNext: r.uvarint(any64)}
	t.round = pagemap.Round{First: r.uvarint(any64), Vol: cluster.VolumeKey{VUID: uint32(r.uvarint(1<<32 - 1)),
		Generation: uint32(r.uvarint(1<<32 - 1))}, Page: r.uvarint(any64), Column: uint8(r.uvarint(1<<8 - 1)),
		Passed: r.uvarint(any64)}
	if r.bad {
		return t, 0, fmt.Errorf("%w: end of a checkpoint", errShort)
	}
	return t, len(b) - len(r.b), nil
}
