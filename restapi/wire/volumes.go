package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// VolumeCreate asks for a volume. ID is the identity by which a repetition is recognised.
type VolumeCreate struct {
	// Source is what a clone begins as. Its pool is then the default and the only choice, its size the least.
	Source *Source `json:"source,omitempty"`

	ID      cluster.UUID `json:"id,omitzero"`
	Name    string       `json:"name"`
	Project string       `json:"project,omitempty"` // default: the caller's
	Pool    string       `json:"pool,omitempty"`
	Size    uint64       `json:"size_bytes,omitempty"`

	Description string `json:"description,omitempty"`

	Metadata cluster.Metadata `json:"metadata,omitempty"`
	// Encryption is "aes-256-xts", "none", or empty: as the pool says, or the source.
	Encryption string `json:"encryption,omitempty"`
	// Compression is "s2", "none", or empty: as the pool says.
	Compression string `json:"compression,omitempty"`
	// Provisioning is Thin, Thick, or empty: as the pool says.
	Provisioning string `json:"provisioning,omitempty"`
	// ReadOnly: hosts may not write, from the beginning on.
	ReadOnly bool `json:"read_only,omitempty"`
}

// The ways to provision: a thin volume takes space as it is written, a thick one has its whole size set
// aside.
const (
	Thin  = "thin"
	Thick = "thick"
)

// Source is a snapshot, or a volume as it is now: one of the two.
type Source struct {
	Snapshot cluster.UUID `json:"snapshot,omitzero"`
	Volume   cluster.UUID `json:"volume,omitzero"`
}

// VolumeUpdate changes what it names of a volume, as a JSON merge patch (RFC 7396): the rest stays.
type VolumeUpdate struct {
	Name        *string `json:"name,omitempty"`
	Description *string `json:"description,omitempty"`
	Size        *uint64 `json:"size_bytes,omitempty"`
	// AllowShrink: Size may be smaller than it is, if nothing is there; DiscardData: or if something is.
	AllowShrink bool `json:"allow_shrink,omitempty"`
	DiscardData bool `json:"discard_data,omitempty"`

	ReadOnly *bool `json:"read_only,omitempty"`
	// Provisioning is Thin, Thick, or empty: as it is.
	Provisioning string `json:"provisioning,omitempty"`
	// Metadata sets the pairs that it names, and removes those whose value is nil.
	Metadata map[string]*string `json:"metadata,omitempty"`
}

// VolumeRevert asks for a volume to be what a snapshot of it shows. Force: although hosts may use the volume,
// or newer snapshots of it exist.
type VolumeRevert struct {
	Snapshot cluster.UUID `json:"snapshot"`
	Force    bool         `json:"force,omitempty"`
}

// VolumeNumbers name the data of a volume on devices.
type VolumeNumbers struct {
	VUID       uint32 `json:"vuid"`
	Generation uint32 `json:"generation"`
}

// Volume is a block device shown to hosts.
type Volume struct {
	Versioned
	ID   cluster.UUID `json:"id"`
	Name string       `json:"name"`
	Belonging
	Pool string `json:"pool"`
	Size uint64 `json:"size_bytes"`
	VolumeNumbers
	NQN     string   `json:"nqn"`
	Health  Status   `json:"health"`
	Reasons []string `json:"reasons"` // why it is not ok, for people
	State   string   `json:"state,omitempty"`
	Owner   *Owner   `json:"owner,omitempty"`
	Healing *Healing `json:"healing,omitempty"` // absent while its owner published nothing
	Sealing
	VolumePolicy
	Lineage
	Hosts       []string         `json:"hosts"`
	Metadata    cluster.Metadata `json:"metadata"`
	Description string           `json:"description,omitempty"`
	Created     string           `json:"created"`
}

// Belonging is whose a volume is, and with which others it is taken care of.
type Belonging struct {
	Project string       `json:"project,omitempty"`
	Group   cluster.UUID `json:"group,omitzero"`
}

// VolumePolicy is what a volume takes, and what its hosts may do to it.
type VolumePolicy struct {
	Provisioning string `json:"provisioning"` // Thin or Thick
	ReadOnly     bool   `json:"read_only"`
	QoS          *QoS   `json:"qos,omitempty"` // of its own; absent: as the pool says
	// Home is the failure domain whose nodes serve it; absent: as the pool says, empty: none.
	Home        *string `json:"home,omitempty"`
	Compression string  `json:"compression"` // "none" or "s2"
	// Stored is what is stored of the data that was compressed since the owner began, in percent of it.
	Stored uint8 `json:"stored_percent,omitempty"`
}

// Sealing is how a volume is encrypted.
type Sealing struct {
	Encryption string `json:"encryption"`            // "none" or "aes-256-xts"
	ClusterKey string `json:"cluster_key,omitempty"` // absent: destroyed
}

