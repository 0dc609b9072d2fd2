package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// VolumeSpace tells for whom devices keep the blocks of a volume. Present, Pinned and Reclaimable are all of
// them.
type VolumeSpace struct {
	Volume cluster.UUID `json:"volume"`
	// Present is what the volume shows now.
	Present Holding `json:"present"`
	// Pinned is what only snapshots show, each block once.
	Pinned Amount `json:"pinned"`
	// Reclaimable is what nobody shows any more: it comes back by itself.
	Reclaimable Amount             `json:"reclaimable"`
	Snapshots   []SnapshotSpace    `json:"snapshots"` // the oldest first
	Devices     []cluster.DeviceID `json:"devices"`   // that were counted
	Missing     []Uncounted        `json:"missing"`   // empty: it is all
}

// Amount is the bytes of blocks that were written, without and with their redundancy. Zeros and what was
// never written take none.
type Amount struct {
	Data uint64 `json:"data_bytes"` // in data columns, or the first copy
	Raw  uint64 `json:"raw_bytes"`  // of devices: parities, or the other copies, too
}

// Holding is what a snapshot, or the volume as it is now, shows.
type Holding struct {
	Exclusive Amount `json:"exclusive"` // nothing else shows it: what deleting the snapshot frees
	Shared    Amount `json:"shared"`
}

// SnapshotSpace is that of a snapshot. One that was deleted and is kept for its clones is hidden, and has
// neither id nor name.
type SnapshotSpace struct {
	Snapshot cluster.UUID `json:"snapshot,omitzero"`
	Name     string       `json:"name,omitempty"`
	Hidden   bool         `json:"hidden,omitempty"`
	Pin      string       `json:"pin"`
	Holding
}

// Uncounted is a device that may keep blocks of the volume and could not be asked.
type Uncounted struct {
	Device cluster.DeviceID `json:"device"`
	Node   cluster.NodeID   `json:"node"`
	Reason string           `json:"reason"` // for people
}
