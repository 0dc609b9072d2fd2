package manager

import (
	"cmp"
	"context"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Kept is what somebody has to know who counts the space of a volume.
type Kept struct {
	Key  cluster.VolumeKey
	View uint32 // version of the view list that devices should have
	// Devices that may keep blocks of the volume: those in service that belong to its pool, or ever did.
	Devices map[cluster.DeviceID]cluster.NodeID
}

// Kept reads it.
func (m *Manager) Kept(ctx context.Context, id cluster.UUID) (Kept, error) {
	_, rec, err := m.readVolume(ctx, id, "")
	if err != nil {
		return Kept{}, err
	}
	v, err := m.readMap(ctx, store.Key(cluster.KeyOwner(rec.Key)))
	if err != nil {
		return Kept{}, err
	}
	k := Kept{Key: rec.Key, Devices: map[cluster.DeviceID]cluster.NodeID{}}
	if it := (store.Snapshot{Results: v.extra}).One(0); it.Rev != 0 {
		owner, err := decode[cluster.Owner](it)
		if err != nil {
			return Kept{}, err
		}
		k.View = owner.View.Version
	}
	p := v.Pools[rec.Pool]
	if p == nil {
		return Kept{}, notFound("pool", rec.Pool)
	}
	roster, err := p.Roster()
	if err != nil {
		return Kept{}, err
	}
	for _, member := range roster.Members {
		if d := v.Devices[member.Device]; d != nil && d.State == cluster.DeviceOnline {
			k.Devices[d.Number] = d.Node
		}
	}
	return k, nil
}

// SpaceOf lists the snapshots of a volume, the oldest first, hidden ones too, with no amounts yet.
func (m *Manager) SpaceOf(ctx context.Context, id cluster.UUID) (wire.VolumeSpace, error) {
	out := wire.VolumeSpace{Volume: id, Snapshots: []wire.SnapshotSpace{}, Devices: []cluster.DeviceID{},
		Missing: []wire.Uncounted{}}
	if _, _, err := m.readVolume(ctx, id, ""); err != nil {
		return out, err
	}
	read, err := m.store.Read(ctx, store.All(cluster.PrefixSnapshotsOf(id)),
		store.All(cluster.PrefixHiddenSnapshotsOf(id)))
	if err != nil {
		return out, err
	}
	items, err := m.namedSnapshots(ctx, slices.Concat(read.Results[0].Items, read.Results[1].Items))
	if err != nil {
		return out, err
	}
	var taken []cluster.Snapshot
	for _, it := range items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return out, err
		}
		if rec.Pin != 0 {
			taken = append(taken, rec)
		}
	}
	slices.SortFunc(taken, func(a, b cluster.Snapshot) int { return cmp.Compare(a.Pin, b.Pin) })
	for _, rec := range taken {
		s := wire.SnapshotSpace{Snapshot: rec.UUID, Name: rec.Name, Pin: rec.Pin.String()}
		if rec.Hidden {
			s = wire.SnapshotSpace{Hidden: true, Pin: s.Pin}
		}
		out.Snapshots = append(out.Snapshots, s)
	}
	return out, nil
}
