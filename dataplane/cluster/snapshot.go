package cluster

import "unicode/utf8"

// SnapshotState is what a snapshot is on its way to. The control plane asks, the volume's owner does it and
// says so in one transaction with the owner record: whoever owns the volume next finds what is left to do.
//
//	      create            the owner has pinned it                    delete               the owner let go
//	(none) -----> creating -----------------------> available ---------------> deleting ------------> (none)
//	                                                 |     ^
//	                                          revert '-----' the volume is what the snapshot was
//	                                                reverting
type SnapshotState string

// The states. SnapshotGone is never stored: it stands for a record that is to be removed.
const (
	SnapshotCreating  SnapshotState = "creating"
	SnapshotAvailable SnapshotState = "available"
	SnapshotReverting SnapshotState = "reverting"
	SnapshotDeleting  SnapshotState = "deleting"
	SnapshotGone      SnapshotState = "gone"
)

// Snapshot is a volume as it was at one moment: a pinned sequence number with a name.
type Snapshot struct {
	UUID        UUID          `json:"uuid"` // also the UUID and NGUID of its namespace
	Name        string        `json:"name"` // unique among the snapshots of the volume
	Volume      UUID          `json:"volume"`
	Project     string        `json:"project,omitempty"` // the volume's
	Key         VolumeKey     `json:"key"`               // of the volume
	State       SnapshotState `json:"state"`
	Pin         Seq           `json:"pin,omitempty"` // since it is available
	Size        uint64        `json:"size"`          // of the volume then, in bytes
	Hosts       []string      `json:"hosts,omitempty"`
	Description string        `json:"description,omitempty"`
	Metadata    Metadata      `json:"metadata,omitempty"`
	Created     string        `json:"created"`
	// Clones counts the volumes whose parent it is. Hidden: for people it does not exist, it is kept for them.
	Clones uint32 `json:"clones,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
	// Set is the group snapshot that it is part of; nil: none.
	Set *SnapshotSet `json:"set,omitempty"`
	// Schedule has made it, and removes it again; zero: people did.
	Schedule UUID `json:"schedule,omitzero"`
	// Request is a digest of the request that created it, by which its repetition is recognised.
	Request string `json:"request,omitempty"`
}

// SnapshotSet is a group snapshot as its parts name it: snapshots of several volumes at one point of their
// hosts' time. They become available in one transaction, or none does.
type SnapshotSet struct {
	UUID    UUID   `json:"uuid"`
	Volumes uint32 `json:"volumes"` // how many parts it has
}

// MaxClones bounds the clones of one snapshot.
const MaxClones = 1 << 20

// SnapshotAt is a snapshot's record with the revision that wrote it, or that it must still have to be
// replaced.
type SnapshotAt struct {
	Snapshot
	Revision int64
}

// Unsettled reports that the owner of the volume has something to do for the snapshot.
func (s *Snapshot) Unsettled() bool { return s.State != SnapshotAvailable }

// NameKey is the key beside its record: what reserves its name or, of a hidden one, lists it.
func (s *Snapshot) NameKey() string {
	if s.Hidden {
		return KeyHiddenSnapshot(s.Volume, s.UUID)
	}
	return KeySnapshotName(s.Volume, s.Name)
}

// Validate checks the fields of a record.
func (s *Snapshot) Validate() error {
	if err := ValidateName("name", s.Name); err != nil {
		return err
	}
	if err := ValidateSize("size", s.Size); err != nil {
		return err
	}
	switch s.State {
	case SnapshotCreating, SnapshotDeleting:
		if s.Clones > 0 {
			return bad("clones", "there are %d, of a snapshot that is %s", s.Clones, s.State)
		}
	case SnapshotAvailable, SnapshotReverting:
		if s.Pin == 0 {
			return bad("pin", "must be set while the snapshot is %s", s.State)
		}
	default:
		return bad("state", "%q is none of a stored snapshot", s.State)
	}
	if s.Set != nil && (s.Set.UUID.IsZero() || s.Set.Volumes == 0 || s.Set.Volumes > MaxGroupVolumes) {
		return bad("set", "group snapshot %v of %d volumes", s.Set.UUID, s.Set.Volumes)
	}
	if s.UUID.IsZero() || s.Volume.IsZero() || !s.Key.Valid() {
		return bad("uuid", "%v of volume %v (%v) is not complete", s.UUID, s.Volume, s.Key)
	}
	if len(s.Hosts) > MaxHosts {
		return bad("hosts", "%d hosts, at most %d are allowed", len(s.Hosts), MaxHosts)
	}
	for _, h := range s.Hosts {
		if err := ValidateNQN("hosts", h); err != nil {
			return err
		}
	}
	if len(s.Description) > MaxDescription || !utf8.ValidString(s.Description) {
		return bad("description", "is longer than %d bytes, or no UTF-8", MaxDescription)
	}
	return s.Metadata.Validate()
}
