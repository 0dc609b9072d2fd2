package manager

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// firstGeneration is every volume's while VUIDs are not reused.
const firstGeneration = 1

// CreateVolume makes a volume; created is false when this request made it before. The identity is r.ID, else
// it is drawn.
func (m *Manager) CreateVolume(ctx context.Context, r wire.VolumeCreate) (
	vol wire.Volume, created bool, err error,
) {
	if r.Project, err = ownProject(ctx, r.Project); err != nil {
		return vol, false, err
	}
	if r.ID.IsZero() {
		if r.ID, err = m.newUUID(ctx); err != nil {
			return vol, false, err
		}
	}
	rec := cluster.Volume{UUID: r.ID, Name: r.Name, Project: r.Project, Pool: r.Pool, Size: r.Size,
		Metadata: r.Metadata, Description: r.Description,
		Key: cluster.VolumeKey{VUID: 1, Generation: firstGeneration}, Request: digest(r)}
	if err := rec.Validate(); err != nil {
		return vol, false, invalid(err, "size", "size_bytes", "uuid", "id")
	}
	if err := cluster.ValidateName("pool", r.Pool); err != nil {
		return vol, false, invalid(err)
	}
	if err := cluster.ValidateEncryption("encryption", r.Encryption); err != nil {
		return vol, false, invalid(err)
	}
	err = m.decide(ctx, func() error {
		snap, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(r.ID)), store.Key(cluster.KeyPool(r.Pool)),
			store.Key(cluster.KeyVolumeName(r.Pool, r.Name, r.Project)), store.Key(cluster.KeyCounterVUID),
			store.All(cluster.PrefixDevices), store.Key(cluster.KeyProject(r.Project)),
			store.Key(cluster.KeyClusterKeys))
		if err != nil {
			return err
		}
		if it := snap.One(0); it.Rev != 0 {
			created = false
			vol, err = m.repeated(ctx, it, rec.Request)
			return err
		}
		created = true
		if err := m.encrypt(ctx, snap, &rec, r.Encryption); err != nil {
			return err
		}
		vol, err = m.makeVolume(ctx, snap, rec)
		return err
	})
	return vol, created, err
}

// digest is the same for the same request. Maps are encoded in key order, so it is.
func digest(r any) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("a request that was JSON has no JSON form: %v", err))
	}
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// repeated answers a create whose identity exists.
func (m *Manager) repeated(ctx context.Context, it store.Item, request string) (wire.Volume, error) {
	rec, err := decode[cluster.Volume](it)
	if err != nil {
		return wire.Volume{}, err
	}
	if !sees(ctx, rec.Project) {
		return wire.Volume{}, refuse(wire.Conflict, "id", "this id cannot be used; choose another one")
	}
	if rec.Request != request {
		return wire.Volume{}, refuse(wire.Conflict, "id", "volume %s was created by a different request",
			rec.UUID)
	}
	return m.drawVolume(ctx, it)
}

// makeVolume commits a new volume: record, name, owner record and counter in one transaction. snap holds the
// volume, the pool, the name, the counter, the devices and the project.
func (m *Manager) makeVolume(ctx context.Context, snap store.Snapshot,
	rec cluster.Volume) (wire.Volume, error) {
	poolItem, name, count := snap.One(1), snap.One(2), snap.One(3)
	if poolItem.Rev == 0 {
		return wire.Volume{}, refuse(wire.InvalidField, "pool", "pool %q does not exist", rec.Pool)
	}
	if name.Rev != 0 {
		return wire.Volume{}, refuse(wire.Conflict, "name", "pool %q has a volume of that name: %s", rec.Pool,
			name.Value)
	}
	pool, err := decode[cluster.Pool](poolItem)
	if err != nil {
		return wire.Volume{}, err
	}
	last, err := counter(count)
	if err != nil {
		return wire.Volume{}, err
	}
	if last >= cluster.MaxVUID {
		return wire.Volume{}, refuse(wire.Conflict, "", "all %d volume numbers were given out; reusing them "+
			"is not supported yet", cluster.MaxVUID)
	}
	rec.Key.VUID = uint32(last + 1)
	rec.Created = m.stamp()
	gateway, err := preferredGateway(pool, snap.Results[4], rec.Key.VUID)
	if err != nil {
		return wire.Volume{}, err
	}
	key, nameKey := cluster.KeyVolume(rec.UUID), cluster.KeyVolumeName(rec.Pool, rec.Name, rec.Project)
	ownerKey := cluster.KeyOwner(rec.Key)
	owner := cluster.Owner{Gateway: gateway}
	txn := store.Txn{
		If: []store.Cond{{Key: key}, {Key: poolItem.Key, Rev: poolItem.Rev}, {Key: nameKey},
			{Key: cluster.KeyCounterVUID, Rev: count.Rev}, {Key: ownerKey}},
		Put: []store.Put{put(key, rec), put(nameKey, rec.UUID), put(cluster.KeyCounterVUID, rec.Key.VUID),
			put(ownerKey, owner)},
	}
	if err := charge(&txn, snap.One(5), rec.Project, 1, int64(rec.Size)); err != nil {
		return wire.Volume{}, err
	}
	m.note(&txn, wire.Info, "volume.created", aboutVolume(&rec), rec.Project,
		"volume %s of %d bytes created in pool %s", rec.Name, rec.Size, rec.Pool)
	rev, err := m.store.Commit(ctx, txn)
	if err != nil {
		return wire.Volume{}, err
	}
	vol := drawVolume(rec, owner, &situation{})
	vol.ETag = etag(rev)
	return vol, nil
}

