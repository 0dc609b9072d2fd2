package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// magic begins every stamped block.
const magic = 0x6873_6c61_7473_6574

// stamp fills buf, whose length is a multiple of 8, with the content of block at generation gen.
func stamp(buf []byte, block, gen uint64) {
	binary.LittleEndian.PutUint64(buf, magic)
	binary.LittleEndian.PutUint64(buf[8:], block)
	binary.LittleEndian.PutUint64(buf[16:], gen)
	x := block<<32 ^ gen
	for i := 24; i < len(buf); i += 8 {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(buf[i:], z^z>>31)
	}
}

// compare says what is wrong with got, read from block, which should hold want; nil when nothing is.
func compare(got, want []byte, block, gen uint64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	head := binary.LittleEndian.Uint64(got)
	switch b, g := binary.LittleEndian.Uint64(got[8:]), binary.LittleEndian.Uint64(got[16:]); {
	case head == magic && (b != block || g != gen):
		return fmt.Errorf("block %d: holds block %d of generation %d, want generation %d", block, b, g, gen)
	case len(bytes.Trim(got, "\x00")) == 0:
		return fmt.Errorf("block %d: all zero, want generation %d", block, gen)
	}
	at := 0
	for got[at] == want[at] {
		at++
	}
	return fmt.Errorf("block %d: differs from generation %d from byte %d on", block, gen, at)
}
