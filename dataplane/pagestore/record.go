package pagestore

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// Kinds of log records beyond those of pagemap.
const metaRecord = 16

// Flags of log records and of versions in checkpoints. Part of the format.
const (
	flagTombstone = 1 << iota
	flagReplace   // log record
	flagBad       // checkpoint
	flagDelete    // metadata record
)

// Sizes of log records, in bytes.
const (
	mapRecordSize  = 44 // and 4 for every block with data
	metaHeaderSize = 8  // and key and value
	maxMetaSize    = metaHeaderSize + MaxMetaKey + MaxMetaValue
)

// metaEntry is a metadata record: value under key, or no value.
type metaEntry struct {
	key   string
	value []byte
	gone  bool
}

func (e *metaEntry) size() int { return metaHeaderSize + len(e.key) + len(e.value) }

func recordSize(r *pagemap.Record) int { return mapRecordSize + 4*len(r.CRC) }

// encodeRecord writes a map record of recordSize bytes.
func encodeRecord(b []byte, r *pagemap.Record) {
	le := binary.LittleEndian
	b[0], b[1] = byte(r.Kind), 0
	if r.Tombstone {
		b[1] |= flagTombstone
	}
	if r.Replace {
		b[1] |= flagReplace
	}
	le.PutUint16(b[2:], r.Mask)
	le.PutUint32(b[4:], r.Vol.VUID)
	le.PutUint32(b[8:], r.Vol.Generation)
	b[12], b[13] = r.Column, 0
	le.PutUint16(b[14:], r.First)
	le.PutUint64(b[16:], r.Page)
	le.PutUint64(b[24:], uint64(r.W))
	le.PutUint64(b[32:], r.Loc|uint64(r.N)<<48)
	le.PutUint32(b[40:], r.Epoch)
	for i, c := range r.CRC {
		le.PutUint32(b[mapRecordSize+4*i:], c)
	}
}

// decodeRecord reads the map record at the start of b and returns its length. The checksums are appended to
// crcs, which r keeps a part of.
func decodeRecord(b []byte, r *pagemap.Record, crcs []uint32) (int, []uint32, error) {
	if len(b) < mapRecordSize {
		return 0, crcs, fmt.Errorf("log record of %d bytes", len(b))
	}
	le := binary.LittleEndian
	*r = pagemap.Record{Kind: pagemap.RecordKind(b[0]), Tombstone: b[1]&flagTombstone != 0,
		Replace: b[1]&flagReplace != 0, Mask: le.Uint16(b[2:]), W: cluster.Seq(le.Uint64(b[24:])),
		Loc: le.Uint64(b[32:]) & (1<<48 - 1), Epoch: le.Uint32(b[40:])}
	r.Extent = pagemap.Extent{Vol: cluster.VolumeKey{VUID: le.Uint32(b[4:]), Generation: le.Uint32(b[8:])},
		Page: le.Uint64(b[16:]), Column: b[12], First: le.Uint16(b[14:]), N: uint16(le.Uint64(b[32:]) >> 48)}
	n := mapRecordSize
	if r.Kind == pagemap.Put && !r.Tombstone {
		if n += 4 * int(r.N); r.N > pagemap.MaxChunkBlocks || len(b) < n {
			return 0, crcs, fmt.Errorf("log record of %d blocks in %d bytes", r.N, len(b))
		}
		from := len(crcs)
		for i := mapRecordSize; i < n; i += 4 {
			crcs = append(crcs, le.Uint32(b[i:]))
		}
		r.CRC = crcs[from:len(crcs):len(crcs)]
	}
	if err := r.Validate(); err != nil {
		return 0, crcs, err
	}
	return n, crcs, nil
}

// encodeMeta writes a metadata record of e.size() bytes. The form is the same in the log and in checkpoints.
func encodeMeta(b []byte, e *metaEntry) {
	le := binary.LittleEndian
	clear(b[:metaHeaderSize])
	b[0] = metaRecord
	if e.gone {
		b[1] = flagDelete
	}
	le.PutUint16(b[2:], uint16(len(e.key)))
	le.PutUint16(b[4:], uint16(len(e.value)))
	copy(b[metaHeaderSize:], e.key)
	copy(b[metaHeaderSize+len(e.key):], e.value)
}

// decodeMeta reads the metadata record at the start of b and returns its length.
func decodeMeta(b []byte) (metaEntry, int, error) {
	if len(b) < metaHeaderSize || b[0] != metaRecord {
		return metaEntry{}, 0, fmt.Errorf("metadata record of %d bytes", len(b))
	}
	le := binary.LittleEndian
	k, v := int(le.Uint16(b[2:])), int(le.Uint16(b[4:]))
	n := metaHeaderSize + k + v
	if k == 0 || k > MaxMetaKey || v > MaxMetaValue || len(b) < n {
		return metaEntry{}, 0, fmt.Errorf("metadata record: key of %d bytes, value of %d, %d left", k, v, len(b))
	}
	e := metaEntry{key: string(b[metaHeaderSize : metaHeaderSize+k]), gone: b[1]&flagDelete != 0}
	e.value = append([]byte{}, b[metaHeaderSize+k:n]...)
	return e, n, nil
}