// preferredGateway spreads the volumes of a pool over the nodes that hold its devices.
func preferredGateway(p cluster.Pool, devices store.Result, vuid uint32) (cluster.NodeID, error) {
	nodeOf := make(map[cluster.DeviceID]cluster.NodeID, len(devices.Items))
	for _, it := range devices.Items {
		d, err := decode[cluster.Device](it)
		if err != nil {
			return 0, err
		}
		nodeOf[d.Number] = d.Node
	}
	seen := make(map[cluster.NodeID]bool)
	var nodes []cluster.NodeID
	for _, id := range p.Devices() {
		if n := nodeOf[id]; n != 0 && !seen[n] {
			seen[n] = true
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return 0, fmt.Errorf("pool %q has no device with a node", p.Name)
	}
	return nodes[int(vuid)%len(nodes)], nil
}

// DeleteVolume deletes a volume that no host may use and that has no snapshots; with cascade its snapshots
// are deleted first, as far as that goes. The nodes give its space back when they see it gone. ifMatch is as
// for UpdateVolume.
func (m *Manager) DeleteVolume(ctx context.Context, id cluster.UUID, ifMatch string, cascade bool) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		if len(rec.Hosts) > 0 {
			return &Error{Code: wire.VolumeExported, Hosts: rec.Hosts,
				Detail: fmt.Sprintf("volume %s is exported to %d host(s): %v", id, len(rec.Hosts), rec.Hosts)}
		}
		if cascade {
			err = m.deleteSnapshotsOf(ctx, id)
		} else {
			err = m.refuseSnapshots(ctx, id)
		}
		if err != nil {
			return err
		}
		snap, err := m.store.Read(ctx, store.Key(cluster.KeyProject(rec.Project)))
		if err != nil {
			return err
		}
		name, owner := cluster.KeyVolumeName(rec.Pool, rec.Name, rec.Project), cluster.KeyOwner(rec.Key)
		txn := store.Txn{
			If:     []store.Cond{{Key: it.Key, Rev: it.Rev}, {Key: cluster.PrefixSnapshotsOf(id)}},
			Delete: []string{it.Key, name, owner},
			// Both belong to the volume alone and go with it, whoever owns it now.
			Blind: []string{name, owner},
		}
		if err := charge(&txn, snap.One(0), rec.Project, -1, -int64(rec.Size)); err != nil {
			return err
		}
		m.note(&txn, wire.Info, "volume.deleted", aboutVolume(&rec), rec.Project, "volume %s of pool %s deleted",
			rec.Name, rec.Pool)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}

// readVolume reads a volume's record; ifMatch, when not empty, is what its ETag must be.
func (m *Manager) readVolume(ctx context.Context, id cluster.UUID,
	ifMatch string) (store.Item, cluster.Volume, error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(id)))
	if err != nil {
		return store.Item{}, cluster.Volume{}, err
	}
	it := snap.One(0)
	if it.Rev == 0 {
		return it, cluster.Volume{}, notFound("volume", id)
	}
	rec, err := decode[cluster.Volume](it)
	if err == nil && !sees(ctx, rec.Project) {
		return store.Item{}, cluster.Volume{}, notFound("volume", id)
	}
	if err := matches(ifMatch, it.Rev); err != nil {
		return it, cluster.Volume{}, err
	}
	return it, rec, err
}
