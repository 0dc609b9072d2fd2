package sim

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

const sectorsPerBlock = cluster.BlockSize / cluster.LBASize

// A sector that a host wrote repeats two words of 8 bytes: the stamp of the write, and the place: the
// volume's index + 1 (upper half) and the sector. A sector of zeroes has stamp 0. A sector of a clone may
// show that of an ancestor: then what counts as its stamp says of which.

// place is the second word of a sector.
func place(vol int, sector uint64) uint64 { return uint64(vol+1)<<32 | sector }

// fill stamps sectors from lba on.
func fill(data []byte, vol int, lba, stamp uint64) {
	for i := 0; i < len(data); i += cluster.LBASize {
		s := data[i : i+cluster.LBASize]
		binary.LittleEndian.PutUint64(s, stamp)
		binary.LittleEndian.PutUint64(s[8:], place(vol, lba+uint64(i/cluster.LBASize)))
		for n := 16; n < len(s); n *= 2 {
			copy(s[n:], s[:n])
		}
	}
}

// inherited is the stamp that a clone shows of an ancestor's sector with a stamp.
func (v *volume) inherited(of *volume, stamp uint64) uint64 {
	if stamp == 0 || stamp >= ancestors {
		return stamp
	}
	return uint64(of.index+1)*ancestors + stamp
}

// ancestors is above every stamp that a host gives.
const ancestors = 1 << 32

// stampOf reads the stamp of a sector, and refuses what no host wrote there.
func stampOf(s []byte, v *volume, sector uint64) (uint64, error) {
	stamp, where := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
	if !bytes.Equal(s[16:], s[:len(s)-16]) {
		return 0, fmt.Errorf("volume %d sector %d is a mixture: begins with stamp %d", v.index, sector, stamp)
	}
	if stamp == 0 && where == 0 {
		return 0, nil
	}
	for of := v; stamp != 0; of = of.origin.of {
		switch {
		case where == place(of.index, sector) && of == v:
			return stamp, nil
		case where == place(of.index, sector):
			return v.inherited(of, stamp), nil
		}
		if of.origin == nil {
			break
		}
	}
	return 0, fmt.Errorf("volume %d sector %d holds stamp %d of place %#x", v.index, sector, stamp, where)
}

// stamps reads the stamps of sectors from lba on.
func stamps(data []byte, v *volume, lba uint64) ([]uint64, error) {
	out := make([]uint64, len(data)/cluster.LBASize)
	for i := range out {
		var err error
		s := data[i*cluster.LBASize : (i+1)*cluster.LBASize]
		if out[i], err = stampOf(s, v, lba+uint64(i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}
