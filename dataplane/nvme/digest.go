package nvme

import "hash/crc32"

// DigestSize is the size of a header or data digest in bytes.
const DigestSize = 4

// CRC32C is the digest of NVMe/TCP (TCP 3.3.1.1): CRC-32C (Castagnoli), reflected, as hash/crc32 computes it.
// Start with crc 0; feed further bytes by passing the previous result.
func CRC32C(crc uint32, b []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), b)
}

// PutDigest writes a digest to b[:DigestSize].
func PutDigest(b []byte, crc uint32) { put32(b, crc) }

// Digest reads a digest from b[:DigestSize].
func Digest(b []byte) uint32 { return u32(b) }
