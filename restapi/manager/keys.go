package manager

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Keys finds the cluster keys of this node. An error says that this node does not have the key, or cannot
// tell now; it names ids, never keys.
type Keys interface {
	Key(ctx context.Context, id string) (seal.ClusterKey, error)
}

// keyOf is a cluster key of this node, or the refusal that says what to do.
func (m *Manager) keyOf(ctx context.Context, field, id string) (seal.ClusterKey, error) {
	return keyOf(ctx, m.keys, field, id)
}

func keyOf(ctx context.Context, keys Keys, field, id string) (seal.ClusterKey, error) {
	if keys == nil {
		return seal.ClusterKey{}, refuse(wire.KeyMissing, field, "this node has no cluster keys")
	}
	k, err := keys.Key(ctx, id)
	if err != nil {
		return k, refuse(wire.KeyMissing, field, "this node does not have cluster key %q: %v", id, err)
	}
	return k, nil
}

// encrypt settles how a new volume is encrypted: as asked for, else as its pool says. A data key is drawn and
// wrapped. snap holds the pool and, as item 6, which cluster key is current; should that change meanwhile,
// the volume is wrapped again like all others.
func (m *Manager) encrypt(ctx context.Context, snap store.Snapshot, rec *cluster.Volume, asked string) error {
	rec.Encryption = nil
	if snap.One(1).Rev == 0 {
		return nil // no pool: refused below
	}
	pool, err := decode[cluster.Pool](snap.One(1))
	if err != nil {
		return err
	}
	if asked == "" {
		asked = pool.Encryption
	}
	if asked == "" || asked == cluster.EncryptionNone {
		return nil
	}
	current, err := currentKey(snap.One(6))
	if err != nil {
		return err
	}
	if current.Current == "" {
		return refuse(wire.KeyMissing, "encryption", "the cluster has no key yet: put one into the key file of "+
			"every node (`ashlard key add`), then `ashlar key rotate --to ID`")
	}
	key, err := m.keyOf(ctx, "encryption", current.Current)
	if err != nil {
		return err
	}
	data, err := seal.NewDataKey(m.random) // not m.chance: a key never follows from what a client chose
	if err != nil {
		return err
	}
	e := cluster.Encryption{Algorithm: asked, ClusterKey: current.Current}
	if e.DataKey, err = m.newUUID(ctx); err != nil {
		return err
	}
	if e.Wrapped, err = key.Wrap(data, e.DataKey, m.random); err != nil {
		return err
	}
	rec.Encryption = &e
	return nil
}

func currentKey(it store.Item) (cluster.ClusterKeys, error) {
	if it.Rev == 0 {
		return cluster.ClusterKeys{}, nil
	}
	return decode[cluster.ClusterKeys](it)
}

// RotateKey makes another cluster key the current one: new data keys are wrapped with it from now on, and
// those of all volumes are wrapped again by their owners (RewrapVolume). This node must have it. Repeating it
// changes nothing. ifMatch, when not empty, is the ETag that the list of keys must still have.
func (m *Manager) RotateKey(ctx context.Context, r wire.KeyRotation, ifMatch string) (wire.Keys, error) {
	if err := cluster.ValidateName("to", r.To); err != nil {
		return wire.Keys{}, invalid(err)
	}
	if _, err := m.keyOf(ctx, "to", r.To); err != nil {
		return wire.Keys{}, err
	}
	err := m.decide(ctx, func() error {
		snap, err := m.store.Read(ctx, store.Key(cluster.KeyClusterKeys))
		if err != nil {
			return err
		}
		it := snap.One(0)
		if err := matches(ifMatch, it.Rev); err != nil {
			return err
		}
		now, err := currentKey(it)
		if err != nil || now.Current == r.To {
			return err
		}
		next := cluster.ClusterKeys{Current: r.To, Since: m.stamp()}
		_, err = m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: cluster.KeyClusterKeys, Rev: it.Rev}},
			Put: []store.Put{put(cluster.KeyClusterKeys, next)}})
		return err
	})
	if err != nil {
		return wire.Keys{}, err
	}
	return m.Keys(ctx)
}

