package xts

import (
	"crypto/subtle"
	"encoding/binary"
)

// portable computes data units with crypto/aes.
func (c *Cipher) portable(dst, src []byte, lba uint64, encrypt bool) {
	scratch := c.slow.scratch.Get().(*[blockSize]byte)
	defer c.slow.scratch.Put(scratch)
	t := scratch[:]
	for ; len(src) > 0; dst, src, lba = dst[Unit:], src[Unit:], lba+1 {
		number(t, lba)
		c.slow.tweak.Encrypt(t, t)
		for at := 0; at < Unit; at += blockSize {
			d := dst[at : at+blockSize : at+blockSize]
			subtle.XORBytes(d, src[at:at+blockSize], t)
			if encrypt {
				c.slow.data.Encrypt(d, d)
			} else {
				c.slow.data.Decrypt(d, d)
			}
			subtle.XORBytes(d, d, t)
			double(t)
		}
	}
}

// double multiplies a tweak by x.
func double(t []byte) {
	low, high := binary.LittleEndian.Uint64(t), binary.LittleEndian.Uint64(t[8:])
	binary.LittleEndian.PutUint64(t, low<<1^-(high>>63)&0x87)
	binary.LittleEndian.PutUint64(t[8:], high<<1|low>>63)
}
