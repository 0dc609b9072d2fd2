package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// superCopies is how many superblocks there are.
const superCopies = 2

// superWords is the number of 64-bit fields of a superblock.
const superWords = 14

// superSize is the payload of a superblock: with its header less than a sector.
const superSize = 8*superWords + 8

// ckptRef names a checkpoint: a part of the ring, and what it contains.
type ckptRef struct {
	number  uint64
	tail    uint64 // position of the first segment
	head    uint64 // position behind the last segment
	logNext uint64 // first log position that is not contained
	start   uint64 // position where the present round began
	last    segmentRef
}

// segmentRef says how a segment must look that lies before a known position.
type segmentRef struct {
	units uint32
	crc   uint32
}

// super is a decoded superblock.
type super struct {
	id          identity
	seq         uint64 // counts updates
	incarnation uint64 // counts mounts
	lay         layout
	ckpt        ckptRef
}

func (s *super) encode(b []byte) {
	clear(b)
	l, c, le := &s.lay, &s.ckpt, binary.LittleEndian
	p := b[headerSize:]
	for i, v := range [superWords]uint64{l.total, uint64(l.unit), l.logStart, l.logBlocks, l.ckptStart[0],
		l.ckptStart[1], l.ckptBlocks, l.dataStart, l.dataBlocks, c.number, c.tail, c.head, c.logNext, c.start} {
		le.PutUint64(p[8*i:], v)
	}
	le.PutUint32(p[8*superWords:], c.last.units)
	le.PutUint32(p[8*superWords+4:], c.last.crc)
	h := header{kind: superBlock, used: superSize, id: s.id, incarnation: s.incarnation, seq: s.seq}
	h.seal(b)
}

// decodeSuper reads one superblock. device is the size of the device in blocks.
func decodeSuper(b []byte, device uint64) (super, error) {
	h, err := openBlock(b, superBlock, BlockSize)
	if err != nil {
		return super{}, err
	}
	if h.used != superSize {
		return super{}, fmt.Errorf("superblock of %d bytes", h.used)
	}
	var v [superWords]uint64
	le, p := binary.LittleEndian, b[headerSize:]
	for i := range v {
		v[i] = le.Uint64(p[8*i:])
	}
	s := super{id: h.id, seq: h.seq, incarnation: h.incarnation,
		lay: layout{total: v[0], unit: int(min(v[1], 1<<20)), logStart: v[2], logBlocks: v[3],
			ckptStart: [2]uint64{v[4], v[5]}, ckptBlocks: v[6], dataStart: v[7], dataBlocks: v[8]},
		ckpt: ckptRef{number: v[9], tail: v[10], head: v[11], logNext: v[12], start: v[13],
			last: segmentRef{units: le.Uint32(p[8*superWords:]), crc: le.Uint32(p[8*superWords+4:])}}}
	if err := s.lay.validate(device); err != nil {
		return s, fmt.Errorf("superblock: %w", err)
	}
	c := &s.ckpt
	if c.head <= c.tail || c.head-c.tail > s.lay.area(0).units || c.start < c.tail || c.start > c.head ||
		c.last.units == 0 || uint64(c.last.units) > c.head-c.tail {
		return s, errors.New("superblock: checkpoint outside its ring")
	}
	return s, nil
}

// readSuper reads a superblock of any format version: what this release cannot use is refused with a
// versionError, but says whose the device is.
func readSuper(b []byte, device uint64) (super, error) {
	if len(b) < headerSize || binary.LittleEndian.Uint32(b) != magic {
		return super{}, fmt.Errorf("%w: want a %v", errNoBlock, superBlock)
	}
	if sum := blockSum(b); sum != binary.LittleEndian.Uint32(b[8:]) { // the same in every version
		return super{}, fmt.Errorf("%v: checksum %08x is wrong", superBlock, sum)
	}
	return superReader(binary.LittleEndian.Uint16(b[4:]))(b, device)
}

// superReader gives what reads the superblocks of a format version.
func superReader(version uint16) func(b []byte, device uint64) (super, error) {
	switch version {
	case 1, 2, 3:
		return readOldSuper
	case formatVersion:
		return decodeSuper
	}
	return func([]byte, uint64) (super, error) { return super{}, versionError{version} }
}

// readOldSuper reads what the superblocks of older versions have in common with this one.
func readOldSuper(b []byte, device uint64) (super, error) {
	s := super{incarnation: binary.LittleEndian.Uint64(b[48:]), lay: layout{total: device}}
	copy(s.id.cluster[:], b[16:32])
	copy(s.id.device[:], b[32:48])
	return s, versionError{binary.LittleEndian.Uint16(b[4:])}
}
