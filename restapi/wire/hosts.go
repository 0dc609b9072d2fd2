package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Host is an initiator, named by its NQN: it may attach volumes or snapshots, or is connected to some. It has
// no record, and no version: all of it follows from who was let in, and from what nodes see.
type Host struct {
	NQN         string           `json:"nqn"`
	Access      []HostAccess     `json:"access"`      // what it may attach, volumes first
	Connections []HostConnection `json:"connections"` // by node
	// Missing are the nodes that did not answer; the host may be connected to these, too.
	Missing []cluster.NodeID `json:"missing"`
}

// HostAccess is a volume, or a snapshot of it, that a host may attach.
type HostAccess struct {
	Volume   cluster.UUID `json:"volume"`
	Snapshot cluster.UUID `json:"snapshot,omitzero"`
	Name     string       `json:"name"` // of the volume or the snapshot
	Project  string       `json:"project,omitempty"`
	NQN      string       `json:"nqn"` // of the subsystem
}

// HostConnection is an association of a host with a subsystem of one node.
type HostConnection struct {
	Node     cluster.NodeID `json:"node"`
	Volume   cluster.UUID   `json:"volume"`
	Snapshot cluster.UUID   `json:"snapshot,omitzero"`
	NQN      string         `json:"nqn"`     // of the subsystem
	Address  string         `json:"address"` // that it comes from
	Since    string         `json:"since"`
	Queues   int            `json:"queues"` // for I/O
}