// Records of checkpoints, besides metadata.
const (
	ckptVolume = iota + 1
	ckptChunk
	ckptEnd
)

// Sizes of checkpoint records, in bytes.
const (
	ckptVolumeSize  = 16 // and 8 for every mark
	ckptChunkSize   = 24 // and ckptVersionSize for every version
	ckptVersionSize = 24
	ckptEndSize     = 24
	maxVolumeSize   = ckptVolumeSize + 8*16
)

func encodeCkptVolume(b []byte, st *pagemap.VolumeState) {
	le := binary.LittleEndian
	b[0], b[1], b[2], b[3] = ckptVolume, byte(len(st.Marks)), 0, 0
	le.PutUint32(b[4:], st.Key.VUID)
	le.PutUint32(b[8:], st.Key.Generation)
	le.PutUint32(b[12:], st.Settled)
	for i, m := range st.Marks {
		le.PutUint64(b[ckptVolumeSize+8*i:], uint64(m))
	}
}

func decodeCkptVolume(b []byte) (st pagemap.VolumeState, n int, err error) {
	if len(b) < ckptVolumeSize || len(b) < ckptVolumeSize+8*int(b[1]) {
		return st, 0, fmt.Errorf("checkpoint: volume in %d bytes", len(b))
	}
	le := binary.LittleEndian
	st.Key = cluster.VolumeKey{VUID: le.Uint32(b[4:]), Generation: le.Uint32(b[8:])}
	st.Settled = le.Uint32(b[12:])
	n = ckptVolumeSize
	for range b[1] {
		st.Marks = append(st.Marks, cluster.Seq(le.Uint64(b[n:])))
		n += 8
	}
	return st, n, nil
}

func encodeCkptChunk(b []byte, e *pagemap.Extent, versions []pagemap.ChunkVersion) {
	le := binary.LittleEndian
	b[0], b[1] = ckptChunk, e.Column
	le.PutUint16(b[2:], uint16(len(versions)))
	le.PutUint32(b[4:], e.Vol.VUID)
	le.PutUint32(b[8:], e.Vol.Generation)
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], e.Page)
	for i := range versions {
		v, p := &versions[i], b[ckptChunkSize+i*ckptVersionSize:]
		le.PutUint64(p[0:], uint64(v.W))
		le.PutUint64(p[8:], v.Loc|uint64(v.Mask)<<48)
		le.PutUint32(p[16:], v.CRC)
		le.PutUint16(p[20:], v.Block)
		p[22], p[23] = 0, 0
		if v.Tombstone {
			p[22] |= flagTombstone
		}
		if v.Bad {
			p[22] |= flagBad
		}
	}
}

// decodeCkptChunk reads the chunk at the start of b, its versions into dst.
func decodeCkptChunk(b []byte, dst []pagemap.ChunkVersion) (
	pagemap.Extent, []pagemap.ChunkVersion, int, error) {
	le := binary.LittleEndian
	if len(b) < ckptChunkSize || len(b) < ckptChunkSize+ckptVersionSize*int(le.Uint16(b[2:])) {
		return pagemap.Extent{}, dst, 0, fmt.Errorf("checkpoint: chunk in %d bytes", len(b))
	}
	e := pagemap.Extent{Vol: cluster.VolumeKey{VUID: le.Uint32(b[4:]), Generation: le.Uint32(b[8:])},
		Page: le.Uint64(b[16:]), Column: b[1]}
	n := ckptChunkSize
	for range le.Uint16(b[2:]) {
		p := b[n:]
		dst = append(dst, pagemap.ChunkVersion{W: cluster.Seq(le.Uint64(p)), Loc: le.Uint64(p[8:]) & (1<<48 - 1),
			Mask: uint16(le.Uint64(p[8:]) >> 48), CRC: le.Uint32(p[16:]), Block: le.Uint16(p[20:]),
			Tombstone: p[22]&flagTombstone != 0, Bad: p[22]&flagBad != 0})
		n += ckptVersionSize
	}
	return e, dst, n, nil
}

// ckptTotals ends a checkpoint.
type ckptTotals struct {
	versions uint64
	logNext  uint64
}

func encodeCkptEnd(b []byte, t ckptTotals) {
	clear(b[:8])
	b[0] = ckptEnd
	binary.LittleEndian.PutUint64(b[8:], t.versions)
	binary.LittleEndian.PutUint64(b[16:], t.logNext)
}

func decodeCkptEnd(b []byte) (ckptTotals, int, error) {
	if len(b) < ckptEndSize {
		return ckptTotals{}, 0, fmt.Errorf("checkpoint: end in %d bytes", len(b))
	}
	le := binary.LittleEndian
	return ckptTotals{versions: le.Uint64(b[8:]), logNext: le.Uint64(b[16:])}, ckptEndSize, nil
}
