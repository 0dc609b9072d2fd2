package xts

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Sizes in bytes.
const (
	Unit    = 512 // a data unit
	KeySize = 64  // two AES-256 keys: data, tweak
)

const (
	blockSize = aes.BlockSize
	// tweakBatch is how many data units have their tweaks computed at once; a multiple of 8, the width of
	// AES-NI.
	tweakBatch = 32
)

// ErrKey is wrapped when a key cannot be used.
var ErrKey = errors.New("not a key for AES-256-XTS")

// path is a way to compute.
type path uint8

const (
	portable path = iota
	aesNI
	avx512
)

// Cipher is an expanded key. Any number of goroutines may use it.
type Cipher struct {
	path path
	fast schedules
	slow struct { // the portable path
		data, tweak cipher.Block
		scratch     sync.Pool // *[blockSize]byte: what is passed to a cipher.Block escapes
	}
}

// schedules are the round keys as AES instructions want them: 15 of 16 bytes each.
type schedules struct {
	encrypt, decrypt, tweak [15 * blockSize]byte
}

// New expands a key of KeySize bytes, the one for data first. The error wraps ErrKey: another length, or
// halves that are equal, which the standards forbid.
func New(key []byte) (*Cipher, error) { return newCipher(key, best()) }

func newCipher(key []byte, p path) (*Cipher, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrKey, len(key), KeySize)
	}
	data, tweak := key[:KeySize/2], key[KeySize/2:]
	if bytes.Equal(data, tweak) {
		return nil, fmt.Errorf("%w: its halves are equal", ErrKey)
	}
	c := &Cipher{path: p}
	if p != portable {
		c.fast.expand(data, tweak)
		return c, nil
	}
	var err error
	if c.slow.data, err = aes.NewCipher(data); err == nil {
		c.slow.tweak, err = aes.NewCipher(tweak)
	}
	c.slow.scratch.New = func() any { return new([blockSize]byte) }
	return c, err
}

// Encrypt encrypts src, whole data units, to dst, which is as long and is either src or does not overlap it.
// The first unit is number lba of its volume.
func (c *Cipher) Encrypt(dst, src []byte, lba uint64) { c.run(dst, src, lba, true) }

// Decrypt is the inverse of Encrypt.
func (c *Cipher) Decrypt(dst, src []byte, lba uint64) { c.run(dst, src, lba, false) }

func (c *Cipher) run(dst, src []byte, lba uint64, encrypt bool) {
	if len(src)%Unit != 0 || len(dst) != len(src) {
		panic(fmt.Sprintf("xts: %d bytes to %d, want the same number of whole units", len(src), len(dst)))
	}
	for len(src) > 0 {
		n := min(len(src)/Unit, tweakBatch)
		size := n * Unit
		if c.path == portable {
			c.portable(dst[:size], src[:size], lba, encrypt)
		} else {
			c.accelerated(dst[:size], src[:size], lba, encrypt)
		}
		dst, src, lba = dst[size:], src[size:], lba+uint64(n)
	}
}

// number writes the numbers of the units from lba on, which the key of the tweaks makes tweaks of.
func number(tweaks []byte, lba uint64) {
	for ; len(tweaks) > 0; tweaks, lba = tweaks[blockSize:], lba+1 {
		binary.LittleEndian.PutUint64(tweaks, lba)
		binary.LittleEndian.PutUint64(tweaks[8:], 0)
	}
}
