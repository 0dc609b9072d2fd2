package manager

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

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
	if err = validProvisioning(r.Provisioning); err != nil {
		return vol, false, err
	}
	if r.Source != nil {
		return m.createClone(ctx, r)
	}
	rec := cluster.Volume{UUID: r.ID, Name: r.Name, Project: r.Project, Pool: r.Pool, Size: r.Size,
		Metadata: r.Metadata, Description: r.Description, ReadOnly: r.ReadOnly,
		Key: cluster.VolumeKeyAfter(0), Request: digest(r)} // the key comes later
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
		snap, err := m.readForCreate(ctx, &rec)
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
		if err := asProvisioned(snap, &rec, r.Provisioning); err != nil {
			return err
		}
		if err := asCompressed(snap, &rec, r.Compression); err != nil {
			return err
		}
		vol, err = m.makeVolume(ctx, snap, rec, nil)
		return err
	})
	return vol, created, err
}

// readForCreate reads what a new volume is decided on: the volume, the pool, the name, the counter, the
// devices, the project and the current cluster key.
func (m *Manager) readForCreate(ctx context.Context, rec *cluster.Volume) (store.Snapshot, error) {
	return m.store.Read(ctx, store.Key(cluster.KeyVolume(rec.UUID)), store.Key(cluster.KeyPool(rec.Pool)),
		store.Key(cluster.KeyVolumeName(rec.Pool, rec.Name, rec.Project)), store.Key(cluster.KeyCounterVUID),
		store.All(cluster.PrefixDevices), store.Key(cluster.KeyProject(rec.Project)),
		store.Key(cluster.KeyClusterKeys))
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
	if !sees(ctx, rec.Project) || rec.Hidden {
		return wire.Volume{}, refuse(wire.Conflict, "id", "this id cannot be used; choose another one")
	}
	if rec.Request != request {
		return wire.Volume{}, refuse(wire.Conflict, "id", "volume %s was created by a different request",
			rec.UUID)
	}
	return m.drawVolume(ctx, it)
}

// makeVolume commits a new volume: record, name, owner record and counter in one transaction. snap is what
// readForCreate has read; from is not nil for a clone.
func (m *Manager) makeVolume(ctx context.Context, snap store.Snapshot, rec cluster.Volume,
	from *origin) (wire.Volume, error) {
	var txn store.Txn
	last, err := counter(snap.One(3))
	if err != nil {
		return wire.Volume{}, err
	}
	owner, err := m.addVolume(&txn, snap, &rec, from, last)
	if err != nil {
		return wire.Volume{}, err
	}
	countVolumes(&txn, snap.One(3), rec.Key.Serial())
	if err := charge(&txn, snap.One(5), rec.Project, 1, int64(rec.Size)); err != nil {
		return wire.Volume{}, err
	}
	if err := m.provision(ctx, &txn, nil, &rec); err != nil {
		return wire.Volume{}, err
	}
	began := ""
	if from != nil {
		began = " as snapshot " + from.snap.Name + " of volume " + from.rec.Name
	}
	m.note(&txn, wire.Info, "volume.created", aboutVolume(&rec), rec.Project,
		"volume %s of %d bytes created in pool %s%s", rec.Name, rec.Size, rec.Pool, began)
	rev, err := m.store.Commit(ctx, txn)
	if err != nil {
		return wire.Volume{}, err
	}
	vol := drawVolume(rec, owner, &situation{})
	vol.ETag = etag(rev)
	return vol, nil
}

// addVolume adds to a transaction a new volume with its name and owner record, with the number after last.
// The transaction counts it (countVolumes), so that the number is nobody else's.
func (m *Manager) addVolume(txn *store.Txn, snap store.Snapshot, rec *cluster.Volume, from *origin,
	last uint64) (owner cluster.Owner, err error) {
	poolItem, name := snap.One(1), snap.One(2)
	if poolItem.Rev == 0 {
		return owner, refuse(wire.InvalidField, "pool", "pool %q does not exist", rec.Pool)
	}
	if name.Rev != 0 {
		return owner, refuse(wire.Conflict, "name", "pool %q has a volume of that name: %s", rec.Pool, name.Value)
	}
	pool, err := decode[cluster.Pool](poolItem)
	if err != nil {
		return owner, err
	}
	rec.Key = cluster.VolumeKeyAfter(last)
	if !rec.Key.Valid() {
		return owner, refuse(wire.Conflict, "", "all volume numbers of all generations were given out")
	}
	rec.Created = m.stamp()
	if owner.Gateway, err = preferredGateway(pool, snap.Results[4], rec.Key.VUID); err != nil {
		return owner, err
	}
	if from != nil {
		owner.View = cluster.View{Version: 1, Cloned: true}
		from.claim(txn)
	}
	key, nameKey := cluster.KeyVolume(rec.UUID), cluster.KeyVolumeName(rec.Pool, rec.Name, rec.Project)
	ownerKey := cluster.KeyOwner(rec.Key)
	if pool := (store.Cond{Key: poolItem.Key, Rev: poolItem.Rev}); !slices.Contains(txn.If, pool) {
		txn.If = append(txn.If, pool)
	}
	txn.If = append(txn.If, store.Cond{Key: key}, store.Cond{Key: nameKey})
	txn.Put = append(txn.Put, put(key, rec), put(nameKey, rec.UUID), put(ownerKey, owner))
	txn.Blind = append(txn.Blind, ownerKey) // belongs to the number alone
	return owner, nil
}

