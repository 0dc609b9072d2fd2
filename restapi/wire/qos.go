package wire

// QoS bounds what hosts may do with a volume; 0 is no bound. A host that wants more gets slower.
type QoS struct {
	IOPS      uint64 `json:"iops,omitempty"`             // commands a second
	Bandwidth uint64 `json:"bytes_per_second,omitempty"` // read and written
	BurstMS   uint32 `json:"burst_ms,omitempty"`         // how much of it may come at once; 0: 100
}

// PoolQoS bounds the volumes of a pool.
type PoolQoS struct {
	Total  *QoS `json:"total,omitempty"`      // of all its volumes together
	Volume *QoS `json:"per_volume,omitempty"` // of each volume that has no bounds of its own
}
