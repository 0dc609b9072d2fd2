package pagestore

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
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
	flagColumns   // log record: columns of every block, not of all
)

// Sizes of log records, in bytes.
const (
	mapRecordSize  = 52 // and what recordSize adds
	metaHeaderSize = 16 // and key and value
	maxMetaSize    = metaHeaderSize + MaxMetaKey + MaxMetaValue
)

// metaEntry is a metadata record: value under key, or no value.
type metaEntry struct {
	key   string
	value []byte
	order uint64 // an entry of a lower order than the one held is void
	gone  bool
}

func (e *metaEntry) size() int { return metaHeaderSize + len(e.key) + len(e.value) }

func recordSize(r *pagemap.Record) int {
	n := mapRecordSize + 4*len(r.CRC) + 8*len(r.Holes)
	if len(r.Columns) > 1 {
		n += 4 * len(r.Columns)
	}
	if r.Kind == pagemap.View {
		n += chunk.ViewSize(&r.View)
	}
	return n
}

// encodeRecord writes a map record of recordSize bytes.
func encodeRecord(b []byte, r *pagemap.Record) {
	le := binary.LittleEndian
	n, p := r.N, b[mapRecordSize:]
	clear(b[:mapRecordSize])
	b[0] = byte(r.Kind)
	if r.Tombstone {
		b[1] |= flagTombstone
	}
	if r.Replace {
		b[1] |= flagReplace
	}
	for _, c := range r.CRC {
		le.PutUint32(p, c)
		p = p[4:]
	}
	switch {
	case r.Kind == pagemap.Stable:
		n = uint16(len(r.Holes))
		for i, h := range r.Holes {
			le.PutUint64(p[8*i:], uint64(h))
		}
	case r.Kind == pagemap.View:
		n = uint16(chunk.ViewSize(&r.View))
		chunk.PutView(p, &r.View)
	case len(r.Columns) == 1:
		le.PutUint16(b[12:], r.Columns[0].Set)
		le.PutUint16(b[14:], r.Columns[0].Mask)
	case len(r.Columns) > 1:
		b[1] |= flagColumns
		for i, c := range r.Columns {
			le.PutUint16(p[4*i:], c.Set)
			le.PutUint16(p[4*i+2:], c.Mask)
		}
	}
	le.PutUint16(b[2:], r.First)
	le.PutUint32(b[4:], r.Vol.VUID)
	le.PutUint32(b[8:], r.Vol.Generation)
	le.PutUint64(b[16:], r.Page)
	le.PutUint64(b[24:], uint64(r.W))
	le.PutUint64(b[32:], r.Loc|uint64(n)<<48)
	le.PutUint64(b[40:], uint64(r.Residency)|uint64(r.Column)<<56)
	le.PutUint32(b[48:], r.Epoch)
}

// decodeRecord reads the map record at the start of b and returns its length.
func decodeRecord(b []byte, r *pagemap.Record) (int, error) {
	if len(b) < mapRecordSize {
		return 0, fmt.Errorf("log record of %d bytes", len(b))
	}
	le := binary.LittleEndian
	*r = pagemap.Record{Kind: pagemap.RecordKind(b[0]), Tombstone: b[1]&flagTombstone != 0,
		Replace: b[1]&flagReplace != 0, W: cluster.Seq(le.Uint64(b[24:])),
		Loc: le.Uint64(b[32:]) & (1<<48 - 1), Epoch: le.Uint32(b[48:])}
	residency := le.Uint64(b[40:])
	r.Extent = pagemap.Extent{Vol: cluster.VolumeKey{VUID: le.Uint32(b[4:]), Generation: le.Uint32(b[8:])},
		Page: le.Uint64(b[16:]), Residency: chunk.Residency(residency & (1<<56 - 1)),
		Column: uint8(residency >> 56), First: le.Uint16(b[2:]), N: uint16(le.Uint64(b[32:]) >> 48)}
	n, err := decodeTail(b[mapRecordSize:], b, r)
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return 0, err
	}
	return mapRecordSize + n, nil
}

