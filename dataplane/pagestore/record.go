package pagestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// Kinds of records beyond those of pagemap: the low half of the first byte.
const (
	ckptPacked = 12
	ckptEnd    = 13
	ckptImage  = 14
	metaRecord = 15
	kindMask   = 15
)

// Flags in the high half of the first byte. Part of the format.
const (
	flagTombstone = 1 << (4 + iota) // put; metadata: the key is deleted; image: the chunk is gone
	flagReplace                     // put
	flagColumns                     // put: columns of every block, not of all
	flagSame                        // same volume as the record before
)

// Bounds of encoded records, in bytes.
const (
	maxVolume  = 4 + 5          // VUID, generation
	maxPlace   = 3 + 6 + 1 + 10 // residency, column, page
	maxFixed   = 1 + maxVolume + maxPlace + 2 + 10 + 6 + 7
	maxMetaFix = 1 + 2 + 2 + 10
	maxMeta    = maxMetaFix + MaxMetaKey + MaxMetaValue
	maxView    = 1 + maxVolume + 3 + 8 + 8*chunk.MaxPins + 16*chunk.MaxHidden
	maxRecord  = max(maxMeta, maxView) // of those that are not images
)

var errShort = errors.New("record is cut off or out of range")

// metaEntry is a metadata record: value under key, or no value.
type metaEntry struct {
	key   string
	value []byte
	order uint64 // an entry of a lower order than the one held is void
	gone  bool

	at   int    // index in the table
	told uint64 // the last checkpoint that has it, or needs it not
}

// size bounds its encoded length.
func (e *metaEntry) size() int { return maxMetaFix + len(e.key) + len(e.value) }

// recordSize bounds the encoded length of a map record.
func recordSize(r *pagemap.Record) int {
	n := maxFixed + 4*len(r.CRC) + 10*len(r.Holes)
	if len(r.Columns) > 1 {
		n += 4 * len(r.Columns)
	}
	if r.Kind == pagemap.View {
		n += chunk.ViewSize(&r.View)
	}
	return n
}

// notesSize bounds the records that make volumes, without their versions.
func notesSize(n pagemap.Notes) uint64 {
	return (n.Volumes+n.Marks)*(1+maxVolume+15) +
		n.Views*uint64(4+maxVolume+chunk.ViewSize(&chunk.View{})) + 10*n.Holes + 8*(n.Pins+2*n.Hidden)
}

// prior is what a record of a block leaves out because the ones before say it. It begins empty in every
// block.
type prior struct {
	vol  cluster.VolumeKey
	page uint64
	w    cluster.Seq
	loc  uint64
}

