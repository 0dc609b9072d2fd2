package apitest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Kept is what the devices of a node keep, in memory: of every volume a block that it shows, of every
// snapshot one block more that it shows alone and one that it shares with the volume, each with a parity
// block.
type Kept struct {
	Node    cluster.NodeID
	cluster *Cluster
}

// VolumeSpace implements api.Surveyor. It refuses a view list that nobody has recorded.
func (k *Kept) VolumeSpace(ctx context.Context, vol cluster.VolumeKey, view uint32) (out []wire.VolumeSpace,
	err error) {
	owner, _, err := store.NewArbiter(k.cluster.Store).Owner(ctx, vol)
	if err != nil || owner.View.Version < view {
		return nil, fmt.Errorf("view list %d: %w", view, err)
	}
	devices, err := k.cluster.Manager.Devices(ctx, manager.Page{}, k.Node)
	if err != nil {
		return nil, err
	}
	one := wire.Amount{Data: cluster.BlockSize, Raw: 2 * cluster.BlockSize}
	for _, d := range devices.Items {
		part := wire.VolumeSpace{Present: wire.Holding{Shared: one}, Devices: []cluster.DeviceID{d.Number}}
		for _, pin := range owner.View.Pins {
			part.Snapshots = append(part.Snapshots, wire.SnapshotSpace{Pin: pin.String(),
				Holding: wire.Holding{Exclusive: one, Shared: one}})
			part.Pinned.Data += one.Data
			part.Pinned.Raw += one.Raw
		}
		out = append(out, part)
	}
	return out, nil
}

// Connections implements api.Surveyor: HostA is connected to everything there is, with one queue, since the
// cluster's present.
func (k *Kept) Connections() []wire.Host {
	out := wire.Host{NQN: HostA}
	since := k.cluster.Now().UTC().Format(time.RFC3339)
	for _, prefix := range []string{cluster.PrefixVolumes, cluster.PrefixSnapshots} {
		read, err := k.cluster.Store.Read(k.cluster.T.Context(), store.All(prefix))
		if err != nil {
			return nil
		}
		for _, it := range read.Results[0].Items {
			id, err := cluster.ParseUUID(strings.TrimPrefix(it.Key, prefix))
			if err != nil {
				continue
			}
			nqn := cluster.VolumeNQN(id)
			if prefix == cluster.PrefixSnapshots {
				nqn = cluster.SnapshotNQN(id)
			}
			out.Connections = append(out.Connections, wire.HostConnection{Node: k.Node, NQN: nqn,
				Address: "192.0.2.9:1000", Since: since, Queues: 1})
		}
	}
	return []wire.Host{out}
}
