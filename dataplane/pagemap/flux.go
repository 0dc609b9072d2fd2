package pagemap

import (
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// nodeID names a version in flux; 0 is none.
type nodeID = uint32

// node is a version. Those in flux are records of the table, in lists by descending w:
//
//	 0     8     12    16      20    22     24
//	+-----+-----+-----+-------+-----+------+-------+---+
//	| w   | loc | crc | older | set | mask | flags | 0 |
//	+-----+-----+-----+-------+-----+------+-------+---+
type node struct {
	w       cluster.Seq
	loc     uint32 // data block; 0 for a tombstone
	crc     uint32
	older   nodeID
	columns Columns
	flags   flags
}

const nodeSize = 32

type flags uint8

const (
	flagTombstone flags = 1 << iota
	flagBad
	flagTorn   // bad, and known to have never been complete
	flagQueued // listed in an unstable heap: the version is not stable
)

// node reads a record.
func (t *table) node(id nodeID) node {
	b := t.nodes.at(id)[:nodeSize]
	return node{w: cluster.Seq(get64(b)), loc: get32(b[8:]), crc: get32(b[12:]), older: get32(b[16:]),
		columns: Columns{Set: get16(b[20:]), Mask: get16(b[22:])}, flags: flags(b[24])}
}

// older reads the link of a record, w its sequence.
func (t *table) older(id nodeID) nodeID  { return get32(t.nodes.at(id)[16:]) }
func (t *table) w(id nodeID) cluster.Seq { return cluster.Seq(get64(t.nodes.at(id))) }
func (t *table) flags(id nodeID) flags   { return flags(t.nodes.at(id)[24]) }

func (t *table) setNode(id nodeID, n *node) {
	b := t.nodes.at(id)[:nodeSize]
	put64(b, uint64(n.w))
	put32(b[8:], n.loc)
	put32(b[12:], n.crc)
	put32(b[16:], n.older)
	put16(b[20:], n.columns.Set)
	put16(b[22:], n.columns.Mask)
	b[24] = uint8(n.flags)
}

// atRest tells whether a version may be packed.
func (n *node) atRest() bool { return n.flags == 0 }

func (n *node) unit(block uint16) unit {
	return unit{w: n.w, loc: n.loc, crc: n.crc, columns: n.columns, block: uint8(block)}
}

func (u *unit) node() node { return node{w: u.w, loc: u.loc, crc: u.crc, columns: u.columns} }

// The flux blob of a chunk says which of its blocks have versions in flux.
//
//	 0          4   5   6   8
//	+----------+---+---+---+---------+-----------+
//	| versions | B | 0 | n | B * u64 | n * head  |
//	+----------+---+---+---+---------+-----------+
//	            words       bitmap     newest node
const fluxHeader = 8

type fluxBlob []byte

func (f fluxBlob) bitmap() []byte    { return f[fluxHeader : fluxHeader+int(f[4])*wordSize] }
func (f fluxBlob) head(i int) []byte { return f[fluxHeader+int(f[4])*wordSize+i*4:] }
func (f fluxBlob) n() int            { return int(get16(f[6:])) }

// inFlux counts the versions of a chunk that are in flux.
func (t *table) inFlux(c chunkMap) uint32 {
	if h := c.flux(); h != 0 {
		return get32(t.blobs.at(h))
	}
	return 0
}

// addFlux counts a version in flux; the chunk has a flux blob.
func (t *table) addFlux(c chunkMap, one uint32) {
	b := t.blobs.at(c.flux())
	put32(b, get32(b)+one)
}

// head is the newest version of a block that is in flux, if one is.
func (t *table) head(c chunkMap, block uint16) nodeID {
	h := c.flux()
	if h == 0 {
		return 0
	}
	f := fluxBlob(t.blobs.at(h))
	if i, ok := rank(f.bitmap(), int(block)); ok {
		return get32(f.head(i))
	}
	return 0
}

// nextInFlux gives the first block from one on that has a version in flux, -1 if there is none.
func (t *table) nextInFlux(c chunkMap, from int) int {
	h := c.flux()
	if h == 0 {
		return -1
	}
	return nextBit(fluxBlob(t.blobs.at(h)).bitmap(), from)
}

// nextBit gives the first block of a bitmap from one on, -1 if there is none.
func nextBit(bitmap []byte, from int) int {
	for w := from / 64; w < len(bitmap)/wordSize; w, from = w+1, 0 {
		if word := get64(bitmap[w*wordSize:]) >> (from % 64); word != 0 {
			return w*64 + from%64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// setHead makes a version the newest in flux of a block; 0: none is.
func (t *table) setHead(c chunkMap, block uint16, id nodeID) {
	if c.flux() == 0 {
		t.beginFlux(c, block)
	}
	f := fluxBlob(t.blobs.at(c.flux()))
	if words(uint8(block)) > int(f[4]) {
		f = t.widenFlux(c, words(uint8(block)))
	}
	i, ok := rank(f.bitmap(), int(block))
	n := f.n()
	switch {
	case ok && id != 0:
		put32(f.head(i), id)
	case ok:
		copy(f.head(i), f.head(i + 1)[:(n-i-1)*4])
		f.bitmap()[block/8] &^= 1 << (block % 8)
		put16(f[6:], uint16(n-1))
		if n == 1 {
			h := c.flux()
			c.setFlux(0)
			t.blobs.free(h)
		}
	case id != 0:
		if size := fluxHeader + len(f.bitmap()) + (n+1)*4; size > len(f) {
			c.setFlux(t.blobs.resize(c.flux(), size, 0))
			f = t.blobs.at(c.flux())
		}
		copy(f.head(i+1), f.head(i)[:(n-i)*4])
		put32(f.head(i), id)
		f.bitmap()[block/8] |= 1 << (block % 8)
		put16(f[6:], uint16(n+1))
	}
}

func (t *table) beginFlux(c chunkMap, block uint16) {
	n := words(uint8(block))
	c.setFlux(t.blobs.alloc(c.id, fluxHeader+n*wordSize+4))
	f := t.blobs.at(c.flux())
	clear(f[:fluxHeader+n*wordSize])
	f[4] = uint8(n)
}

// widenFlux makes the bitmap longer.
func (t *table) widenFlux(c chunkMap, n int) fluxBlob {
	f := fluxBlob(t.blobs.at(c.flux()))
	size := fluxHeader + n*wordSize + f.n()*4
	if size > len(f) {
		c.setFlux(t.blobs.resize(c.flux(), size, 0))
		f = t.blobs.at(c.flux())
	}
	old, heads := int(f[4]), f.head(0)[:f.n()*4]
	copy(f[fluxHeader+n*wordSize:], heads)
	clear(f[fluxHeader+old*wordSize : fluxHeader+n*wordSize])
	f[4] = uint8(n)
	return f
}

// place is where a version stands in the list of a block: behind prev, 0 for the first.
type place struct {
	prev, id nodeID
}

// find gives the place of version w of a block, or where it belongs: id is the newest that is not newer.
func (t *table) find(c chunkMap, block uint16, w cluster.Seq) place {
	p := place{id: t.head(c, block)}
	for p.id != 0 && t.w(p.id) > w {
		p.prev, p.id = p.id, t.older(p.id)
	}
	return p
}

// link lets what stands before a place name another version.
func (t *table) link(c chunkMap, block uint16, p place, id nodeID) {
	if p.prev == 0 {
		t.setHead(c, block, id)
		return
	}
	put32(t.nodes.at(p.prev)[16:], id)
}

// insert puts a version in flux, at its place.
func (t *table) insert(c chunkMap, block uint16, p place, n *node) nodeID {
	id, _ := t.nodes.get()
	n.older = p.id
	t.setNode(id, n)
	t.link(c, block, p, id)
	t.addFlux(c, 1)
	return id
}

// unlink takes the version at a place out of flux.
func (t *table) unlink(c chunkMap, block uint16, p place) {
	t.addFlux(c, minus32)
	t.link(c, block, p, t.older(p.id))
	t.nodes.put(p.id)
}

const minus32 = 1<<32 - 1
