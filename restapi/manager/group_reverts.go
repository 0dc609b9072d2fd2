package manager

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// RevertGroup makes all volumes that a snapshot of the group is of what it shows, whether they are still in
// the group or not, and waits until that is done; if owners take long, done is false. All are asked in one
// transaction, or none; what is refused for one volume (RevertVolume) is refused for all. A repetition within
// one idempotency key (WithChance) reverts once.
func (m *Manager) RevertGroup(ctx context.Context, id cluster.UUID, r wire.GroupRevert,
	ifMatch string) (g wire.Group, done bool, err error) {
	request, err := m.newUUID(ctx)
	if err != nil {
		return g, false, err
	}
	var asked []store.Item
	err = m.decide(ctx, func() error {
		it, rec, err := m.readGroup(ctx, id, "")
		if err != nil {
			return err
		}
		if rec.Revert != nil && rec.Revert.Request == request { // made before, perhaps done and changed since
			asked, err = m.partsOf(ctx, rec.Revert.Snapshot)
			return err
		}
		if err := matches(ifMatch, it.Rev); err != nil {
			return err
		}
		asked, err = m.askGroupRevert(ctx, it, rec, request, r)
		return err
	})
	if err != nil {
		return g, false, err
	}
	done = true
	for _, to := range asked {
		if !done {
			break // each has waited long enough for all
		}
		if done, err = m.reverted(ctx, to); err != nil {
			return g, false, err
		}
	}
	g, err = m.Group(ctx, id)
	return g, done, err
}

// partsOf reads the parts of a group snapshot that may be gone.
func (m *Manager) partsOf(ctx context.Context, id cluster.UUID) ([]store.Item, error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyGroupSnapshot(id)))
	if err != nil || read.One(0).Rev == 0 {
		return nil, err
	}
	rec, err := decode[cluster.GroupSnapshot](read.One(0))
	if err != nil {
		return nil, err
	}
	return m.snapshotItems(ctx, rec.Snapshots)
}

// askGroupRevert commits that the volumes of a group snapshot are to be what it shows, for their owners to
// find.
func (m *Manager) askGroupRevert(ctx context.Context, it store.Item, rec cluster.Group, request cluster.UUID,
	r wire.GroupRevert) (asked []store.Item, err error) {
	missing := refuse(wire.InvalidField, "snapshot", "the group has no snapshot %s", r.Snapshot)
	from, err := m.readGroupSnapshot(ctx, r.Snapshot, "")
	if missed(err) || err == nil && from.rec.Group != rec.UUID {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	rec.Revert = &cluster.Revert{Request: request, Snapshot: r.Snapshot, Asked: m.stamp()}
	txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}, {Key: from.at.Key, Rev: from.at.Rev}},
		Put: []store.Put{put(it.Key, rec)}}
	for _, part := range from.parts {
		at, vol, err := m.readVolume(ctx, part.Volume, "")
		if err != nil {
			return nil, err
		}
		to, err := m.addRevert(ctx, &txn, at, vol, request, wire.VolumeRevert{Snapshot: part.UUID, Force: r.Force})
		if err != nil {
			return nil, err
		}
		asked = append(asked, to)
	}
	m.note(&txn, wire.Warning, "group.reverting", about("group", rec.UUID), rec.Project,
		"group %s is being reverted to its snapshot %s of %s", rec.Name, from.rec.Name, from.rec.Created)
	rev, err := m.store.Commit(ctx, txn)
	for i := range asked {
		asked[i].Rev = rev
	}
	return asked, err
}