// Lineage is where the content of a volume comes from, and what is about to leave it.
type Lineage struct {
	Parent *Parent `json:"parent,omitempty"` // absent: it began empty
	Hidden bool    `json:"hidden,omitempty"` // it was deleted, and is kept for clones
	Revert *Revert `json:"revert,omitempty"` // absent: it never was
	Shrink *Shrink `json:"shrink,omitempty"` // absent: nothing is being cut off
}

// Parent is what a clone began as: a volume up to a sequence number, and its size then. Neither that volume
// nor the snapshot need to be there any more for people.
type Parent struct {
	Volume   cluster.UUID `json:"volume"`
	Snapshot cluster.UUID `json:"snapshot"`
	Pin      string       `json:"pin"`
	Size     uint64       `json:"size_bytes"`
	Flatten  *Flatten     `json:"flatten,omitempty"` // absent: nobody asked for one
}

// Flatten is how far a clone is on the way to share nothing with its parent.
type Flatten struct {
	Done  uint64 `json:"done_bytes"`
	Total uint64 `json:"total_bytes"`
	// Pinned: all is copied; snapshots that were taken before may still show the parent.
	Pinned bool `json:"pinned,omitempty"`
}

// Shrink is how far a volume is that something is cut off.
type Shrink struct {
	Size  uint64      `json:"size_bytes"` // it is to have
	State ShrinkState `json:"state"`
	Done  uint64      `json:"done_bytes"`
	Total uint64      `json:"total_bytes"`
	Asked string      `json:"asked"`
}

// ShrinkState is what is done for a shrink.
type ShrinkState string

// The states: what is to be cut off is searched for data, and nothing is decided yet; or it is cleared,
// and the volume is as large as it is to be.
const (
	ShrinkLooking  ShrinkState = "looking"
	ShrinkClearing ShrinkState = "clearing"
)

// Revert is what a volume was asked last to become again. It is done unless the state of that snapshot is
// "reverting".
type Revert struct {
	Snapshot cluster.UUID `json:"snapshot"`
	Asked    string       `json:"asked"`
}

// Owner is the gateway that serves a volume, and its owner epoch.
type Owner struct {
	Gateway  cluster.NodeID `json:"gateway"`
	Epoch    uint32         `json:"epoch"`
	MovingTo cluster.NodeID `json:"moving_to,omitempty"` // was asked to take the volume over
}

// VolumeHome is the failure domain whose nodes are to serve a volume; empty: none.
type VolumeHome struct {
	Home *string `json:"home"`
}

// VolumeMove names the node that is to serve a volume.
type VolumeMove struct {
	Node cluster.NodeID `json:"node"`
}

// Healing is how far a volume is from lying whole where it belongs.
type Healing struct {
	Down   []cluster.DeviceID `json:"down"`         // devices that do not answer its owner
	Away   uint64             `json:"away_chunks"`  // at alternates, or moved already
	Stale  uint64             `json:"stale_chunks"` // that missed writes, which are nowhere else
	Moving *Moving            `json:"moving,omitempty"`
	Copied uint64             `json:"copied_bytes"`    // brought home or moved, since the owner began
	Mended uint64             `json:"repaired_blocks"` // after a checksum error, since the owner began
	// Compared counts the passes of this owner over all rows, Disagreed the rows whose parities were not what
	// their data makes: they were written anew.
	Compared  uint64 `json:"compared_passes"`
	Disagreed uint64 `json:"disagreed_rows"`
	// Unrepaired are the blocks that scrubbing found bad and that could not be repaired so far.
	Unrepaired uint64 `json:"unrepaired_blocks,omitempty"`
	Rebuilt    uint64 `json:"degraded_reads"` // reads that needed other columns, since the owner began
}

// Moving is a volume's way to a newer group table of its pool.
type Moving struct {
	Table  uint32 `json:"table"`
	Moved  uint32 `json:"moved_groups"`
	Groups uint32 `json:"groups"`
}

// Export is how one host reaches a volume, or a snapshot of it.
type Export struct {
	Versioned              // of the volume: its exports are part of it
	Volume    cluster.UUID `json:"volume"`
	Snapshot  cluster.UUID `json:"snapshot,omitzero"`
	Host      string       `json:"host"`
	NQN       string       `json:"nqn"`
	UUID      cluster.UUID `json:"uuid"`
	Portals   []Portal     `json:"portals"`
}

// Portal is one address of a subsystem.
type Portal struct {
	Transport string         `json:"transport"` // "tcp"
	Address   string         `json:"address"`
	Port      int            `json:"port"`
	Node      cluster.NodeID `json:"node"`
}
