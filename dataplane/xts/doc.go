// Package xts encrypts blocks of storage: AES-256 in XTS mode (IEEE 1619, NIST SP 800-38E).
//
// The data unit is the logical block of 512 B. Its tweak is its number on the volume, LBA, as 128 bits,
// lowest byte first:
//
//	T(0)   = AES(key 2, LBA)
//	T(j+1) = T(j) * x             in GF(2^128), x^128 = x^7 + x^2 + x + 1
//	C(j)   = AES(key 1, P(j) xor T(j)) xor T(j)         16 bytes each, j = 0..31
//
// So blocks can be written and read one by one, length does not change, and the same data has another
// ciphertext at every address and on every volume. XTS hides data; it does not notice that somebody changed
// it.
//
// There are three ways to compute the same: AVX-512 with VAES, four AES blocks to a register and one data
// unit in eight of them; AES-NI, eight AES blocks at a time; and crypto/aes everywhere else. New picks the
// first that the processor has.
package xts
