//go:build e2e

package chaos

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

const (
	sectorSize = 512
	magic      = 0x7368_6c61_7265_6861
)

// fill makes a sector's content: magic, place, stamp, and bytes that follow from both.
//
//	0       8         12       16      24                        512
//	+-------+---------+--------+-------+--------------------------+
//	| magic | volume  | sector | stamp | pseudo-random from these |
//	+-------+---------+--------+-------+--------------------------+
func fill(b []byte, vol uint32, sector int, stamp uint64) {
	le := binary.LittleEndian
	le.PutUint64(b, magic)
	le.PutUint32(b[8:], vol)
	le.PutUint32(b[12:], uint32(sector))
	le.PutUint64(b[16:], stamp)
	x := uint64(vol)<<56 ^ uint64(sector)<<32 ^ stamp
	for i := 24; i < sectorSize; i += 8 {
		x = x*0x5851f42d4c957f2d + 0x14057b7ef767814f
		le.PutUint64(b[i:], x)
	}
}

// stampOf reads the stamp of a sector, 0 when it is all zeroes. Anything but an intact sector of this place
// is an error.
func stampOf(b []byte, vol uint32, sector int) (uint64, error) {
	var want [sectorSize]byte
	if bytes.Equal(b, want[:]) {
		return 0, nil
	}
	le := binary.LittleEndian
	stamp := le.Uint64(b[16:])
	fill(want[:], vol, sector, stamp)
	if !bytes.Equal(b, want[:]) {
		return 0, fmt.Errorf("volume %d sector %d is corrupt: it begins with %x", vol, sector, b[:32])
	}
	return stamp, nil
}
