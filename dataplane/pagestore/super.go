package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of the layout, in blocks of 4 KiB.
const (
	superBlocks     = 2
	minLogBlocks    = 16
	defaultMinLog   = 64
	defaultMaxLog   = 1 << 18 // 1 GiB
	minDataBlocks   = 16
	versionsPerCkpt = 71 // checkpoint block: versions, each in a chunk of its own, and one chunk cut in two
)

// layout says where the regions of a device are, in blocks of 4 KiB.
type layout struct {
	total      uint64
	logStart   uint64
	logBlocks  uint64
	ckptStart  [2]uint64
	ckptBlocks uint64 // of each area
	dataStart  uint64
	dataBlocks uint64
}

// tombstones is how many tombstones the map may hold: what a checkpoint area has room for besides all data.
func tombstones(dataBlocks uint64) uint64 { return dataBlocks/4 + 64 }

// auxBlocks is the part of a checkpoint area for volumes and metadata records: at most 256 MiB, which is the
// placement journal of a million chunks.
func auxBlocks(total uint64) uint64 { return min(max(total/256, 4), 1<<16) }

// auxBytes is how much of it may be used: records are not split, so most of a block may stay empty.
func (l *layout) auxBytes() uint64 { return (auxBlocks(l.total) - 1) * (payloadSize - maxMetaSize) }

func checkpointBlocks(total, data uint64) uint64 {
	return (data+tombstones(data))/versionsPerCkpt + 2 + auxBlocks(total)
}

// newLayout divides a device of so many blocks.
func newLayout(total, logBlocks uint64) (layout, error) {
	if logBlocks == 0 {
		logBlocks = min(max(total/100, defaultMinLog), defaultMaxLog)
	}
	l := layout{total: total, logStart: superBlocks, logBlocks: logBlocks}
	fixed := superBlocks + logBlocks
	if logBlocks < minLogBlocks || fixed+minDataBlocks >= total || total > 1<<32 {
		return l, fmt.Errorf("%w: device of %d blocks with a log of %d", ErrInvalid, total, logBlocks)
	}
	data := total - fixed
	for need := fixed + data + 2*checkpointBlocks(total, data); need > total; {
		if over := need - total; data <= over+minDataBlocks {
			return l, fmt.Errorf("%w: device of %d blocks is too small", ErrInvalid, total)
		}
		data -= max((need-total)/2, 1)
		need = fixed + data + 2*checkpointBlocks(total, data)
	}
	l.ckptBlocks = checkpointBlocks(total, data)
	l.ckptStart[0] = l.logStart + logBlocks
	l.ckptStart[1] = l.ckptStart[0] + l.ckptBlocks
	l.dataStart = l.ckptStart[1] + l.ckptBlocks
	l.dataBlocks = total - l.dataStart
	if l.ckptBlocks < checkpointBlocks(total, l.dataBlocks) {
		l.dataBlocks = data
	}
	return l, nil
}

// validate checks a layout that was read from a device of so many blocks.
func (l *layout) validate(device uint64) error {
	want, err := newLayout(l.total, l.logBlocks)
	switch {
	case err != nil:
		return err
	case *l != want:
		return fmt.Errorf("layout %+v, want %+v", *l, want)
	case l.total > device:
		return fmt.Errorf("formatted with %d blocks, the device has %d", l.total, device)
	}
	return nil
}

// super is the content of a superblock: the root of everything.
type super struct {
	id          identity
	seq         uint64 // counts updates
	incarnation uint64 // counts mounts; log blocks of others are void
	lay         layout
	ckpt        ckptRef
}

// ckptRef names a durable checkpoint.
type ckptRef struct {
	number  uint64 // the area is number mod 2
	blocks  uint64
	crc     uint32 // of the checksums of its blocks, in order
	logNext uint64 // first log block whose records it does not contain
}

const superSize = 11*8 + 8

func (s *super) encode(b []byte) {
	clear(b[:BlockSize])
	p, le := b[headerSize:], binary.LittleEndian
	for i, v := range [...]uint64{s.lay.total, s.lay.logStart, s.lay.logBlocks, s.lay.ckptStart[0],
		s.lay.ckptStart[1], s.lay.ckptBlocks, s.lay.dataStart, s.lay.dataBlocks, s.ckpt.number, s.ckpt.blocks,
		s.ckpt.logNext} {
		le.PutUint64(p[8*i:], v)
	}
	le.PutUint32(p[11*8:], s.ckpt.crc)
	h := header{kind: superBlock, used: superSize, id: s.id, incarnation: s.incarnation, seq: s.seq}
	h.seal(b)
}

// decodeSuper reads one superblock. device is the size of the device in blocks.
func decodeSuper(b []byte, device uint64) (super, error) {
	h, err := openBlock(b, superBlock)
	if err != nil {
		return super{}, err
	}
	if h.used != superSize {
		return super{}, fmt.Errorf("superblock of %d bytes", h.used)
	}
	var v [11]uint64
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(b[headerSize+8*i:])
	}
	s := super{id: h.id, seq: h.seq, incarnation: h.incarnation, lay: layout{total: v[0], logStart: v[1],
		logBlocks: v[2], ckptStart: [2]uint64{v[3], v[4]}, ckptBlocks: v[5], dataStart: v[6], dataBlocks: v[7]},
		ckpt: ckptRef{number: v[8], blocks: v[9], logNext: v[10],
			crc: binary.LittleEndian.Uint32(b[headerSize+11*8:])}}
	if err := s.lay.validate(device); err != nil {
		return s, fmt.Errorf("superblock: %w", err)
	}
	if s.ckpt.blocks == 0 || s.ckpt.blocks > s.lay.ckptBlocks {
		return s, errors.New("superblock: checkpoint larger than its area")
	}
	return s, nil
}

// area is the first block of the area of a checkpoint.
func (l *layout) area(number uint64) uint64 { return l.ckptStart[number%2] }

// logOffset is the byte offset of a log block.
func (l *layout) logOffset(seq uint64) int64 { return int64(l.logStart+seq%l.logBlocks) * BlockSize }

// dataOffset is the byte offset of a data block.
func (l *layout) dataOffset(loc uint64) int64 { return int64(l.dataStart+loc) * BlockSize }
