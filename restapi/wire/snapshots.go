package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// SnapshotCreate asks for a snapshot of a volume as it is now. ID is the identity by which a repetition is
// recognised.
type SnapshotCreate struct {
	ID          cluster.UUID     `json:"id,omitzero"`
	Volume      cluster.UUID     `json:"volume"`
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Metadata    cluster.Metadata `json:"metadata,omitempty"`
}

// SnapshotUpdate changes what people say of a snapshot; what it leaves out stays.
type SnapshotUpdate struct {
	Name        *string          `json:"name,omitempty"`
	Description *string          `json:"description,omitempty"`
	Metadata    cluster.Metadata `json:"metadata,omitempty"`
}

// Snapshot is a volume as it was at one moment.
type Snapshot struct {
	Versioned
	ID      cluster.UUID          `json:"id"`
	Name    string                `json:"name"`
	Project string                `json:"project,omitempty"` // the volume's
	Volume  cluster.UUID          `json:"volume"`
	State   cluster.SnapshotState `json:"state"`
	Size    uint64                `json:"size_bytes"`
	Pin     string                `json:"pin,omitempty"` // once it is available
	NQN     string                `json:"nqn"`
	Hosts   []string              `json:"hosts"`
	Clones  uint32                `json:"clones"` // volumes that began as it
	// GroupSnapshot that it is a part of.
	GroupSnapshot cluster.UUID `json:"group_snapshot,omitzero"`
	// Schedule that has made it, and removes it again; it may be gone. Of a part it is the group snapshot's.
	Schedule cluster.UUID `json:"schedule,omitzero"`

	Description string           `json:"description"`
	Metadata    cluster.Metadata `json:"metadata"`
	Created     string           `json:"created"`
}
