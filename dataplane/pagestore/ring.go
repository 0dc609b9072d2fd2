package pagestore

import "github.com/ashlar-storage/ashlar/dataplane/blockdev"

// ring is a region of the device that is written round and round. A position counts units since the ring was
// new; it lies at position modulo the length.
type ring struct {
	start int64  // byte offset on the device
	units uint64 // length
	unit  int    // bytes: the logical block of the device
}

// count is how many units so many bytes take.
func (r ring) count(bytes int) uint64 { return uint64((bytes + r.unit - 1) / r.unit) }

// offset is the byte offset of a position.
func (r ring) offset(pos uint64) int64 { return r.start + int64(pos%r.units)*int64(r.unit) }

// cut divides what lies from a position on into the part before the end of the region and the part at its
// start, which is mostly empty.
func (r ring) cut(pos uint64, buf []byte) (head, tail []byte) {
	left := int64(r.units-pos%r.units) * int64(r.unit)
	if left >= int64(len(buf)) {
		return buf, nil
	}
	return buf[:left], buf[left:]
}

// op is an operation on a part of what lies from a position on.
func (r ring) op(kind blockdev.Kind, pos uint64, part []byte, done func(*blockdev.Op, error)) blockdev.Op {
	return blockdev.Op{Kind: kind, Off: r.offset(pos), Buf: part, Done: done}
}

// ops are the one or two operations that transfer what lies from a position on.
func (r ring) ops(kind blockdev.Kind, pos uint64, buf []byte) []*blockdev.Op {
	head, tail := r.cut(pos, buf)
	first := r.op(kind, pos, head, nil)
	if len(tail) == 0 {
		return []*blockdev.Op{&first}
	}
	second := r.op(kind, pos+uint64(len(head)/r.unit), tail, nil)
	return []*blockdev.Op{&first, &second}
}
