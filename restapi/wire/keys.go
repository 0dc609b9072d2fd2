package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Keys is which cluster keys wrap the data keys of encrypted volumes. The keys themselves are never shown.
type Keys struct {
	Versioned
	Current string       `json:"current,omitempty"` // absent: none yet
	Since   string       `json:"since,omitempty"`
	Keys    []ClusterKey `json:"keys"`
}

// ClusterKey is a key that is current or still wraps something.
type ClusterKey struct {
	ID      string `json:"id"`
	Current bool   `json:"current"`
	Volumes int    `json:"volumes"`
	// Authority: it wraps the key of the cluster's certificate authority.
	Authority bool             `json:"authority"`
	Missing   []cluster.NodeID `json:"missing_on"` // nodes that are alive and do not have it
}

// KeyRotation makes another key the current one.
type KeyRotation struct {
	To string `json:"to"`
}
