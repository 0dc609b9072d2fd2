package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// formatVersion is the version of every structure on disk.
const formatVersion = 4

// The common header of metadata blocks. See the package documentation.
const (
	magic      = 0x4c485341 // "ASHL" in little-endian
	headerSize = 72
	maxBlock   = 64 << 10 // largest metadata block, in bytes
)

// errNoBlock means that something else than a metadata block was found.
var errNoBlock = errors.New("no metadata block")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC32C of data blocks and metadata blocks.
func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// blockKind tells metadata blocks apart.
type blockKind uint8

const (
	superBlock blockKind = iota + 1
	logBlock
	segmentBlock
)

func (k blockKind) String() string {
	switch k {
	case superBlock:
		return "superblock"
	case logBlock:
		return "log block"
	case segmentBlock:
		return "checkpoint segment"
	}
	return fmt.Sprintf("block of kind %d", uint8(k))
}

// identity is whose a block is.
type identity struct {
	cluster cluster.UUID
	device  cluster.UUID
}

// header is the decoded header of a metadata block.
type header struct {
	kind        blockKind
	used        int // bytes of payload
	crc         uint32
	id          identity
	incarnation uint64
	seq         uint64 // superblock: update; else: position in the ring
	aux         uint64 // log: position up to which all was durable; segment: number of the checkpoint
}

// seal writes the header of a metadata block and its checksum; the payload stands already. Unused payload
// must be zero. It returns the checksum.
func (h *header) seal(b []byte) uint32 {
	_ = b[headerSize+h.used-1]
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	le.PutUint16(b[4:], formatVersion)
	b[6], b[7] = byte(h.kind), 0
	le.PutUint32(b[8:], 0)
	le.PutUint32(b[12:], uint32(h.used))
	copy(b[16:32], h.id.cluster[:])
	copy(b[32:48], h.id.device[:])
	le.PutUint64(b[48:], h.incarnation)
	le.PutUint64(b[56:], h.seq)
	le.PutUint64(b[64:], h.aux)
	h.crc = checksum(b)
	le.PutUint32(b[8:], h.crc)
	return h.crc
}

// openBlock verifies the metadata block of the given kind at the start of b, whose length is a multiple of
// unit, and decodes its header. The block is not changed.
func openBlock(b []byte, kind blockKind, unit int) (header, error) {
	var h header
	le := binary.LittleEndian
	if len(b) < unit || unit < headerSize || le.Uint32(b) != magic {
		return h, fmt.Errorf("%w: want a %v", errNoBlock, kind)
	}
	if v := le.Uint16(b[4:]); v != formatVersion {
		return h, versionError{v}
	}
	used := le.Uint32(b[12:])
	if used > maxBlock-headerSize || blockSize(int(used), unit) > len(b) {
		return h, fmt.Errorf("%v: %d bytes used of %d", kind, used, len(b))
	}
	b = b[:blockSize(int(used), unit)]
	h.crc = le.Uint32(b[8:])
	if sum := blockSum(b); sum != h.crc {
		return h, fmt.Errorf("%v: checksum %08x, want %08x", kind, sum, h.crc)
	}
	if h.kind = blockKind(b[6]); h.kind != kind {
		return h, fmt.Errorf("%v where a %v belongs", h.kind, kind)
	}
	h.used = int(used)
	copy(h.id.cluster[:], b[16:32])
	copy(h.id.device[:], b[32:48])
	h.incarnation, h.seq, h.aux = le.Uint64(b[48:]), le.Uint64(b[56:]), le.Uint64(b[64:])
	return h, nil
}

// blockSum is the checksum of a block with its field for it as zero.
func blockSum(b []byte) uint32 {
	var zero [4]byte
	return crc32.Update(crc32.Update(checksum(b[:8]), castagnoli, zero[:]), castagnoli, b[12:])
}

// blockSize is the length of a block with so many bytes of payload: whole units.
func blockSize(used, unit int) int { return (headerSize + used + unit - 1) / unit * unit }

// payload is the used part of a verified block.
func (h *header) payload(b []byte) []byte { return b[headerSize : headerSize+h.used] }

// versionError means that a block has a format version that this release does not read.
type versionError struct{ found uint16 }

// Error says what can be done.
func (e versionError) Error() string {
	if e.found > formatVersion {
		return fmt.Sprintf("format version %d, this release reads %d: use the one that wrote it, or a newer one",
			e.found, formatVersion)
	}
	return fmt.Sprintf("format version %d, which no release wrote and this one does not read: `ashlard device "+
		"format --force` makes it an empty device, which the cluster fills again", e.found)
}
