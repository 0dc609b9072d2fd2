package lease

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ReplySize is the length of an encoded reply, in bytes:
//
//	0       8      16       20       24      25     26    32                     32+120*12        4096
//	+-------+------+--------+--------+-------+------+-----+----------------------+----------------+
//	| boot  | seq  | fences | seen   | more  | ver. | 0   | fences, 12 bytes each| seen, 8 each   |
//	+-------+------+--------+--------+-------+------+-----+----------------------+----------------+
//	fence: VUID (4), generation (4), epoch (4); seen: gateway (4), age in ms (4). Little endian.
const ReplySize = 4096

const (
	replyVersion = 1
	fenceOffset  = 32
	fenceSize    = 12
	seenOffset   = fenceOffset + MaxFences*fenceSize
	seenSize     = 8
	maxSeen      = (ReplySize - seenOffset) / seenSize
)

// ErrReply is wrapped by the errors of DecodeReply.
var ErrReply = errors.New("malformed lease reply")

// EncodeReply writes a reply into ReplySize bytes. Of more gateways than fit, the ones with the highest
// numbers are left out: nobody suspects a gateway for that, see Suspects.
func EncodeReply(r *Reply, b []byte) {
	clear(b[:ReplySize])
	le := binary.LittleEndian
	seen := r.Seen[:min(len(r.Seen), maxSeen)]
	le.PutUint64(b, r.At.Boot)
	le.PutUint64(b[8:], r.At.Seq)
	le.PutUint32(b[16:], uint32(len(r.Fences)))
	le.PutUint32(b[20:], uint32(len(seen)))
	if r.More {
		b[24] = 1
	}
	b[25] = replyVersion
	for i, f := range r.Fences {
		o := b[fenceOffset+i*fenceSize:]
		le.PutUint32(o, f.Vol.VUID)
		le.PutUint32(o[4:], f.Vol.Generation)
		le.PutUint32(o[8:], f.Epoch)
	}
	for i, s := range seen {
		o := b[seenOffset+i*seenSize:]
		le.PutUint32(o, uint32(s.Gateway))
		le.PutUint32(o[4:], s.AgeMS)
	}
}

// DecodeReply reads what EncodeReply wrote.
func DecodeReply(b []byte) (Reply, error) {
	if len(b) < ReplySize {
		return Reply{}, fmt.Errorf("%w: %d bytes", ErrReply, len(b))
	}
	le := binary.LittleEndian
	fences, seen := le.Uint32(b[16:]), le.Uint32(b[20:])
	if b[25] != replyVersion || b[24] > 1 || fences > MaxFences || seen > maxSeen {
		return Reply{}, fmt.Errorf("%w: version %d, %d fences, %d gateways", ErrReply, b[25], fences, seen)
	}
	r := Reply{At: Position{Boot: le.Uint64(b), Seq: le.Uint64(b[8:])}, More: b[24] == 1}
	for i := range int(fences) {
		o := b[fenceOffset+i*fenceSize:]
		f := Fence{Vol: cluster.VolumeKey{VUID: le.Uint32(o), Generation: le.Uint32(o[4:])},
			Epoch: le.Uint32(o[8:])}
		if !f.Vol.Valid() {
			return Reply{}, fmt.Errorf("%w: volume %v", ErrReply, f.Vol)
		}
		r.Fences = append(r.Fences, f)
	}
	for i := range int(seen) {
		o := b[seenOffset+i*seenSize:]
		r.Seen = append(r.Seen, Seen{Gateway: cluster.NodeID(le.Uint32(o)), AgeMS: le.Uint32(o[4:])})
	}
	return r, nil
}