// countVolumes adds to a transaction that numbers up to last are given out.
func countVolumes(txn *store.Txn, count store.Item, last uint64) {
	txn.If = append(txn.If, store.Cond{Key: cluster.KeyCounterVUID, Rev: count.Rev})
	txn.Put = append(txn.Put, put(cluster.KeyCounterVUID, last))
}

// preferredGateway spreads the volumes of a pool over the nodes that hold its devices, those that are nearest
// to the home of its volumes.
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
	for _, x := range nearest(&p) {
		if n := nodeOf[x.Device]; n != 0 && !seen[n] {
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
// are deleted first, as far as that goes. The nodes give its space back when they see it gone; while clones
// read it, it is only hidden. ifMatch is as for UpdateVolume.
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
		if !rec.Group.IsZero() {
			return refuse(wire.VolumeInGroup, "", "volume %s is in group %s; take it out of that first", id,
				rec.Group)
		}
		if cascade {
			err = m.deleteSnapshotsOf(ctx, id)
		} else {
			err = m.refuseSnapshots(ctx, id)
		}
		if err != nil {
			return err
		}
		hidden, err := m.hasHidden(ctx, id)
		if err != nil {
			return err
		}
		txn, err := m.deletion(ctx, it, &rec, hidden, nil)
		if err != nil {
			return err
		}
		m.note(&txn, wire.Info, "volume.deleted", aboutVolume(&rec), rec.Project, "volume %s of pool %s deleted",
			rec.Name, rec.Pool)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}

// deletion is the transaction that ends a volume without snapshots for people, or only hides it. destroyed is
// the data key that goes with it, nil if that is of no interest.
func (m *Manager) deletion(ctx context.Context, it store.Item, rec *cluster.Volume, hide bool,
	destroyed *cluster.DestroyedKey) (txn store.Txn, err error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyProject(rec.Project)))
	if err != nil {
		return txn, err
	}
	name := cluster.KeyVolumeName(rec.Pool, rec.Name, rec.Project)
	txn = store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}, {Key: cluster.PrefixSnapshotsOf(rec.UUID)}},
		Delete: []string{name}, Blind: []string{name}} // belongs to the volume alone
	if err := m.dropSchedules(ctx, &txn, cluster.KeySchedulesOfVolume(rec.UUID)); err != nil {
		return txn, err
	}
	if hide {
		hideVolume(&txn, it, *rec)
	} else if err := m.removeVolume(ctx, &txn, it, rec, destroyed); err != nil {
		return txn, err
	}
	return txn, charge(&txn, snap.One(0), rec.Project, -1, -int64(rec.Size))
}

// readVolume reads the record of a volume that the caller sees; ifMatch, when not empty, is what its ETag
// must be.
func (m *Manager) readVolume(ctx context.Context, id cluster.UUID,
	ifMatch string) (store.Item, cluster.Volume, error) {
	it, rec, err := m.anyVolume(ctx, id)
	switch {
	case err != nil:
	case !sees(ctx, rec.Project) || rec.Hidden:
		err = notFound("volume", id)
	default:
		err = matches(ifMatch, it.Rev)
	}
	if err != nil {
		return store.Item{}, cluster.Volume{}, err
	}
	return it, rec, nil
}

// anyVolume reads a volume's record, whoever asks, and also if it is hidden.
func (m *Manager) anyVolume(ctx context.Context, id cluster.UUID) (store.Item, cluster.Volume, error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(id)))
	if err != nil {
		return store.Item{}, cluster.Volume{}, err
	}
	if read.One(0).Rev == 0 {
		return store.Item{}, cluster.Volume{}, notFound("volume", id)
	}
	rec, err := decode[cluster.Volume](read.One(0))
	return read.One(0), rec, err
}
