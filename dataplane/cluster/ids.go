package cluster

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// BlockSize is the unit of consistency, checksums and allocation, in bytes.
const BlockSize = 4096

// LBASize is the logical block size that hosts see, in bytes.
const LBASize = 512

// NodeID is a node's number, from 1. Numbers are given out once and never reused.
type NodeID uint32

// DeviceID is a device's number, from 1, unique in the cluster and never reused.
type DeviceID uint32

// PoolID is a pool's number, from 1. It keys nothing on disk; names are for people.
type PoolID uint32

// Epoch counts the changes of the cluster map.
type Epoch uint64

// MaxVUID is the largest volume number (24 bits).
const MaxVUID = 1<<24 - 1

// VolumeKey names the data of a volume on devices and on the wire: a 24-bit VUID plus a generation, so that a
// reused VUID never sees the data of its predecessor.
type VolumeKey struct {
	VUID       uint32 `json:"vuid"`
	Generation uint32 `json:"generation"`
}

// String gives "vuid.generation", the form used in keys and logs.
func (k VolumeKey) String() string {
	return strconv.FormatUint(uint64(k.VUID), 10) + "." + strconv.FormatUint(uint64(k.Generation), 10)
}

// Valid reports whether the numbers are in range.
func (k VolumeKey) Valid() bool { return k.VUID > 0 && k.VUID <= MaxVUID && k.Generation > 0 }

// Serial counts the keys in the order in which they are given out, each once: all VUIDs of a generation, then
// those of the next. It is the VUID in the first generation.
func (k VolumeKey) Serial() uint64 { return uint64(k.Generation-1)<<24 | uint64(k.VUID) }

// VolumeKeyAfter is the key that follows the one of that serial, 0 for none; not valid when there is no more.
func VolumeKeyAfter(serial uint64) VolumeKey {
	n := serial + 1
	if n&MaxVUID == 0 {
		n++ // no VUID is 0
	}
	return VolumeKey{VUID: uint32(n & MaxVUID), Generation: uint32(n>>24 + 1)}
}

// Less orders keys by VUID, then generation.
func (k VolumeKey) Less(o VolumeKey) bool {
	if k.VUID != o.VUID {
		return k.VUID < o.VUID
	}
	return k.Generation < o.Generation
}

// ErrBadKey is wrapped by the errors of the Parse functions.
var ErrBadKey = errors.New("malformed identifier")

// ParseVolumeKey reads the form that String writes.
func ParseVolumeKey(s string) (VolumeKey, error) {
	a, b, ok := strings.Cut(s, ".")
	v, err1 := strconv.ParseUint(a, 10, 32)
	g, err2 := strconv.ParseUint(b, 10, 32)
	k := VolumeKey{VUID: uint32(v), Generation: uint32(g)}
	if !ok || err1 != nil || err2 != nil || !k.Valid() {
		return VolumeKey{}, fmt.Errorf("%w: volume key %q, want vuid.generation", ErrBadKey, s)
	}
	return k, nil
}

// UUID is a 16-byte identifier (RFC 9562), written in its usual text form in JSON.
type UUID [16]byte

// String gives the canonical lower-case form with dashes.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// IsZero reports whether u is the nil UUID.
func (u UUID) IsZero() bool { return u == UUID{} }

// MarshalText writes the canonical form.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads the canonical form.
func (u *UUID) UnmarshalText(t []byte) error {
	v, err := ParseUUID(string(t))
	if err == nil {
		*u = v
	}
	return err
}

