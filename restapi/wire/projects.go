package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Quota bounds what a project uses; what is absent is not bounded. It is the body that sets it.
type Quota struct {
	Volumes *uint64 `json:"volumes,omitempty"`
	Bytes   *uint64 `json:"bytes,omitempty"`
}

// Project owns volumes.
type Project struct {
	Versioned
	Name  string        `json:"name"`
	Quota Quota         `json:"quota"`
	Used  cluster.Usage `json:"used"`
}