// decodeTail reads what stands behind the fixed part, the head, of a record, and returns its length.
func decodeTail(p, head []byte, r *pagemap.Record) (size int, err error) {
	le, n := binary.LittleEndian, int(r.N)
	crcs, columns := 0, 0
	switch r.Kind {
	case pagemap.Put:
		if !r.Tombstone {
			crcs = n
		}
		if head[1]&flagColumns != 0 {
			columns = n
		} else {
			r.Columns = []pagemap.Columns{{Set: le.Uint16(head[12:]), Mask: le.Uint16(head[14:])}}
		}
		size = 4 * (crcs + columns)
	case pagemap.Stable:
		size, r.N = 8*n, 0
	case pagemap.View:
		size, r.N = n, 0
	}
	if size > len(p) {
		return 0, fmt.Errorf("log record with %d bytes, %d are left", size, len(p))
	}
	for ; crcs > 0; crcs-- {
		r.CRC, p = append(r.CRC, le.Uint32(p)), p[4:]
	}
	for ; columns > 0; columns-- {
		r.Columns, p = append(r.Columns, pagemap.Columns{Set: le.Uint16(p), Mask: le.Uint16(p[2:])}), p[4:]
	}
	switch r.Kind {
	case pagemap.Stable:
		for ; n > 0; n-- {
			r.Holes, p = append(r.Holes, cluster.Seq(le.Uint64(p))), p[8:]
		}
	case pagemap.View:
		r.View, err = chunk.GetView(p[:size])
	}
	return size, err
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
	le.PutUint64(b[8:], e.order)
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
	e := metaEntry{key: string(b[metaHeaderSize : metaHeaderSize+k]), gone: b[1]&flagDelete != 0,
		order: le.Uint64(b[8:])}
	e.value = append([]byte{}, b[metaHeaderSize+k:n]...)
	return e, n, nil
}

// Records of checkpoints, besides metadata and those of the map that make volumes.
const (
	ckptChunk = iota + 17
	ckptEnd
)

// Sizes of checkpoint records, in bytes.
const (
	ckptChunkSize   = 32 // and ckptVersionSize for every version
	ckptVersionSize = 24
	ckptEndSize     = 24
)

// notesSize is the length of the records that make volumes, without their versions, in a checkpoint.
func notesSize(n pagemap.Notes) uint64 {
	return (n.Volumes+n.Marks)*mapRecordSize + n.Views*uint64(mapRecordSize+chunk.ViewSize(&chunk.View{})) +
		8*(n.Holes+n.Pins+2*n.Hidden)
}

func encodeCkptChunk(b []byte, e *pagemap.Extent, versions []pagemap.ChunkVersion) {
	le := binary.LittleEndian
	b[0], b[1] = ckptChunk, e.Column
	le.PutUint16(b[2:], uint16(len(versions)))
	le.PutUint32(b[4:], e.Vol.VUID)
	le.PutUint32(b[8:], e.Vol.Generation)
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], e.Page)
	le.PutUint64(b[24:], uint64(e.Residency))
	for i := range versions {
		v, p := &versions[i], b[ckptChunkSize+i*ckptVersionSize:]
		le.PutUint64(p[0:], uint64(v.W))
		le.PutUint64(p[8:], v.Loc|uint64(v.Mask)<<48)
		le.PutUint32(p[16:], v.CRC)
		le.PutUint16(p[20:], v.Set)
		p[22], p[23] = uint8(v.Block), 0
		if v.Tombstone {
			p[23] |= flagTombstone
		}
		if v.Bad {
			p[23] |= flagBad
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
		Page: le.Uint64(b[16:]), Residency: chunk.Residency(le.Uint64(b[24:])), Column: b[1]}
	n := ckptChunkSize
	for range le.Uint16(b[2:]) {
		p := b[n:]
		dst = append(dst, pagemap.ChunkVersion{W: cluster.Seq(le.Uint64(p)), Loc: le.Uint64(p[8:]) & (1<<48 - 1),
			Columns: pagemap.Columns{Set: le.Uint16(p[20:]), Mask: uint16(le.Uint64(p[8:]) >> 48)},
			CRC:     le.Uint32(p[16:]), Block: uint16(p[22]), Tombstone: p[23]&flagTombstone != 0,
			Bad: p[23]&flagBad != 0})
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
