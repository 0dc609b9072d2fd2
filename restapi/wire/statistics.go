package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Statistics is what a volume, a pool or a device did. Who counts is the owner of the volume, every owner of
// volumes of the pool, or the node of the device; a new owner begins anew.
type Statistics struct {
	Time     string           `json:"time"`  // of the totals
	Nodes    []cluster.NodeID `json:"nodes"` // that counted; none: nobody serves it now
	Missing  []cluster.NodeID `json:"missing,omitempty"`
	Totals   Totals           `json:"totals"`
	Interval int              `json:"interval_seconds"` // of a sample
	Samples  []Sample         `json:"samples"`          // the oldest first
}

// Totals are counted since the node began to own or serve it.
type Totals struct {
	Read    Flow `json:"read"`
	Write   Flow `json:"write"`
	Discard Flow `json:"discard"`
}

// Flow is all operations of one direction.
type Flow struct {
	Operations     uint64  `json:"operations"`
	Errors         uint64  `json:"errors"`
	Bytes          uint64  `json:"bytes"`
	LatencySeconds float64 `json:"latency_seconds"` // of all operations together
}

// Sample is one interval.
type Sample struct {
	Time  string `json:"time"` // its end
	Read  Rate   `json:"read"`
	Write Rate   `json:"write"`
}

// Rate is what one direction did in an interval.
type Rate struct {
	Operations uint64 `json:"operations"`
	Bytes      uint64 `json:"bytes"` // in steps of 1 KiB
	MeanUS     uint64 `json:"latency_mean_us"`
	P99US      uint64 `json:"latency_p99_us"` // of several nodes: the longest
}

// Logging is how a node logs.
type Logging struct {
	Level string `json:"level"` // error, warning, info or debug; until the node starts again
}
