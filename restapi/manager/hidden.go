package manager

import (
	"context"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// What people have deleted and clones still read is hidden: it has no name any more, is charged to nobody, is
// in no list, and no call finds it. Owners do not know of that, they go on serving it to its clones. It ends
// by itself:
//
//	volume deleted ------------> hidden --- no hidden snapshot of it is left ---------------> gone
//	snapshot deleted ----------> hidden --- its last clone is deleted ---> deleting (owner) -> gone
//	clone of a volume asked ---> hidden --- the clone was never made ----> deleting (owner) -> gone

// unclaimedLife is how long a snapshot that was taken for a clone waits for a repetition of the request.
const unclaimedLife = 10 * time.Minute

// hideVolume adds to the transaction that deletes a volume for people that it is kept for its clones.
func hideVolume(t *store.Txn, it store.Item, rec cluster.Volume) {
	rec.Hidden = true
	key := cluster.KeyHiddenVolume(rec.UUID)
	t.Put = append(t.Put, put(it.Key, rec), put(key, rec.UUID))
	t.Blind = append(t.Blind, key) // belongs to the volume alone
}

// removeVolume adds to a transaction that nothing is left of a volume, whoever owns it now, but a purge.
// destroyed is as for deletion.
func (m *Manager) removeVolume(ctx context.Context, t *store.Txn, it store.Item, rec *cluster.Volume,
	destroyed *cluster.DestroyedKey) error {
	leavePurge(t, rec, destroyed)
	owner := cluster.KeyOwner(rec.Key)
	t.If = append(t.If, store.Cond{Key: cluster.PrefixHiddenSnapshotsOf(rec.UUID)})
	t.Delete = append(t.Delete, it.Key, owner)
	t.Blind = append(t.Blind, owner) // belongs to the volume alone
	if rec.Parent != nil && rec.Parent.Flatten {
		key := cluster.KeyFlattening(rec.UUID)
		t.Delete, t.Blind = append(t.Delete, key), append(t.Blind, key) // as does this
	}
	if rec.Cut != nil {
		key := cluster.KeyShrinking(rec.UUID)
		t.Delete, t.Blind = append(t.Delete, key), append(t.Blind, key) // and this
	}
	if err := m.provision(ctx, t, rec, nil); err != nil {
		return err
	}
	return m.letGo(ctx, t, rec.Parent)
}

// hasHidden tells whether a volume has hidden snapshots.
func (m *Manager) hasHidden(ctx context.Context, volume cluster.UUID) (bool, error) {
	read, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixHiddenSnapshotsOf(volume), Limit: 1})
	return err == nil && len(read.Results[0].Items) > 0, err
}

// Sweep ends the links of clones that need their parents no more, what is hidden and needed no more, and what
// is over of shrinks. Any number of nodes may sweep.
func (m *Manager) Sweep(ctx context.Context) error {
	read, err := m.store.Read(ctx, store.All(cluster.PrefixFlattening), store.All(cluster.PrefixUnclaimed),
		store.All(cluster.PrefixHiddenVolumes), store.All(cluster.PrefixShrinking))
	if err != nil {
		return err
	}
	for i, end := range []func(context.Context, string, cluster.UUID) error{m.endFlatten, m.giveUpUnclaimed,
		m.endHidden, m.endShrink} {
		for _, it := range read.Results[i].Items {
			id, err := decode[cluster.UUID](it)
			if err != nil {
				return err
			}
			if err := m.decide(ctx, func() error { return end(ctx, it.Key, id) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweptVolume reads a volume that a key lists; the record is empty if another node was faster.
func (m *Manager) sweptVolume(ctx context.Context, id cluster.UUID) (store.Item, cluster.Volume, error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(id)))
	if err != nil || read.One(0).Rev == 0 {
		return store.Item{}, cluster.Volume{}, err
	}
	rec, err := decode[cluster.Volume](read.One(0))
	return read.One(0), rec, err
}

// giveUpUnclaimed has a snapshot deleted that was taken for a clone which nobody has made.
func (m *Manager) giveUpUnclaimed(ctx context.Context, key string, id cluster.UUID) error {
	it, err := m.snapshotItem(ctx, id)
	if err != nil {
		return err
	}
	t := store.Txn{Delete: []string{key}, Blind: []string{key}, If: []store.Cond{{Key: it.Key, Rev: it.Rev}}}
	if it.Rev == 0 {
		t.If[0].Key = cluster.KeySnapshot(id)
	} else {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return err
		}
		made, err := time.Parse(time.RFC3339, rec.Created)
		if err == nil && m.now().Before(made.Add(unclaimedLife)) {
			return nil
		}
		if rec.Clones == 0 {
			rec.State = cluster.SnapshotDeleting
			t.Put = []store.Put{put(it.Key, rec)}
		}
	}
	_, err = m.store.Commit(ctx, t)
	return err
}

// endHidden ends a hidden volume if no hidden snapshot of it is left.
func (m *Manager) endHidden(ctx context.Context, key string, id cluster.UUID) error {
	hidden, err := m.hasHidden(ctx, id)
	if err != nil || hidden {
		return err
	}
	it, rec, err := m.sweptVolume(ctx, id)
	if err != nil || !rec.Hidden {
		return err
	}
	t := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Delete: []string{key}, Blind: []string{key}}
	if err := m.removeVolume(ctx, &t, it, &rec, nil); err != nil {
		return err
	}
	_, err = m.store.Commit(ctx, t)
	return err
}
