package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// formatVersion is the version of every structure on disk.
const formatVersion = 2

// The common header of metadata blocks. See the package documentation.
const (
	magic       = 0x4c485341 // "ASHL" in little-endian
	headerSize  = 72
	payloadSize = BlockSize - headerSize
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
	checkpointBlock
)

func (k blockKind) String() string {
	switch k {
	case superBlock:
		return "superblock"
	case logBlock:
		return "log block"
	case checkpointBlock:
		return "checkpoint block"
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
	used        uint16 // bytes of payload
	crc         uint32
	id          identity
	incarnation uint64
	seq         uint64 // superblock: update; log: position; checkpoint: number
	aux         uint64 // log: sequence known durable; checkpoint: index of the block
}

// seal writes the header of a metadata block and its checksum; the payload stands already. Unused payload
// must be zero. It returns the checksum.
func (h *header) seal(b []byte) uint32 {
	_ = b[BlockSize-1]
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	le.PutUint16(b[4:], formatVersion)
	b[6], b[7] = byte(h.kind), 0
	le.PutUint32(b[8:], 0)
	le.PutUint16(b[12:], h.used)
	le.PutUint16(b[14:], 0)
	copy(b[16:32], h.id.cluster[:])
	copy(b[32:48], h.id.device[:])
	le.PutUint64(b[48:], h.incarnation)
	le.PutUint64(b[56:], h.seq)
	le.PutUint64(b[64:], h.aux)
	h.crc = checksum(b[:BlockSize])
	le.PutUint32(b[8:], h.crc)
	return h.crc
}

// openBlock verifies a metadata block of the given kind and decodes its header. The block is not changed.
func openBlock(b []byte, kind blockKind) (header, error) {
	var h header
	le := binary.LittleEndian
	if len(b) != BlockSize || le.Uint32(b) != magic {
		return h, fmt.Errorf("%w: want a %v", errNoBlock, kind)
	}
	h.crc = le.Uint32(b[8:])
	var zero [4]byte
	sum := crc32.Update(checksum(b[:8]), castagnoli, zero[:])
	if sum = crc32.Update(sum, castagnoli, b[12:]); sum != h.crc {
		return h, fmt.Errorf("%v: checksum %08x, want %08x", kind, sum, h.crc)
	}
	if v := le.Uint16(b[4:]); v != formatVersion {
		return h, fmt.Errorf("%v: format version %d, this release reads %d", kind, v, formatVersion)
	}
	if h.kind = blockKind(b[6]); h.kind != kind {
		return h, fmt.Errorf("%v where a %v belongs", h.kind, kind)
	}
	h.used = le.Uint16(b[12:])
	if h.used > payloadSize {
		return h, fmt.Errorf("%v: %d bytes used of %d", kind, h.used, payloadSize)
	}
	copy(h.id.cluster[:], b[16:32])
	copy(h.id.device[:], b[32:48])
	h.incarnation, h.seq, h.aux = le.Uint64(b[48:]), le.Uint64(b[56:]), le.Uint64(b[64:])
	return h, nil
}

// payload is the used part of a verified block.
func (h *header) payload(b []byte) []byte { return b[headerSize : headerSize+int(h.used)] }
