package pagestore

import (
	"errors"
	"fmt"
	"math/bits"
)

// Limits of the layout, in blocks of 4 KiB if not said otherwise.
const (
	minLogBlocks  = 16
	defaultMinLog = 64
	minDataBlocks = 16
	smallDevice   = 1 << 15
	minReplay     = 1 << 12 // records: some milliseconds
)

// What the map and the rest of a checkpoint may take, in bytes.
const (
	mapShare   = 36   // per data block: see room
	auxShare   = 1024 // metadata and volumes: this part of the device
	minAux     = 8 << 10
	maxAux     = 256 << 20 // the placement journal of some millions of chunks
	maxSegment = maxBlock
	minSegment = 16 << 10 // of small devices
)

// layout says where the regions of a device are, in blocks of 4 KiB.
type layout struct {
	total      uint64
	unit       int // bytes: logical block of the device when it was formatted
	logStart   uint64
	logBlocks  uint64
	ckptStart  [2]uint64
	ckptBlocks uint64 // of each area
	dataStart  uint64
	dataBlocks uint64
}

// superAt is the block of a copy of the superblock: the first of the device, and the last.
func (l *layout) superAt(copy int) uint64 {
	if copy == 0 {
		return 0
	}
	return l.total - 1
}

func (l *layout) log() ring {
	return ring{start: int64(l.logStart) * BlockSize, units: l.logBlocks * l.perBlock(), unit: l.unit}
}

// area is one of the two copies of the checkpoint ring.
func (l *layout) area(copy int) ring {
	return ring{start: int64(l.ckptStart[copy]) * BlockSize, units: l.ckptBlocks * l.perBlock(), unit: l.unit}
}

func (l *layout) perBlock() uint64 { return BlockSize / uint64(l.unit) }

// dataOffset is the byte offset of a data block.
func (l *layout) dataOffset(loc uint64) int64 { return int64(l.dataStart+loc) * BlockSize }

// maxGroup is the largest log block, in bytes: several fit the log at once.
func (l *layout) maxGroup() int { return int(min(maxBlock, l.logBlocks*BlockSize/4)) }

// segment is the largest checkpoint segment, in bytes.
func (l *layout) segment() int { return segmentSize(l.total) }

func segmentSize(total uint64) int {
	if total < smallDevice {
		return minSegment
	}
	return maxSegment
}

// mapBytes is what the images of the map may take of a checkpoint.
func (l *layout) mapBytes() uint64 { return mapShare * l.dataBlocks }

// auxBytes is what volumes and metadata may take of it.
func (l *layout) auxBytes() uint64 { return auxBytes(l.total) }

func auxBytes(total uint64) uint64 { return min(max(total*BlockSize/auxShare, minAux), maxAux) }

// wholeBlocks bounds a checkpoint that holds everything. Parts of chunks and records are not cut, so the end
// of a segment may stay empty.
func wholeBlocks(total, data uint64) uint64 {
	segment := uint64(segmentSize(total))
	images, records := segment-segmentHeader-maxPart, segment-segmentHeader-maxRecord
	n := mapShare*data/images + auxBytes(total)/records + 4
	return n * segment / BlockSize
}

// ckptBlocks is the length of the checkpoint ring: one whole checkpoint that is valid, and another that is
// being written.
func ckptBlocks(total, data uint64) uint64 { return 2 * wholeBlocks(total, data) }

// defaultLog is 1/256 of a device; of one with blocks of 4 KiB, in which records are not as dense, 1/64. So
// that random writes at depth 32, of a full device, cost 5 % metadata at most: half of that is the log, and
// the fuller it may become, the fewer are the checkpoints that are the other half.
func defaultLog(total uint64, unit int) uint64 {
	if unit == BlockSize {
		total *= 4
	}
	return max(total/256, defaultMinLog)
}

// replay is how many records of the log a crash may leave for recovery, about: a log of dense records would
// hold many times as many. Writes of one block, all over the device, fill 1/64 of it with so many, 32 to a
// block.
func (l *layout) replay() uint64 { return max(l.dataBlocks/5*2, minReplay) }

// newLayout divides a device of so many blocks.
func newLayout(total, logBlocks uint64, unit int) (layout, error) {
	if logBlocks == 0 {
		logBlocks = defaultLog(total, unit)
	}
	l := layout{total: total, unit: unit, logStart: 1, logBlocks: logBlocks}
	const supers = 2
	fixed := supers + logBlocks
	if logBlocks < minLogBlocks || fixed+minDataBlocks >= total || total > 1<<32 {
		return l, fmt.Errorf("%w: device of %d blocks with a log of %d", ErrInvalid, total, logBlocks)
	}
	data := total - fixed
	for need := fixed + data + 2*ckptBlocks(total, data); need > total; {
		if over := need - total; data <= over+minDataBlocks {
			return l, fmt.Errorf("%w: device of %d blocks is too small", ErrInvalid, total)
		}
		data -= max((need-total)/2, 1)
		need = fixed + data + 2*ckptBlocks(total, data)
	}
	l.ckptBlocks = ckptBlocks(total, data)
	l.ckptStart[0] = l.logStart + logBlocks
	l.dataStart, l.dataBlocks = l.ckptStart[0]+l.ckptBlocks, data
	l.ckptStart[1] = l.dataStart + data
	return l, nil
}

// validate checks a layout that was read from a device of so many blocks.
func (l *layout) validate(device uint64) error {
	if l.unit < 512 || l.unit > BlockSize || bits.OnesCount(uint(l.unit)) != 1 {
		return fmt.Errorf("units of %d bytes", l.unit)
	}
	if l.total > device || l.total > 1<<32 {
		return fmt.Errorf("made for %d blocks, the device has %d", l.total, device)
	}
	end := uint64(1)
	for _, r := range [][3]uint64{{l.logStart, l.logBlocks, minLogBlocks},
		{l.ckptStart[0], l.ckptBlocks, 2 * wholeBlocks(l.total, 0)}, {l.dataStart, l.dataBlocks, minDataBlocks},
		{l.ckptStart[1], l.ckptBlocks, 0}} {
		if r[0] < end || r[1] < r[2] || r[1] > l.total || r[0]+r[1] >= l.total {
			return errors.New("regions overlap or leave the device")
		}
		end = r[0] + r[1]
	}
	if l.ckptBlocks < ckptBlocks(l.total, l.dataBlocks) {
		return fmt.Errorf("checkpoint areas of %d blocks", l.ckptBlocks)
	}
	return nil
}
