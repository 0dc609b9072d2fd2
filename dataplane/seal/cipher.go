package seal

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/xts"
)

// The data unit is the logical block.
const _ = uint(xts.Unit-cluster.LBASize) + uint(cluster.LBASize-xts.Unit)

// Cipher seals and opens the blocks of one volume. Any number of goroutines may use it.
type Cipher struct{ x *xts.Cipher }

// NewCipher expands a data key.
func NewCipher(k DataKey) (*Cipher, error) {
	x, err := xts.New(k.b[:])
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return &Cipher{x}, nil
}

// Seal encrypts whole logical blocks in place. The first is number lba of the volume.
func (c *Cipher) Seal(data []byte, lba uint64) { c.x.Encrypt(data, data, lba) }

// Open is the inverse of Seal; blocks of zeroes stay zeroes.
func (c *Cipher) Open(data []byte, lba uint64) {
	for len(data) > 0 {
		n := 0
		for n < len(data) && !zero(data[n:n+xts.Unit]) {
			n += xts.Unit
		}
		c.x.Decrypt(data[:n], data[:n], lba)
		data, lba = data[n:], lba+uint64(n/xts.Unit)
		for len(data) > 0 && zero(data[:xts.Unit]) {
			data, lba = data[xts.Unit:], lba+1
		}
	}
}

// zero looks at a logical block. Ciphertext is told from zeroes by its first word almost always.
func zero(b []byte) bool {
	for ; len(b) > 0; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	return true
}
