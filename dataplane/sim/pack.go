package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// packer packs units of what hosts write: a sector is two words over and over, so a unit is those words.
// In how many blocks it is stored follows from them, so all numbers of blocks come up; and each
// block depends on all the words, so blocks of two versions never pass for a unit.
type packer struct{ unit int }

// packer is that of a volume, nil if its blocks are stored as they are.
func (v *volume) packer(s Shape) engine.Packer {
	if !v.packed {
		return nil
	}
	return packer{int(s.UnitBlocks)}
}

const wordBytes = 16

// words are those of all sectors of a unit; false when a sector is something else.
func words(unit []byte) (out []byte, ok bool) {
	for ; len(unit) > 0; unit = unit[cluster.LBASize:] {
		s := unit[:cluster.LBASize]
		if !bytes.Equal(s[wordBytes:], s[:len(s)-wordBytes]) {
			return nil, false
		}
		out = append(out, s[:wordBytes]...)
	}
	return out, true
}

// blocks is in how many blocks words are stored.
func (p packer) blocks(words []byte) int {
	if len(bytes.Trim(words, "\x00")) == 0 {
		return 0
	}
	return 1 + int(crc32.ChecksumIEEE(words))%p.unit
}

// Pack implements engine.Packer. What no host wrote is stored as it is.
func (p packer) Pack(first uint64, unit []byte) int {
	words, ok := words(unit)
	n := p.unit
	if ok {
		n = p.blocks(words)
	}
	if n < p.unit {
		scatter(first, words, unit[:n*cluster.BlockSize])
	}
	return n
}

// scatter fills blocks with words, each block in its own way.
func scatter(first uint64, words, blocks []byte) {
	for i := 0; i < len(blocks); i += 8 {
		x := binary.LittleEndian.Uint64(words[i%len(words):])
		binary.LittleEndian.PutUint64(blocks[i:], x+first+uint64(i/cluster.BlockSize)+1)
	}
}

var errUnit = errors.New("blocks that do not belong together")

// Unpack implements engine.Packer.
func (p packer) Unpack(first uint64, unit []byte, n int) error {
	if n == p.unit {
		if words, ok := words(unit); !ok || p.blocks(words) != n {
			return errUnit
		}
		return nil
	}
	all := make([]byte, p.unit*cluster.BlockSize/cluster.LBASize*wordBytes)
	for i := 0; i < len(all); i += 8 {
		binary.LittleEndian.PutUint64(all[i:], binary.LittleEndian.Uint64(unit[i:])-first-1)
	}
	stored := unit[:n*cluster.BlockSize]
	want := make([]byte, len(stored))
	if scatter(first, all, want); p.blocks(all) != n || !bytes.Equal(stored, want) {
		return errUnit
	}
	for i := 0; i < len(unit); i += wordBytes {
		copy(unit[i:], all[i/cluster.LBASize*wordBytes:][:wordBytes])
	}
	return nil
}

// packed puts what is stored of the data columns of a row into want.
func (w *World) packed(page uint64, row uint16, data []byte, want [][]byte) {
	g := w.shape.geometry()
	size := int(g.UnitBlocks) * cluster.BlockSize
	for c := range g.Data {
		first := page*g.PageBlocks() + g.Offset(c, row-row%uint16(g.UnitBlocks))
		unit := bytes.Clone(data[int(first)*cluster.BlockSize:][:size])
		n := packer{int(g.UnitBlocks)}.Pack(first, unit)
		clear(unit[n*cluster.BlockSize:])
		want[c] = unit[int(row)%int(g.UnitBlocks)*cluster.BlockSize:][:cluster.BlockSize]
	}
}
