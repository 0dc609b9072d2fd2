package scrub

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// RecordSize is the length of a record, in bytes.
const RecordSize = 88

const (
	recordVersion = 1
	flagRunning   = 1
)

// ErrRecord means that something is no record of this version.
var ErrRecord = errors.New("no record of scrubbing")

// Record is where the scrubbing of a device is. Times are seconds since 1970, 0 for never.
type Record struct {
	Running bool // a pass is under way
	Began   int64
	Ended   int64
	Wanted  int64
	Read    uint64 // bytes, by the last pass that began
	Bad     uint64 // versions that it found bad, known ones too
	Found   uint64 // versions that were found bad, ever
	Passes  uint64 // that came to their end
	At      Position
}

// Encode gives the record as it is stored.
func (r *Record) Encode() []byte {
	b := make([]byte, RecordSize)
	flags := uint32(r.At.Block)<<16 | uint32(r.At.Column)<<8
	if r.Running {
		flags |= flagRunning
	}
	le := binary.LittleEndian
	le.PutUint32(b, recordVersion)
	le.PutUint32(b[4:], flags)
	for i, v := range [...]uint64{uint64(r.Began), uint64(r.Ended), uint64(r.Wanted), r.Read, r.Bad, r.Found,
		r.Passes} {
		le.PutUint64(b[8+8*i:], v)
	}
	le.PutUint32(b[64:], r.At.Vol.VUID)
	le.PutUint32(b[68:], r.At.Vol.Generation)
	le.PutUint64(b[72:], r.At.Page)
	le.PutUint64(b[80:], uint64(r.At.W))
	return b
}

// DecodeRecord reads what Encode wrote.
func DecodeRecord(b []byte) (r Record, err error) {
	le := binary.LittleEndian
	if len(b) != RecordSize {
		return r, fmt.Errorf("%w: %d bytes", ErrRecord, len(b))
	}
	if v := le.Uint32(b); v != recordVersion {
		return r, fmt.Errorf("%w: version %d", ErrRecord, v)
	}
	flags := le.Uint32(b[4:])
	r.Running = flags&flagRunning != 0
	times := [...]*int64{&r.Began, &r.Ended, &r.Wanted}
	for i := range times {
		if *times[i] = int64(le.Uint64(b[8+8*i:])); *times[i] < 0 || *times[i] > 1<<40 {
			return Record{}, fmt.Errorf("%w: time %d", ErrRecord, *times[i])
		}
	}
	r.Read, r.Bad, r.Found, r.Passes = le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint64(b[56:])
	r.At.Vol = cluster.VolumeKey{VUID: le.Uint32(b[64:]), Generation: le.Uint32(b[68:])}
	r.At.Cursor = pagemap.Cursor{Page: le.Uint64(b[72:]), Column: uint8(flags >> 8), Block: uint16(flags >> 16),
		W: cluster.Seq(le.Uint64(b[80:]))}
	if flags&0xfe != 0 || !r.Running && r.At != (Position{}) || r.At != (Position{}) && !r.At.Vol.Valid() ||
		r.At.Block >= pagemap.MaxChunkBlocks {
		return Record{}, fmt.Errorf("%w: flags %#x, position %+v", ErrRecord, flags, r.At)
	}
	return r, nil
}
