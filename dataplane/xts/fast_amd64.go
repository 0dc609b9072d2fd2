package xts

import "golang.org/x/sys/cpu"

// best is the fastest path of this processor.
func best() path {
	x := &cpu.X86
	switch {
	case x.HasAES && x.HasSSE41 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VAES && x.HasAVX512VPCLMULQDQ:
		return avx512
	case x.HasAES && x.HasSSE41:
		return aesNI
	}
	return portable
}

func (s *schedules) expand(data, tweak []byte) {
	expandKey(&data[0], &s.encrypt)
	invertKey(&s.encrypt, &s.decrypt)
	expandKey(&tweak[0], &s.tweak)
}

// accelerated computes at most tweakBatch data units.
func (c *Cipher) accelerated(dst, src []byte, lba uint64, encrypt bool) {
	var tweaks [tweakBatch * blockSize]byte
	n := len(src) / Unit
	number(tweaks[:n*blockSize], lba)
	encryptBlocks(&c.fast.tweak, &tweaks[0], (n+7)/8)
	switch {
	case c.path == avx512 && encrypt:
		encryptAVX512(&c.fast.encrypt, &dst[0], &src[0], &tweaks[0], n)
	case c.path == avx512:
		decryptAVX512(&c.fast.decrypt, &dst[0], &src[0], &tweaks[0], n)
	case encrypt:
		encryptAESNI(&c.fast.encrypt, &dst[0], &src[0], &tweaks[0], n)
	default:
		decryptAESNI(&c.fast.decrypt, &dst[0], &src[0], &tweaks[0], n)
	}
}

// expandKey computes the 15 round keys of a 32-byte key.
//
//go:noescape
func expandKey(key *byte, round *[15 * blockSize]byte)

// invertKey makes the round keys of the equivalent inverse cipher (FIPS 197, 5.3.5).
//
//go:noescape
func invertKey(encrypt, decrypt *[15 * blockSize]byte)

// encryptBlocks encrypts groups of 8 AES blocks in place.
//
//go:noescape
func encryptBlocks(round *[15 * blockSize]byte, blocks *byte, groups int)

// The kernels compute n data units. tweaks holds T(0) of each.

//go:noescape
func encryptAESNI(round *[15 * blockSize]byte, dst, src, tweaks *byte, n int)

//go:noescape
func decryptAESNI(round *[15 * blockSize]byte, dst, src, tweaks *byte, n int)

//go:noescape
func encryptAVX512(round *[15 * blockSize]byte, dst, src, tweaks *byte, n int)

//go:noescape
func decryptAVX512(round *[15 * blockSize]byte, dst, src, tweaks *byte, n int)