// ParseUUID reads the canonical form, in either case.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("%w: UUID %q", ErrBadKey, s)
	}
	if _, err := hex.Decode(u[:], []byte(s[0:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err != nil {
		return UUID{}, fmt.Errorf("%w: UUID %q", ErrBadKey, s)
	}
	return u, nil
}

// NQNPrefix begins every NVMe qualified name that Ashlar makes.
const NQNPrefix = "nqn.2026-11.io.ashlar:"

// What the names of subsystems begin with.
const (
	VolumeNQNPrefix   = NQNPrefix + "vol:"
	SnapshotNQNPrefix = NQNPrefix + "snap:"
)

// VolumeNQN is the subsystem name of a volume.
func VolumeNQN(volume UUID) string { return VolumeNQNPrefix + volume.String() }

// SnapshotNQN is the subsystem name of a snapshot.
func SnapshotNQN(snapshot UUID) string { return SnapshotNQNPrefix + snapshot.String() }

// ParseSubsystemNQN reads the name of a volume's or a snapshot's subsystem; false when it is neither.
func ParseSubsystemNQN(s string) (id UUID, snapshot, ok bool) {
	text, isVolume := strings.CutPrefix(s, VolumeNQNPrefix)
	if !isVolume {
		if text, snapshot = strings.CutPrefix(s, SnapshotNQNPrefix); !snapshot {
			return UUID{}, false, false
		}
	}
	id, err := ParseUUID(text)
	return id, snapshot, err == nil
}

// NodeNQN is the name under which a node's chunk service is reached by other nodes, and by which a node
// introduces itself as a host.
func NodeNQN(clusterID UUID, n NodeID) string {
	return NQNPrefix + "node:" + clusterID.String() + ":" + strconv.FormatUint(uint64(n), 10)
}

// NodeServerName is what a node is called in the certificate that it shows to other nodes.
func NodeServerName(clusterID UUID, n NodeID) string {
	return "node-" + strconv.FormatUint(uint64(n), 10) + "." + clusterID.String() + ".ashlar"
}

// ParseNodeNQN is the inverse of NodeNQN.
func ParseNodeNQN(s string) (UUID, NodeID, error) {
	rest, ok := strings.CutPrefix(s, NQNPrefix+"node:")
	id, num, ok2 := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(num, 10, 32)
	if !ok || !ok2 || err != nil || n == 0 {
		return UUID{}, 0, fmt.Errorf("%w: node NQN %q", ErrBadKey, s)
	}
	u, err := ParseUUID(id)
	return u, NodeID(n), err
}

// Seq is the sequence number w that the owner gives to every write: owner epoch in the upper 24 bits, counter
// in the lower 40. Zero means "none".
type Seq uint64

const seqCounterBits = 40

// MaxSeqCounter is the largest counter of one owner epoch.
const MaxSeqCounter = 1<<seqCounterBits - 1

// MaxOwnerEpoch is the largest owner epoch (24 bits).
const MaxOwnerEpoch = 1<<24 - 1

// MakeSeq builds a sequence number.
func MakeSeq(epoch uint32, counter uint64) Seq {
	return Seq(uint64(epoch)<<seqCounterBits | counter&MaxSeqCounter)
}

// Epoch is the owner epoch that gave the number out.
func (s Seq) Epoch() uint32 { return uint32(s >> seqCounterBits) }

// Counter is the position within that epoch.
func (s Seq) Counter() uint64 { return uint64(s) & MaxSeqCounter }

// String gives "epoch.counter".
func (s Seq) String() string {
	return strconv.FormatUint(uint64(s.Epoch()), 10) + "." + strconv.FormatUint(s.Counter(), 10)
}

// MarshalText writes the form of String: a number of JSON would lose its last digits with many readers.
func (s Seq) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the form that String writes.
func (s *Seq) UnmarshalText(t []byte) error {
	a, b, ok := strings.Cut(string(t), ".")
	e, err1 := strconv.ParseUint(a, 10, 32)
	c, err2 := strconv.ParseUint(b, 10, 64)
	if !ok || err1 != nil || err2 != nil || e > MaxOwnerEpoch || c > MaxSeqCounter {
		return fmt.Errorf("%w: sequence number %q, want epoch.counter", ErrBadKey, t)
	}
	*s = MakeSeq(uint32(e), c)
	return nil
}
