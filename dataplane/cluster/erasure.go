package cluster

// Erasure is what is known of a volume that was erased: its data key is gone with its record, and devices
// confirm one after the other that nothing of it is left.
type Erasure struct {
	Volume  UUID      `json:"volume"`
	Name    string    `json:"name"`
	Project string    `json:"project,omitempty"`
	Pool    string    `json:"pool"`
	Key     VolumeKey `json:"key"`
	// DataKey is the key that was destroyed, ClusterKey the one that had wrapped it, Destroyed when (RFC 3339,
	// UTC).
	DataKey    UUID   `json:"data_key"`
	ClusterKey string `json:"cluster_key,omitempty"`
	Destroyed  string `json:"destroyed"`
	// Devices are those that were online then, with when each has confirmed; empty: not yet.
	Devices map[DeviceID]string `json:"devices"`
	Ended   string              `json:"ended,omitempty"` // all that are still there have confirmed
}