func zigzag(d int64) uint64   { return uint64(d)<<1 ^ uint64(d>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// start writes the first byte of a record, and the volume if it is another one.
func (x *prior) start(b []byte, first byte, vol cluster.VolumeKey) []byte {
	if vol == x.vol {
		return append(b, first|flagSame)
	}
	x.vol = vol
	b = binary.AppendUvarint(append(b, first), uint64(vol.VUID))
	return binary.AppendUvarint(b, uint64(vol.Generation))
}

// seq writes a sequence as the difference to the one before.
func (x *prior) seq(b []byte, w cluster.Seq) []byte {
	d := int64(w - x.w)
	x.w = w
	return binary.AppendUvarint(b, zigzag(d))
}

// place writes a page as the difference to the one before, and the column.
func (x *prior) place(b []byte, e *pagemap.Extent) []byte {
	d := int64(e.Page - x.page)
	x.page = e.Page
	return append(binary.AppendUvarint(b, zigzag(d)), e.Column)
}

// appendResidency writes the table, and what an alternate has besides.
func appendResidency(b []byte, r chunk.Residency) []byte {
	const low = 1<<40 - 1
	if r&low == 0 {
		return binary.AppendUvarint(b, uint64(r>>40)<<1)
	}
	b = binary.AppendUvarint(b, uint64(r>>40)<<1|1)
	return binary.AppendUvarint(b, uint64(r&low))
}

// record appends a map record.
func (x *prior) record(b []byte, r *pagemap.Record) []byte {
	first := byte(r.Kind)
	if r.Tombstone {
		first |= flagTombstone
	}
	if r.Replace {
		first |= flagReplace
	}
	if len(r.Columns) > 1 {
		first |= flagColumns
	}
	b = x.start(b, first, r.Vol)
	switch r.Kind {
	case pagemap.Put, pagemap.Undo:
		b = appendResidency(x.place(b, &r.Extent), r.Residency)
		b = x.seq(append(b, byte(r.First), byte(r.N-1)), r.W)
		if r.Kind == pagemap.Put {
			b = x.content(b, r)
		}
	case pagemap.DropChunk, pagemap.Renumber:
		b = appendResidency(x.place(b, &r.Extent), r.Residency)
	case pagemap.Stable:
		b = binary.AppendUvarint(x.seq(b, r.W), uint64(len(r.Holes)))
		at := r.W
		for i := len(r.Holes) - 1; i >= 0; i-- { // descending
			b = binary.AppendUvarint(b, uint64(at-r.Holes[i]))
			at = r.Holes[i]
		}
	case pagemap.Settle:
		b = binary.AppendUvarint(b, uint64(r.Epoch))
	case pagemap.View:
		n := chunk.ViewSize(&r.View)
		b = binary.AppendUvarint(b, uint64(n))
		b = append(b, make([]byte, n)...)
		chunk.PutView(b[len(b)-n:], &r.View)
	}
	return b
}

// content appends what a put holds: columns, location, checksums.
func (x *prior) content(b []byte, r *pagemap.Record) []byte {
	le := binary.LittleEndian
	if len(r.Columns) == 1 {
		b = appendColumns(b, r.Columns[0])
	}
	if !r.Tombstone {
		b = binary.AppendUvarint(b, zigzag(int64(r.Loc-x.loc)))
		x.loc = r.Loc
	}
	for _, c := range r.CRC {
		b = le.AppendUint32(b, c)
	}
	if len(r.Columns) > 1 {
		for _, c := range r.Columns {
			b = le.AppendUint16(le.AppendUint16(b, c.Set), c.Mask)
		}
	}
	return b
}

func appendColumns(b []byte, c pagemap.Columns) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(c.Set)), uint64(c.Mask))
}

// appendMeta appends a metadata record. The form is the same in the log and in checkpoints.
func appendMeta(b []byte, e *metaEntry) []byte {
	first := byte(metaRecord)
	if e.gone {
		first |= flagTombstone
	}
	b = binary.AppendUvarint(append(b, first), e.order)
	b = binary.AppendUvarint(b, uint64(len(e.key)))
	b = binary.AppendUvarint(b, uint64(len(e.value)))
	return append(append(b, e.key...), e.value...)
}

// reader takes a record apart. Past the end, or past a limit, it gives zeros and remembers.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) byte() byte {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if p := r.bytes(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

// delta reads what zigzag wrote.
func (r *reader) delta() uint64 { return uint64(unzigzag(r.uvarint(1<<64 - 1))) }

func (r *reader) columns() pagemap.Columns {
	return pagemap.Columns{Set: uint16(r.uvarint(1<<16 - 1)), Mask: uint16(r.uvarint(1<<16 - 1))}
}

func (r *reader) residency() chunk.Residency {
	t := r.uvarint(1<<17 - 1)
	low := uint64(0)
	if t&1 != 0 {
		low = r.uvarint(1<<40 - 1)
	}
	return chunk.Residency(t>>1<<40 | low)
}

// volume reads what start wrote.
func (x *prior) volume(r *reader, first byte) cluster.VolumeKey {
	if first&flagSame == 0 {
		x.vol = cluster.VolumeKey{VUID: uint32(r.uvarint(1<<32 - 1)), Generation: uint32(r.uvarint(1<<32 - 1))}
	}
	return x.vol
}

func (x *prior) readSeq(r *reader) cluster.Seq {
	x.w += cluster.Seq(r.delta())
	return x.w
}

