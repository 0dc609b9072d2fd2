package manager

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// FlattenVolume has the owner of a clone copy what it shares with its parent, in the background. When that is
// done, and no snapshot of the clone is older, its parent lets it go (Sweep). What is no clone is flat.
// ifMatch is as for UpdateVolume.
func (m *Manager) FlattenVolume(ctx context.Context, id cluster.UUID, ifMatch string) (wire.Volume, error) {
	var vol wire.Volume
	err := m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		if rec.Parent != nil && !rec.Parent.Flatten {
			rec.Parent.Flatten = true
			key := cluster.KeyFlattening(id)
			p := put(it.Key, rec)
			txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{p, put(key, id)},
				Blind: []string{key}} // belongs to the volume alone
			m.note(&txn, wire.Info, "volume.flattening", aboutVolume(&rec), rec.Project,
				"volume %s is being made independent of volume %s", rec.Name, rec.Parent.Volume)
			it.Value = p.Value
			if it.Rev, err = m.store.Commit(ctx, txn); err != nil {
				return err
			}
		}
		vol, err = m.drawVolume(ctx, it)
		return err
	})
	return vol, err
}

// CancelFlatten takes the wish back that a clone share nothing with its parent. What is copied stays so, and
// the next flatten goes on from there.
func (m *Manager) CancelFlatten(ctx context.Context, id cluster.UUID) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, "")
		if err != nil || rec.Parent == nil || !rec.Parent.Flatten {
			return err
		}
		parent := *rec.Parent
		parent.Flatten = false
		rec.Parent = &parent
		key := cluster.KeyFlattening(id)
		txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{put(it.Key, rec)},
			Delete: []string{key}, Blind: []string{key}} // belongs to the volume alone
		m.note(&txn, wire.Info, "volume.flatten_cancelled", aboutVolume(&rec), rec.Project,
			"volume %s goes on sharing with volume %s", rec.Name, parent.Volume)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}

// endFlatten takes the link to its parent from a clone that needs it no more.
func (m *Manager) endFlatten(ctx context.Context, key string, id cluster.UUID) error {
	it, rec, err := m.sweptVolume(ctx, id)
	if err != nil || rec.Parent == nil {
		return err
	}
	read, err := m.store.Read(ctx, store.Key(cluster.KeyOwner(rec.Key)))
	if err != nil || read.One(0).Rev == 0 {
		return err
	}
	owner, err := decode[cluster.Owner](read.One(0))
	if err != nil || !owner.Independent() {
		return err
	}
	parent := rec.Parent
	rec.Parent = nil
	t := store.Txn{Put: []store.Put{put(it.Key, rec)}, Delete: []string{key}, Blind: []string{key},
		If: []store.Cond{{Key: it.Key, Rev: it.Rev}, {Key: read.One(0).Key, Rev: read.One(0).Rev}}}
	if err := m.letGo(ctx, &t, parent); err != nil {
		return err
	}
	m.note(&t, wire.Info, "volume.flattened", aboutVolume(&rec), rec.Project,
		"volume %s shares nothing with volume %s any more", rec.Name, parent.Volume)
	_, err = m.store.Commit(ctx, t)
	return err
}

// progress tells how far a flatten is, in bytes that need not be shared any more; the pool says how rows lie.
func progress(p *cluster.Parent, owner *cluster.Owner, pool *cluster.Pool) *wire.Flatten {
	if !p.Flatten || pool == nil {
		return nil
	}
	done := owner.Flattened
	copied := p.Size
	if done.At == 0 {
		copied = min(p.Size, done.Rows*uint64(pool.Data)*cluster.BlockSize)
	}
	return &wire.Flatten{Done: copied, Total: p.Size, Pinned: done.At != 0 && !owner.Independent()}
}
