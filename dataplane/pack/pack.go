package pack

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

const (
	formatS2   = 1
	headerSize = 4
)

// errForm is wrapped when blocks are not what Pack makes of any unit.
var errForm = errors.New("no packed stripe unit")

// Packer implements engine.Packer. For one goroutine at a time.
type Packer struct {
	unit   int          // bytes
	cipher *seal.Cipher // nil: the volume is not encrypted
	buf    []byte       // of one compressed or decompressed unit
}

// New makes the packer of a volume whose stripe units have so many blocks. cipher may be nil.
func New(unitBlocks uint64, cipher *seal.Cipher) *Packer {
	unit := int(unitBlocks) * cluster.BlockSize
	return &Packer{unit: unit, cipher: cipher, buf: make([]byte, s2.MaxEncodedLen(unit))}
}

// Pack implements engine.Packer.
func (p *Packer) Pack(first uint64, unit []byte) (blocks int) {
	if zeroes(unit) {
		return 0
	}
	blocks = p.unit / cluster.BlockSize
	z := s2.Encode(p.buf, unit)
	if n := blocksOf(headerSize + len(z)); n < blocks {
		blocks = n
		unit[0], unit[1], unit[2], unit[3] = formatS2, byte(len(z)), byte(len(z)>>8), byte(len(z)>>16)
		clear(unit[headerSize+copy(unit[headerSize:], z) : n*cluster.BlockSize])
	}
	if p.cipher != nil {
		p.cipher.Seal(unit[:blocks*cluster.BlockSize], lba(first))
	}
	return blocks
}

// Unpack implements engine.Packer.
func (p *Packer) Unpack(first uint64, unit []byte, blocks int) error {
	stored := unit[:blocks*cluster.BlockSize]
	if p.cipher != nil {
		p.cipher.Open(stored, lba(first))
	}
	if len(stored) == p.unit {
		return nil
	}
	length := int(stored[1]) | int(stored[2])<<8 | int(stored[3])<<16
	if stored[0] != formatS2 || blocksOf(headerSize+length) != blocks {
		return fmt.Errorf("%w: format %d, %d bytes in %d blocks", errForm, stored[0], length, blocks)
	}
	z := stored[headerSize : headerSize+length]
	if n, err := s2.DecodedLen(z); err != nil || n != p.unit {
		return fmt.Errorf("%w: %d bytes instead of %d, %v", errForm, n, p.unit, err)
	}
	plain, err := s2.Decode(p.buf[:p.unit], z)
	if err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	copy(unit, plain)
	return nil
}

// blocksOf is how many blocks hold so many bytes.
func blocksOf(n int) int { return (n + cluster.BlockSize - 1) / cluster.BlockSize }

// lba is the logical block that a block begins with.
func lba(block uint64) uint64 { return block * (cluster.BlockSize / cluster.LBASize) }

func zeroes(b []byte) bool { return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }
