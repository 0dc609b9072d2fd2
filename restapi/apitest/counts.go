package apitest

import (
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Counts is what a node has counted, in memory: 100 reads of 4 KiB by each volume that it owns, by each pool
// and by each of its devices, in the interval that ended last.
type Counts struct {
	Node    cluster.NodeID
	cluster *Cluster
}

// VolumeStatistics implements api.Observer.
func (n *Counts) VolumeStatistics(id cluster.UUID, since time.Duration) (wire.Statistics, bool) {
	v, err := n.cluster.Manager.Volume(n.cluster.T.Context(), id)
	if err != nil || v.Owner == nil || v.Owner.Gateway != n.Node {
		return wire.Statistics{}, false
	}
	return n.statistics(since), true
}

// PoolStatistics implements api.Observer.
func (n *Counts) PoolStatistics(_ cluster.PoolID, since time.Duration) (wire.Statistics, bool) {
	return n.statistics(since), true
}

// DeviceStatistics implements api.Observer.
func (n *Counts) DeviceStatistics(_ cluster.DeviceID, since time.Duration) (wire.Statistics, bool) {
	return n.statistics(since), true
}

func (n *Counts) statistics(since time.Duration) wire.Statistics {
	now := n.cluster.Now()
	st := wire.Statistics{Time: now.Format(time.RFC3339), Nodes: []cluster.NodeID{n.Node}, Interval: 10,
		Samples: []wire.Sample{}}
	st.Totals.Read = wire.Flow{Operations: 100, Bytes: 409600, LatencySeconds: 0.01}
	if since >= 10*time.Second {
		st.Samples = append(st.Samples, wire.Sample{Time: now.Truncate(10 * time.Second).Format(time.RFC3339),
			Read: wire.Rate{Operations: 100, Bytes: 409600, MeanUS: 100, P99US: 100 * uint64(n.Node)}})
	}
	return st
}
