package cluster

import (
	"cmp"
	"slices"
)

// Purge is what is known of a volume or snapshot that was deleted and whose space devices give back. It is
// written by the transaction that deletes the record, and not again: its revision says since when there is
// something to give back. Who has done so is in what nodes publish (Purged).
type Purge struct {
	UUID    UUID      `json:"uuid"` // of what was deleted
	Name    string    `json:"name"`
	Project string    `json:"project,omitempty"`
	Volume  UUID      `json:"volume"`
	Key     VolumeKey `json:"key"`            // of the volume
	Pool    string    `json:"pool,omitempty"` // of a volume
	// Pin and View are of a snapshot: what it was, and the version of the first view list without it.
	Pin  Seq    `json:"pin,omitempty"`
	View uint32 `json:"view,omitempty"`
	// Destroyed is of a volume that was erased: such a record stays for a while when it has Ended (RFC 3339).
	Destroyed *DestroyedKey `json:"destroyed,omitempty"`
	Ended     string        `json:"ended,omitempty"`
	Confirmed int           `json:"confirmed,omitempty"` // devices, when it has ended
}

// DestroyedKey tells of a data key that went with its volume, so that devices hold nothing but noise.
type DestroyedKey struct {
	DataKey    UUID   `json:"data_key"`
	ClusterKey string `json:"cluster_key,omitempty"` // that had wrapped it
	At         string `json:"at"`                    // RFC 3339, UTC
}

// PurgeAt is a purge with the revision that wrote it.
type PurgeAt struct {
	Purge
	Revision int64
}

// MaxPurgesLeft bounds the purges that a device names.
const MaxPurgesLeft = 64

// Purged is how far a device is with what was deleted: of the purges up to a revision all have ended on it,
// except those that are left.
type Purged struct {
	Through int64       `json:"through"`
	Left    []PurgeLeft `json:"left,omitempty"` // the oldest first
}

// PurgeLeft is a purge that has not ended on a device.
type PurgeLeft struct {
	Key   VolumeKey `json:"key"`
	Pin   Seq       `json:"pin,omitempty"`
	Bytes uint64    `json:"bytes,omitempty"` // still to come back, as far as that is known
}

// PurgedOf says how far a device is with purges; left tells, of each of them, whether the device has
// something to give back, and how much.
func PurgedOf(purges []PurgeAt, left func(*Purge) (bytes uint64, some bool)) *Purged {
	byAge := slices.SortedFunc(slices.Values(purges), func(a, b PurgeAt) int {
		return cmp.Compare(a.Revision, b.Revision)
	})
	p := &Purged{}
	for i := range byAge {
		bytes, some := left(&byAge[i].Purge)
		if some && len(p.Left) == MaxPurgesLeft {
			p.Through = min(p.Through, byAge[i].Revision-1)
			break
		}
		if some {
			p.Left = append(p.Left, PurgeLeft{Key: byAge[i].Key, Pin: byAge[i].Pin, Bytes: bytes})
		}
		p.Through = byAge[i].Revision
	}
	return p
}

// Ended tells whether a purge has ended on a device and, if not, how many bytes are known to be still to
// come back; nil knows of nothing.
func (p *Purged) Ended(at *PurgeAt) (bytes uint64, ended bool) {
	if p == nil || p.Through < at.Revision {
		return 0, false
	}
	for _, l := range p.Left {
		if l.Key == at.Key && l.Pin == at.Pin {
			return l.Bytes, false
		}
	}
	return 0, true
}
