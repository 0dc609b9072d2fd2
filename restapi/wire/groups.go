package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// GroupCreate asks for a group of volumes. ID is the identity by which a repetition is recognised.
type GroupCreate struct {
	ID      cluster.UUID `json:"id,omitzero"`
	Name    string       `json:"name"`
	Project string       `json:"project,omitempty"` // default: the caller's
	// Volumes are to be in it; they are in no other. Not together with Source.
	Volumes []cluster.UUID `json:"volumes,omitempty"`
	// Source has a clone made of every volume that the group snapshot is of.
	Source      *GroupSource     `json:"source,omitempty"`
	Description string           `json:"description,omitempty"`
	Metadata    cluster.Metadata `json:"metadata,omitempty"`
}

// GroupSource is a group snapshot.
type GroupSource struct {
	Snapshot cluster.UUID `json:"snapshot"`
}

// GroupUpdate changes what it names of a group, as a JSON merge patch (RFC 7396), and which volumes are in
// it.
type GroupUpdate struct {
	Name        *string            `json:"name,omitempty"`
	Description *string            `json:"description,omitempty"`
	Metadata    map[string]*string `json:"metadata,omitempty"`
	Add         []cluster.UUID     `json:"add,omitempty"`
	Remove      []cluster.UUID     `json:"remove,omitempty"`
}

// GroupRevert asks for the volumes of a group snapshot to be what it shows. Force is as for a volume.
type GroupRevert struct {
	Snapshot cluster.UUID `json:"snapshot"`
	Force    bool         `json:"force,omitempty"`
}

// Group is volumes that snapshots are taken of together.
type Group struct {
	Versioned
	ID          cluster.UUID     `json:"id"`
	Name        string           `json:"name"`
	Project     string           `json:"project,omitempty"`
	Volumes     []cluster.UUID   `json:"volumes"`
	Revert      *Revert          `json:"revert,omitempty"` // absent: it never was
	Description string           `json:"description"`
	Metadata    cluster.Metadata `json:"metadata"`
	Created     string           `json:"created"`
}

// GroupSnapshotCreate asks for a snapshot of all volumes of a group as they are now.
type GroupSnapshotCreate struct {
	ID          cluster.UUID     `json:"id,omitzero"`
	Group       cluster.UUID     `json:"group"`
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Metadata    cluster.Metadata `json:"metadata,omitempty"`
}

// GroupSnapshot is volumes as they were at one moment.
type GroupSnapshot struct {
	Versioned
	ID      cluster.UUID `json:"id"`
	Name    string       `json:"name"`
	Project string       `json:"project,omitempty"` // the group's
	Group   cluster.UUID `json:"group"`
	// State is that of the snapshots; reverting as long as one of them is.
	State     cluster.SnapshotState `json:"state"`
	Snapshots []GroupPart           `json:"snapshots"`
	// Schedule that has made it, and removes it again; it may be gone.
	Schedule    cluster.UUID     `json:"schedule,omitzero"`
	Description string           `json:"description"`
	Metadata    cluster.Metadata `json:"metadata"`
	Created     string           `json:"created"`
}

// GroupPart is the snapshot of one volume.
type GroupPart struct {
	Volume   cluster.UUID `json:"volume"`
	Snapshot cluster.UUID `json:"snapshot"`
	Size     uint64       `json:"size_bytes"` // of the volume then
}
