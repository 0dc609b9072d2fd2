package manager

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// maxListed bounds the lists inside a health report.
const maxListed = 100

// Cluster shows the cluster as a whole.
func (m *Manager) Cluster(ctx context.Context) (wire.Cluster, error) {
	v, err := m.readMap(ctx)
	if err != nil {
		return wire.Cluster{}, err
	}
	return wire.Cluster{
		ID: v.Cluster.ID, Name: v.Cluster.Name, Epoch: v.Epoch,
		Voters: append([]cluster.NodeID{}, v.Voters.Nodes...), Nodes: len(v.Nodes), Devices: len(v.Devices),
		Pools: len(v.Pools), Created: v.Cluster.Created,
	}, nil
}

// Health looks at everything. When the records cannot be read, that is the report and no error.
func (m *Manager) Health(ctx context.Context) (wire.Health, error) {
	h := wire.Health{Status: wire.OK, Etcd: wire.EtcdHealth{Status: wire.OK}, Nodes: []wire.NodeHealth{},
		Devices: wire.DevicesHealth{Bad: []wire.BadDevice{}},
		Volumes: wire.VolumesHealth{DegradedIDs: []cluster.UUID{}}}
	v, err := m.readMap(ctx, store.All(cluster.PrefixAlive), store.All(cluster.PrefixStats),
		store.All(cluster.PrefixVolumes), store.All(cluster.PrefixOwners), store.All(cluster.PrefixVolumeStats))
	if err != nil {
		h.Status = wire.Down
		h.Etcd = wire.EtcdHealth{Status: wire.Down, Detail: err.Error()}
		return h, nil
	}
	h.Etcd.Revision = v.rev
	stats, err := readStats(v.extra[1])
	if err != nil {
		return h, err
	}
	for _, n := range v.SortedNodes() {
		nh := wire.NodeHealth{Number: n.Number, Name: n.Name, Status: wire.OK}
		if v.node(n).Status != NodeOnline {
			nh.Status, nh.Detail, h.Status = wire.Down, "its daemon does not keep itself alive in etcd", wire.Degraded
		}
		h.Nodes = append(h.Nodes, nh)
	}
	v.deviceHealth(&h, stats)
	s, err := newSituation(v.extra[4], v.extra[0])
	if err != nil {
		return h, err
	}
	s.pools = v.Pools
	volumes, err := s.judgeAll(v.extra[2], v.extra[3])
	if err != nil {
		return h, err
	}
	volumeHealth(&h.Volumes, volumes)
	if len(h.Devices.Bad) > 0 || h.Volumes.Degraded > 0 {
		h.Status = wire.Degraded
	}
	return h, nil
}

func (v *view) deviceHealth(h *wire.Health, stats map[cluster.NodeID]cluster.NodeStats) {
	unwell := make(map[cluster.DeviceID]string)
	for _, st := range stats {
		for _, d := range st.Devices {
			if !d.Healthy {
				unwell[d.Device] = "its node says it is not healthy: " + d.Error
			}
		}
	}
	for _, d := range v.SortedDevices() {
		if d.State == cluster.DeviceRemoved {
			continue
		}
		h.Devices.Total++
		detail, sick := unwell[d.Number]
		if d.State == cluster.DeviceOnline && !sick {
			h.Devices.Online++
			continue
		}
		h.Devices.Bad = append(h.Devices.Bad, wire.BadDevice{Number: d.Number, Node: d.Node, State: d.State,
			Detail: detail})
	}
}

func volumeHealth(h *wire.VolumesHealth, volumes []judged) {
	h.Total = len(volumes)
	for _, x := range volumes {
		switch x.health {
		case wire.OnTheWay:
			h.Moving++
		case wire.Unknown:
			h.Unknown++
		case wire.Degraded:
			h.Degraded++
			if len(h.DegradedIDs) < maxListed {
				h.DegradedIDs = append(h.DegradedIDs, x.rec.UUID)
			}
		}
	}
}