func (x *prior) readPlace(r *reader, e *pagemap.Extent) {
	x.page += r.delta()
	e.Page, e.Column = x.page, r.byte()
}

// readRecord reads the map record at the start of b and returns its length. It uses the slices of rec again.
func (x *prior) readRecord(b []byte, rec *pagemap.Record) (int, error) {
	r := reader{b: b}
	first := r.byte()
	*rec = pagemap.Record{Kind: pagemap.RecordKind(first & kindMask), CRC: rec.CRC[:0], Columns: rec.Columns[:0]}
	rec.Vol = x.volume(&r, first)
	switch rec.Kind {
	case pagemap.Put, pagemap.Undo:
		x.readPlace(&r, &rec.Extent)
		rec.Residency = r.residency()
		rec.First, rec.N = uint16(r.byte()), uint16(r.byte())+1
		rec.W = x.readSeq(&r)
		if rec.Kind == pagemap.Put {
			x.readContent(&r, first, rec)
		}
	case pagemap.DropChunk, pagemap.Renumber:
		x.readPlace(&r, &rec.Extent)
		rec.Residency = r.residency()
	case pagemap.Stable:
		rec.W = x.readSeq(&r)
		rec.Holes = readHoles(&r, rec.W)
	case pagemap.Settle:
		rec.Epoch = uint32(r.uvarint(cluster.MaxOwnerEpoch))
	case pagemap.View:
		p := r.bytes(int(r.uvarint(maxBlock)))
		if r.bad {
			break
		}
		var err error
		if rec.View, err = chunk.GetView(p); err != nil {
			return 0, err
		}
	}
	if r.bad {
		return 0, fmt.Errorf("%w: kind %d", errShort, rec.Kind)
	}
	return len(b) - len(r.b), rec.Validate()
}

func readHoles(r *reader, at cluster.Seq) []cluster.Seq {
	n := int(r.uvarint(chunk.MaxHoles))
	if n == 0 {
		return nil
	}
	holes := make([]cluster.Seq, n)
	for i := range n {
		at -= cluster.Seq(r.uvarint(1<<64 - 1))
		holes[n-1-i] = at
	}
	return holes
}

func (x *prior) readContent(r *reader, first byte, rec *pagemap.Record) {
	rec.Tombstone, rec.Replace = first&flagTombstone != 0, first&flagReplace != 0
	le := binary.LittleEndian
	if first&flagColumns == 0 {
		rec.Columns = append(rec.Columns, r.columns())
	}
	if !rec.Tombstone {
		x.loc += r.delta()
		if rec.Loc = x.loc; rec.Loc >= 1<<48 {
			r.bad = true
		}
		for p := r.bytes(4 * int(rec.N)); len(p) > 0; p = p[4:] {
			rec.CRC = append(rec.CRC, le.Uint32(p))
		}
	}
	if first&flagColumns != 0 {
		for p := r.bytes(4 * int(rec.N)); len(p) > 0; p = p[4:] {
			rec.Columns = append(rec.Columns, pagemap.Columns{Set: le.Uint16(p), Mask: le.Uint16(p[2:])})
		}
	}
}

// readMeta reads the metadata record at the start of b and returns its length.
func readMeta(b []byte) (metaEntry, int, error) {
	r := reader{b: b}
	first := r.byte()
	e := metaEntry{gone: first&flagTombstone != 0, order: r.uvarint(1<<64 - 1)}
	k, v := int(r.uvarint(MaxMetaKey)), int(r.uvarint(MaxMetaValue))
	e.key = string(r.bytes(k))
	e.value = append([]byte{}, r.bytes(v)...)
	if r.bad || first&kindMask != metaRecord || k == 0 {
		return metaEntry{}, 0, fmt.Errorf("%w: metadata with a key of %d bytes, a value of %d", errShort, k, v)
	}
	return e, len(b) - len(r.b), nil
}

// uvarintSize is the length of an unsigned number.
func uvarintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