// Keys lists the cluster keys that are in use, which volumes they wrap, and which nodes do not have them.
func (m *Manager) Keys(ctx context.Context) (wire.Keys, error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyClusterKeys), store.All(cluster.PrefixStats),
		store.All(cluster.PrefixAlive), store.All(cluster.PrefixVolumes), store.Key(cluster.KeyAuthority))
	if err != nil {
		return wire.Keys{}, err
	}
	current, lacks, err := keySituation(snap)
	if err != nil {
		return wire.Keys{}, err
	}
	wrapped := map[string]int{}
	if current.Current != "" {
		wrapped[current.Current] = 0
	}
	for _, it := range snap.Results[3].Items {
		rec, err := decode[cluster.Volume](it)
		if err != nil {
			return wire.Keys{}, err
		}
		if e := rec.Encryption; e != nil && len(e.Wrapped) > 0 {
			wrapped[e.ClusterKey]++
		}
	}
	wrapsAuthority, err := authorityKeys(snap.One(4))
	if err != nil {
		return wire.Keys{}, err
	}
	for _, id := range wrapsAuthority {
		wrapped[id] += 0
	}
	out := wire.Keys{Current: current.Current, Since: current.Since, Keys: []wire.ClusterKey{}}
	out.ETag = etag(snap.One(0).Rev)
	for id, n := range wrapped {
		out.Keys = append(out.Keys, wire.ClusterKey{ID: id, Current: id == current.Current, Volumes: n,
			Authority: slices.Contains(wrapsAuthority, id), Missing: lacks(id)})
	}
	slices.SortFunc(out.Keys, func(a, b wire.ClusterKey) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// keySituation reads the first three results of a snapshot: which key is current, what nodes published, which
// are alive. lacks lists the nodes that are alive and have not found a key.
func keySituation(snap store.Snapshot) (
	current cluster.ClusterKeys, lacks func(id string) []cluster.NodeID, err error,
) {
	if current, err = currentKey(snap.One(0)); err != nil {
		return current, nil, err
	}
	stats, err := readStats(snap.Results[1])
	if err != nil {
		return current, nil, err
	}
	alive := present(snap.Results[2])
	return current, func(id string) []cluster.NodeID {
		out := []cluster.NodeID{}
		for node, st := range stats {
			if alive[cluster.KeyNodeAlive(node)] && !slices.Contains(st.Keys, id) {
				out = append(out, node)
			}
		}
		slices.Sort(out)
		return out
	}, nil
}

// keyOfAll says which key is current, or refuses while a node that is alive does not have it.
func (m *Manager) keyOfAll(ctx context.Context) (cluster.ClusterKeys, error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyClusterKeys), store.All(cluster.PrefixStats),
		store.All(cluster.PrefixAlive))
	if err != nil {
		return cluster.ClusterKeys{}, err
	}
	keys, lacks, err := keySituation(snap)
	if err != nil {
		return keys, err
	}
	if who := lacks(keys.Current); len(who) > 0 {
		return keys, refuse(wire.KeyMissing, "", "nodes %v do not have cluster key %q yet", who, keys.Current)
	}
	return keys, nil
}

// RewrapVolume wraps a volume's data key with the current cluster key, which every node that is alive must
// have: a volume is to be opened wherever it was to be opened before. changed is false when there is nothing
// to do.
func (m *Manager) RewrapVolume(ctx context.Context, id cluster.UUID) (changed bool, err error) {
	keys, err := m.keyOfAll(ctx)
	if err != nil {
		return false, err
	}
	err = m.decide(ctx, func() error {
		changed = false
		it, rec, err := m.anyVolume(ctx, id)
		if err != nil {
			return err
		}
		e := rec.Encryption
		if e == nil || len(e.Wrapped) == 0 || e.ClusterKey == keys.Current {
			return nil
		}
		old, err := m.keyOf(ctx, "", e.ClusterKey)
		if err != nil {
			return err
		}
		current, err := m.keyOf(ctx, "", keys.Current)
		if err != nil {
			return err
		}
		data, err := old.Unwrap(e.Wrapped, e.DataKey)
		if err != nil {
			return fmt.Errorf("volume %s: %w", id, err)
		}
		if e.Wrapped, err = current.Wrap(data, e.DataKey, m.random); err != nil {
			return err
		}
		e.ClusterKey = keys.Current
		_, err = m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}},
			Put: []store.Put{put(it.Key, rec)}})
		changed = err == nil
		return err
	})
	return changed, err
}

// DestroyKey takes the wrapped data key out of the record of a volume that no host may use: nobody opens the
// volume again, whatever devices still hold of it. It is refused while another volume, a clone, needs the
// key. etcd keeps the former record until it is compacted and defragmented, and backups of etcd keep it
// longer: with these and the cluster key of that time the data key could be had.
func (m *Manager) DestroyKey(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		switch e := rec.Encryption; {
		case e == nil:
			return refuse(wire.NotSupported, "", "volume %s is not encrypted: it has no key to destroy", id)
		case len(e.Wrapped) == 0:
			return nil
		case len(rec.Hosts) > 0:
			return &Error{Code: wire.VolumeExported, Hosts: rec.Hosts,
				Detail: fmt.Sprintf("volume %s is exported to %d host(s): %v", id, len(rec.Hosts), rec.Hosts)}
		}
		if err := m.soleUser(ctx, &rec); err != nil {
			return err
		}
		rec.Encryption.Wrapped, rec.Encryption.ClusterKey = nil, ""
		_, err = m.store.Commit(ctx, store.Txn{Put: []store.Put{put(it.Key, rec)}, If: []store.Cond{
			{Key: it.Key, Rev: it.Rev}, // and no clone can have been made since there are no snapshots
			{Key: cluster.PrefixSnapshotsOf(id)}, {Key: cluster.PrefixHiddenSnapshotsOf(id)}}})
		return err
	})
}

// soleUser refuses when another volume is encrypted with the same data key, or may be: as a clone of a
// snapshot.
func (m *Manager) soleUser(ctx context.Context, rec *cluster.Volume) error {
	if err := m.refuseSnapshots(ctx, rec.UUID); err != nil {
		return err
	}
	if hidden, err := m.hasHidden(ctx, rec.UUID); err != nil {
		return err
	} else if hidden {
		return refuse(wire.Conflict, "", "volume %s has clones, or is being cloned", rec.UUID)
	}
	snap, err := m.store.Read(ctx, store.All(cluster.PrefixVolumes))
	if err != nil {
		return err
	}
	for _, it := range snap.Results[0].Items {
		other, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		if e := other.Encryption; other.UUID != rec.UUID && e != nil && e.DataKey == rec.Encryption.DataKey &&
			len(e.Wrapped) > 0 {
			return refuse(wire.Conflict, "", "volume %s is encrypted with the same key", other.UUID)
		}
	}
	return nil
}
