package manager

import (
	"context"
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// RevertVolume makes a volume what a snapshot of it shows, and waits until that is done; if its owner takes
// long, done is false. The volume keeps its size: what lies behind that of the snapshot is empty then. It is
// refused while a host may use the volume, and if a newer snapshot exists, unless r.Force is set; newer
// snapshots go on showing what they show. ifMatch, when not empty, is the ETag that the volume must still
// have. A repetition within one idempotency key (WithChance) reverts once.
func (m *Manager) RevertVolume(ctx context.Context, id cluster.UUID, r wire.VolumeRevert,
	ifMatch string) (vol wire.Volume, done bool, err error) {
	request, err := m.newUUID(ctx)
	if err != nil {
		return vol, false, err
	}
	var to store.Item
	err = m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, "")
		if err != nil {
			return err
		}
		if rec.Revert != nil && rec.Revert.Request == request { // made before, perhaps done and changed since
			to, err = m.snapshotItem(ctx, rec.Revert.Snapshot)
			return err
		}
		if err := matches(ifMatch, it.Rev); err != nil {
			return err
		}
		to, err = m.askRevert(ctx, it, rec, request, r)
		return err
	})
	if err != nil {
		return vol, false, err
	}
	if done, err = m.reverted(ctx, to); err != nil {
		return vol, false, err
	}
	vol, err = m.Volume(ctx, id)
	return vol, done, err
}

// reverted waits until a volume has been reverted to a snapshot, but not for ever.
func (m *Manager) reverted(ctx context.Context, to store.Item) (done bool, err error) {
	if to.Rev == 0 { // deleted since
		return true, nil
	}
	snap, gone, err := m.settled(ctx, to)
	return gone || snap.State != cluster.SnapshotReverting, err
}

// askRevert commits that a volume is to be what a snapshot shows, for its owner to find.
func (m *Manager) askRevert(ctx context.Context, it store.Item, rec cluster.Volume, request cluster.UUID,
	r wire.VolumeRevert) (at store.Item, err error) {
	var txn store.Txn
	if at, err = m.addRevert(ctx, &txn, it, rec, request, r); err == nil {
		at.Rev, err = m.store.Commit(ctx, txn)
	}
	return at, err
}

// addRevert adds to a transaction that a volume is to be what a snapshot shows, or refuses. It returns the
// record of the snapshot.
func (m *Manager) addRevert(ctx context.Context, txn *store.Txn, it store.Item, rec cluster.Volume,
	request cluster.UUID, r wire.VolumeRevert) (store.Item, error) {
	none := store.Item{}
	if len(rec.Hosts) > 0 && !r.Force {
		return none, &Error{Code: wire.VolumeExported, Hosts: rec.Hosts,
			Detail: fmt.Sprintf("volume %s is exported to %d host(s): %v; they must not have it mounted while its "+
				"content changes", rec.UUID, len(rec.Hosts), rec.Hosts)}
	}
	at, snap, err := m.revertible(ctx, &rec, r)
	if err != nil {
		return none, err
	}
	if err := m.roomForHidden(ctx, rec.Key); err != nil {
		return none, err
	}
	snap.State = cluster.SnapshotReverting
	rec.Revert = &cluster.Revert{Request: request, Snapshot: snap.UUID, Asked: m.stamp()}
	p := put(at.Key, snap)
	txn.If = append(txn.If, store.Cond{Key: it.Key, Rev: it.Rev}, store.Cond{Key: at.Key, Rev: at.Rev})
	txn.Put = append(txn.Put, put(it.Key, rec), p)
	m.note(txn, wire.Warning, "volume.reverting", aboutVolume(&rec), rec.Project,
		"volume %s is being reverted to its snapshot %s of %s", rec.Name, snap.Name, snap.Created)
	at.Value = p.Value
	return at, nil
}

// revertible finds the snapshot that a volume is to be reverted to, or refuses.
func (m *Manager) revertible(ctx context.Context, vol *cluster.Volume, r wire.VolumeRevert) (at store.Item,
	to cluster.Snapshot, err error) {
	read, err := m.store.Read(ctx, store.All(cluster.PrefixSnapshotsOf(vol.UUID)))
	if err != nil {
		return at, to, err
	}
	items, err := m.namedSnapshots(ctx, read.Results[0].Items)
	if err != nil {
		return at, to, err
	}
	all := make([]cluster.Snapshot, len(items))
	for i, it := range items {
		if all[i], err = decode[cluster.Snapshot](it); err != nil {
			return at, to, err
		}
		if all[i].UUID == r.Snapshot {
			at, to = it, all[i]
		}
		if all[i].State == cluster.SnapshotReverting {
			return at, to, refuse(wire.Conflict, "", "volume %s is being reverted to snapshot %s", vol.UUID,
				all[i].UUID)
		}
	}
	switch {
	case at.Rev == 0:
		err = refuse(wire.InvalidField, "snapshot", "volume %s has no snapshot %s", vol.UUID, r.Snapshot)
	case to.State != cluster.SnapshotAvailable:
		err = refuse(wire.Conflict, "snapshot", "snapshot %s is %s", to.UUID, to.State)
	case !r.Force:
		err = refuseNewer(all, &to)
	}
	return at, to, err
}

// refuseNewer refuses if there are snapshots of a volume that are newer than one of them.
func refuseNewer(all []cluster.Snapshot, than *cluster.Snapshot) error {
	var newer []string
	for _, s := range all {
		if s.State == cluster.SnapshotCreating || s.State == cluster.SnapshotAvailable && s.Pin > than.Pin {
			newer = append(newer, fmt.Sprintf("%s (%s)", s.Name, s.UUID))
		}
	}
	if len(newer) == 0 {
		return nil
	}
	return refuse(wire.SnapshotNotNewest, "snapshot", "the volume has newer snapshots, which would stay: %s",
		strings.Join(newer, ", "))
}

// roomForHidden refuses a revert of a volume whose snapshots look back through as many as there can be.
func (m *Manager) roomForHidden(ctx context.Context, vol cluster.VolumeKey) error {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyOwner(vol)))
	if err != nil || read.One(0).Rev == 0 {
		return err
	}
	owner, err := decode[cluster.Owner](read.One(0))
	if err == nil && len(owner.View.Hidden) >= cluster.MaxHidden {
		err = refuse(wire.Conflict, "", "the volume has snapshots from between %d reverts, more are not possible; "+
			"delete some of them", len(owner.View.Hidden))
	}
	return err
}

// refuseReverting refuses what a volume does not take while it is being reverted.
func (m *Manager) refuseReverting(ctx context.Context, rec *cluster.Volume) error {
	if rec.Revert == nil {
		return nil
	}
	it, err := m.snapshotItem(ctx, rec.Revert.Snapshot)
	if err != nil || it.Rev == 0 {
		return err
	}
	snap, err := decode[cluster.Snapshot](it)
	if err == nil && snap.State == cluster.SnapshotReverting {
		err = refuse(wire.Conflict, "", "volume %s is being reverted to snapshot %s", rec.UUID, snap.UUID)
	}
	return err
}

// snapshotItem reads a snapshot's record, whoever asks; its Rev is 0 if there is none.
func (m *Manager) snapshotItem(ctx context.Context, id cluster.UUID) (store.Item, error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeySnapshot(id)))
	if err != nil {
		return store.Item{}, err
	}
	return read.One(0), nil
}
