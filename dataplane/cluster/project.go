package cluster

import "math"

// Project owns volumes. Its record is written with the first of them, or when its quota is set; what it uses
// changes in the same transactions as its volumes.
type Project struct {
	Name  string `json:"name"`
	Quota Quota  `json:"quota"`
	Used  Usage  `json:"used"`
}

// Quota bounds what a project uses; nil: no bound.
type Quota struct {
	Volumes *uint64 `json:"volumes,omitempty"`
	Bytes   *uint64 `json:"bytes,omitempty"` // the sum of the sizes of its volumes, as hosts see them
}

// Usage is what a project has.
type Usage struct {
	Volumes uint64 `json:"volumes"`
	Bytes   uint64 `json:"bytes"`
}

// Plus is the usage after a change. Nothing falls below 0.
func (u Usage) Plus(volumes, bytes int64) Usage {
	return Usage{Volumes: plus(u.Volumes, volumes), Bytes: plus(u.Bytes, bytes)}
}

func plus(have uint64, change int64) uint64 {
	if change < 0 {
		return have - min(have, uint64(-change))
	}
	return have + min(uint64(change), math.MaxUint64-have)
}

// Exceeds names what of u is beyond q, "" when nothing is.
func (q Quota) Exceeds(u Usage) (field string, have, most uint64) {
	switch {
	case q.Volumes != nil && u.Volumes > *q.Volumes:
		return "volumes", u.Volumes, *q.Volumes
	case q.Bytes != nil && u.Bytes > *q.Bytes:
		return "bytes", u.Bytes, *q.Bytes
	}
	return "", 0, 0
}
