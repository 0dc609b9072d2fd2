package manager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// settleTimeout is how long a request waits for the owner of a volume to do what a snapshot's record asks. It
// will be done later than that, too.
const settleTimeout = 15 * time.Second

// CreateSnapshot takes a snapshot of a volume as it is at some moment of this call, and waits until that is
// done; if the volume's owner takes long, the answer says that it is being created. created is false when
// this request made it before.
func (m *Manager) CreateSnapshot(ctx context.Context, r wire.SnapshotCreate) (
	snap wire.Snapshot, created bool, err error,
) {
	if r.ID.IsZero() {
		if r.ID, err = m.newUUID(ctx); err != nil {
			return snap, false, err
		}
	}
	rec := cluster.Snapshot{UUID: r.ID, Name: r.Name, Volume: r.Volume, State: cluster.SnapshotCreating,
		Description: r.Description, Metadata: r.Metadata, Request: digest(r)}
	if err := cluster.ValidateName("name", r.Name); err != nil {
		return snap, false, invalid(err)
	}
	var it store.Item
	err = m.decide(ctx, func() error {
		read, err := m.store.Read(ctx, store.Key(cluster.KeySnapshot(r.ID)),
			store.Key(cluster.KeySnapshotName(r.Volume, r.Name)), store.Key(cluster.KeyVolume(r.Volume)))
		if err != nil {
			return err
		}
		if it = read.One(0); it.Rev != 0 {
			created = false
			return sameSnapshot(ctx, it, rec.Request)
		}
		created = true
		it, err = m.makeSnapshot(ctx, read, rec)
		return err
	})
	if err != nil {
		return snap, created, err
	}
	snap, _, err = m.settled(ctx, it)
	return snap, created, err
}

// sameSnapshot refuses a create whose identity another request has used.
func sameSnapshot(ctx context.Context, it store.Item, request string) error {
	rec, err := decode[cluster.Snapshot](it)
	if err == nil && (rec.Request != request || rec.Hidden || !sees(ctx, rec.Project)) {
		err = refuse(wire.Conflict, "id", "snapshot %s was created by a different request", rec.UUID)
	}
	return err
}

// makeSnapshot commits the record of a new snapshot, for the owner of the volume to find. read holds the
// snapshot, its name and the volume.
func (m *Manager) makeSnapshot(ctx context.Context, read store.Snapshot, rec cluster.Snapshot) (store.Item,
	error) {
	var txn store.Txn
	it, err := m.addSnapshot(ctx, &txn, read, rec)
	if err == nil {
		it.Rev, err = m.store.Commit(ctx, txn)
	}
	return it, err
}

// addSnapshot adds to a transaction the record of a new snapshot, and returns it.
func (m *Manager) addSnapshot(ctx context.Context, txn *store.Txn, read store.Snapshot,
	rec cluster.Snapshot) (store.Item, error) {
	name, volume := read.One(1), read.One(2)
	missing := refuse(wire.InvalidField, "volume", "volume %s does not exist", rec.Volume)
	if volume.Rev == 0 {
		return store.Item{}, missing
	}
	vol, err := decode[cluster.Volume](volume)
	switch {
	case err != nil:
		return store.Item{}, err
	case !sees(ctx, vol.Project) || vol.Hidden:
		return store.Item{}, missing
	case name.Rev != 0:
		return store.Item{}, refuse(wire.Conflict, "name", "the volume has a snapshot of that name: %s", name.Value)
	}
	if err := m.refuseShrinking(ctx, volume, &vol); err != nil {
		return store.Item{}, err
	}
	rec.Key, rec.Project, rec.Size, rec.Created = vol.Key, vol.Project, vol.Size, cmp.Or(rec.Created, m.stamp())
	if err := rec.Validate(); err != nil {
		return store.Item{}, invalid(err)
	}
	if err := m.roomForPins(ctx, vol.Key); err != nil {
		return store.Item{}, err
	}
	nameKey := rec.NameKey()
	record := put(cluster.KeySnapshot(rec.UUID), rec)
	txn.If = append(txn.If, store.Cond{Key: record.Key}, store.Cond{Key: nameKey},
		store.Cond{Key: volume.Key, Rev: volume.Rev})
	txn.Put = append(txn.Put, record, put(nameKey, rec.UUID))
	if rec.Hidden { // until its clone is made
		key := cluster.KeyUnclaimed(rec.UUID)
		txn.Put, txn.Blind = append(txn.Put, put(key, rec.UUID)), append(txn.Blind, key)
	} else {
		m.note(txn, wire.Info, "snapshot.created", aboutVolume(&vol), vol.Project,
			"snapshot %s (%s) of volume %s asked for", rec.Name, rec.UUID, vol.Name)
	}
	return store.Item{Key: record.Key, Value: record.Value}, nil
}

// roomForPins refuses a snapshot of a volume that has as many as it can have.
func (m *Manager) roomForPins(ctx context.Context, vol cluster.VolumeKey) error {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyOwner(vol)))
	if err != nil || read.One(0).Rev == 0 {
		return err
	}
	owner, err := decode[cluster.Owner](read.One(0))
	if err == nil && len(owner.View.Pins) >= cluster.MaxPins {
		err = refuse(wire.SnapshotLimit, "volume", "the volume has %d snapshots, those that clones of it need "+
			"included, and can have no more", len(owner.View.Pins))
	}
	return err
}

// settled waits for the owner of a volume to settle a snapshot, but not for ever; gone: the record is no
// more.
func (m *Manager) settled(ctx context.Context, it store.Item) (snap wire.Snapshot, gone bool, err error) {
	wait, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return snap, false, err
		}
		snap = drawSnapshot(rec, it.Rev)
		if !rec.Unsettled() || m.store.Await(wait, it.Key, it.Rev) != nil {
			return snap, false, nil
		}
		read, err := m.store.Read(ctx, store.Key(it.Key))
		if err != nil {
			return snap, false, err
		}
		if it = read.One(0); it.Rev == 0 {
			return snap, true, nil
		}
	}
}

func drawSnapshot(rec cluster.Snapshot, rev int64) wire.Snapshot {
	w := wire.Snapshot{Versioned: wire.Versioned{ETag: etag(rev)}, ID: rec.UUID, Name: rec.Name,
		Project: rec.Project, Volume: rec.Volume, State: rec.State, Size: rec.Size,
		NQN: cluster.SnapshotNQN(rec.UUID), Hosts: append([]string{}, rec.Hosts...), Clones: rec.Clones,
		Schedule: rec.Schedule, Description: rec.Description, Metadata: rec.Metadata, Created: rec.Created}
	if rec.Set != nil {
		w.GroupSnapshot = rec.Set.UUID
	}
	if rec.Pin != 0 {
		w.Pin = rec.Pin.String()
	}
	if w.Metadata == nil {
		w.Metadata = cluster.Metadata{}
	}
	return w
}

// Snapshot shows one snapshot.
func (m *Manager) Snapshot(ctx context.Context, id cluster.UUID) (wire.Snapshot, error) {
	it, rec, err := m.readSnapshot(ctx, id, "")
	return drawSnapshot(rec, it.Rev), err
}

// readSnapshot reads a snapshot's record; ifMatch, when not empty, is what its ETag must be.
func (m *Manager) readSnapshot(ctx context.Context, id cluster.UUID,
	ifMatch string) (store.Item, cluster.Snapshot, error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeySnapshot(id)))
	if err != nil {
		return store.Item{}, cluster.Snapshot{}, err
	}
	it := read.One(0)
	if it.Rev == 0 {
		return it, cluster.Snapshot{}, notFound("snapshot", id)
	}
	rec, err := decode[cluster.Snapshot](it)
	if err == nil && (!sees(ctx, rec.Project) || rec.Hidden) {
		return store.Item{}, cluster.Snapshot{}, notFound("snapshot", id)
	}
	if err == nil {
		err = matches(ifMatch, it.Rev)
	}
	return it, rec, err
}

// Snapshots lists all snapshots by id, only those that a schedule has made when that is not zero.
func (m *Manager) Snapshots(ctx context.Context, p Page, f SnapshotFilter) (wire.Page[wire.Snapshot],
	error) {
	out := wire.Page[wire.Snapshot]{Items: []wire.Snapshot{}}
	after, limit, err := p.after("snapshots")
	if err == nil {
		err = f.Use.validate()
	}
	if err != nil {
		return out, err
	}
	q := store.Query{Prefix: cluster.PrefixSnapshots, Limit: limit + 1}
	if after != "" {
		q.After = cluster.PrefixSnapshots + after
	}
	for more := true; more; {
		read, err := m.store.Read(ctx, q)
		if err != nil {
			return out, err
		}
		more = read.Results[0].More
		for _, it := range read.Results[0].Items {
			q.After = it.Key
			rec, err := decode[cluster.Snapshot](it)
			switch {
			case err != nil:
				return out, err
			case !sees(ctx, rec.Project) || rec.Hidden || !f.passes(&rec):
			case len(out.Items) == limit:
				out.Next = cursorAfter("snapshots", out.Items[limit-1].ID.String())
				return out, nil
			default:
				out.Items = append(out.Items, drawSnapshot(rec, it.Rev))
			}
		}
	}
	return out, nil
}

// SnapshotsOf lists the snapshots of a volume by name, or the one of that name if name is not empty.
func (m *Manager) SnapshotsOf(ctx context.Context, volume cluster.UUID, p Page,
	name string) (wire.Page[wire.Snapshot], error) {
	out := wire.Page[wire.Snapshot]{Items: []wire.Snapshot{}}
	after, limit, err := p.after("snapshots-of")
	if err != nil {
		return out, err
	}
	prefix := cluster.PrefixSnapshotsOf(volume)
	q := store.Query{Prefix: prefix, Limit: limit}
	if after != "" {
		q.After = prefix + after
	}
	if name != "" {
		q = store.Key(cluster.KeySnapshotName(volume, name))
	}
	if _, _, err := m.readVolume(ctx, volume, ""); err != nil {
		return out, err
	}
	read, err := m.store.Read(ctx, q)
	if err != nil {
		return out, err
	}
	items, err := m.namedSnapshots(ctx, read.Results[0].Items)
	if err != nil {
		return out, err
	}
	for _, it := range items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, drawSnapshot(rec, it.Rev))
	}
	if names := read.Results[0]; names.More {
		out.Next = cursorAfter("snapshots-of", names.Items[len(names.Items)-1].Key[len(prefix):])
	}
	return out, nil
}

// namedSnapshots reads the records that name keys point to. One deleted in between is left out.
func (m *Manager) namedSnapshots(ctx context.Context, names []store.Item) ([]store.Item, error) {
	var out []store.Item
	for batch := range slices.Chunk(names, store.MaxOps) {
		queries := make([]store.Query, len(batch))
		for i, it := range batch {
			id, err := decode[cluster.UUID](it)
			if err != nil {
				return nil, err
			}
			queries[i] = store.Key(cluster.KeySnapshot(id))
		}
		read, err := m.store.Read(ctx, queries...)
		if err != nil {
			return nil, err
		}
		for i := range batch {
			if it := read.One(i); it.Rev != 0 {
				out = append(out, it)
			}
		}
	}
	return out, nil
}

// UpdateSnapshot changes what people say of a snapshot.
func (m *Manager) UpdateSnapshot(ctx context.Context, id cluster.UUID, r wire.SnapshotUpdate,
	ifMatch string) (snap wire.Snapshot, err error) {
	err = m.decide(ctx, func() error {
		it, rec, err := m.readSnapshot(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		was := rec
		if r.Name != nil {
			rec.Name = *r.Name
		}
		if r.Description != nil {
			rec.Description = *r.Description
		}
		if r.Metadata != nil {
			rec.Metadata = r.Metadata
		}
		if rec.Name != was.Name && rec.Set != nil {
			return refuse(wire.SnapshotInGroup, "name", "snapshot %s is a part of group snapshot %s; rename that",
				id, rec.Set.UUID)
		}
		t := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{put(it.Key, rec)}}
		if err := m.renameSnapshot(ctx, &t, &was, &rec); err != nil {
			return err
		}
		rev, err := m.store.Commit(ctx, t)
		snap = drawSnapshot(rec, rev)
		return err
	})
	return snap, err
}

// renameSnapshot checks a snapshot that was changed, and adds to a transaction that its name moves, if it has
// another one now.
func (m *Manager) renameSnapshot(ctx context.Context, t *store.Txn, was, is *cluster.Snapshot) error {
	if err := is.Validate(); err != nil {
		return invalid(err)
	}
	if is.Name == was.Name {
		return nil
	}
	old, next := was.NameKey(), is.NameKey()
	read, err := m.store.Read(ctx, store.Key(next))
	if err != nil {
		return err
	}
	if read.One(0).Rev != 0 {
		return refuse(wire.Conflict, "name", "volume %s has a snapshot of that name: %s", is.Volume,
			read.One(0).Value)
	}
	t.If, t.Put = append(t.If, store.Cond{Key: next}), append(t.Put, put(next, is.UUID))
	t.Delete, t.Blind = append(t.Delete, old), append(t.Blind, old) // the name is the snapshot's alone
	return nil
}

// DeleteSnapshot deletes a snapshot that no host may use, and waits until its volume has let go; if that
// takes long, gone is false and the answer says that it is being deleted.
func (m *Manager) DeleteSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) (snap wire.Snapshot,
	gone bool, err error) {
	var it store.Item
	err = m.decide(ctx, func() error {
		var rec cluster.Snapshot
		if it, rec, err = m.readSnapshot(ctx, id, ifMatch); err != nil {
			return err
		}
		if rec.State == cluster.SnapshotDeleting {
			return nil
		}
		var t store.Txn
		if it, err = m.dropSnapshot(&t, it, rec); err != nil {
			return err
		}
		gone = rec.Clones > 0
		it.Rev, err = m.store.Commit(ctx, t)
		return err
	})
	if err != nil || gone {
		return snap, gone, err
	}
	return m.settled(ctx, it)
}

// dropSnapshot adds to a transaction that a snapshot is to go, or that it is hidden while there are clones of
// it, and returns its record; or it refuses.
func (m *Manager) dropSnapshot(t *store.Txn, it store.Item, rec cluster.Snapshot) (store.Item, error) {
	if rec.Set != nil {
		return it, refuse(wire.SnapshotInGroup, "", "snapshot %s is a part of group snapshot %s; delete that",
			rec.UUID, rec.Set.UUID)
	}
	it, err := dropPart(t, it, rec)
	if err == nil {
		m.note(t, wire.Info, "snapshot.deleted", about("volume", rec.Volume), rec.Project,
			"snapshot %s (%s) of %s deleted", rec.Name, rec.UUID, rec.Created)
	}
	return it, err
}

// dropPart is dropSnapshot for what may be a part of a group snapshot.
func dropPart(t *store.Txn, it store.Item, rec cluster.Snapshot) (store.Item, error) {
	if len(rec.Hosts) > 0 {
		return it, &Error{Code: wire.SnapshotExported, Hosts: rec.Hosts,
			Detail: fmt.Sprintf("snapshot %s is exported to %d host(s): %v", rec.UUID, len(rec.Hosts), rec.Hosts)}
	}
	if rec.State == cluster.SnapshotReverting {
		return it, refuse(wire.Conflict, "", "the volume is being reverted to snapshot %s", rec.UUID)
	}
	name := rec.NameKey()
	if rec.Hidden = rec.Clones > 0; rec.Hidden {
		key := rec.NameKey()
		t.Put = append(t.Put, put(key, rec.UUID))
		t.Delete = append(t.Delete, name)
		t.Blind = append(t.Blind, name, key) // both belong to the snapshot alone
	} else {
		rec.State = cluster.SnapshotDeleting
	}
	p := put(it.Key, rec)
	it.Value = p.Value
	t.If, t.Put = append(t.If, store.Cond{Key: it.Key, Rev: it.Rev}), append(t.Put, p)
	return it, nil
}

// droppedAtOnce bounds the snapshots whose deletion is asked for by one transaction: four keys are written
// for each.
const droppedAtOnce = store.MaxOps / 4

// deleteSnapshotsOf deletes all snapshots of a volume, and waits until they are gone or hidden.
func (m *Manager) deleteSnapshotsOf(ctx context.Context, volume cluster.UUID) error {
	for {
		read, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixSnapshotsOf(volume), Limit: droppedAtOnce})
		if err != nil {
			return err
		}
		items, err := m.namedSnapshots(ctx, read.Results[0].Items)
		if err != nil || len(items) == 0 {
			return err
		}
		going, err := m.dropSnapshots(ctx, items)
		if err != nil {
			return err
		}
		for _, it := range going {
			switch _, gone, err := m.settled(ctx, it); {
			case err != nil:
				return err
			case !gone:
				return refuse(wire.Unavailable, "", "snapshots of volume %s are still being deleted; repeat the call",
					volume)
			}
		}
	}
}

// dropSnapshots has snapshots deleted, and returns the records of those that their owner has to let go of.
func (m *Manager) dropSnapshots(ctx context.Context, items []store.Item) (going []store.Item, err error) {
	var t store.Txn
	for _, it := range items {
		rec, err := decode[cluster.Snapshot](it)
		if err != nil {
			return nil, err
		}
		if rec.State != cluster.SnapshotDeleting {
			if it, err = m.dropSnapshot(&t, it, rec); err != nil {
				return nil, err
			}
		}
		if rec.Clones == 0 {
			going = append(going, it)
		}
	}
	if len(t.Put) == 0 {
		return going, nil
	}
	rev, err := m.store.Commit(ctx, t)
	for i := range going {
		going[i].Rev = max(going[i].Rev, rev)
	}
	return going, err
}

// refuseSnapshots refuses what a volume with snapshots does not take.
func (m *Manager) refuseSnapshots(ctx context.Context, volume cluster.UUID) error {
	read, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixSnapshotsOf(volume), Limit: 1})
	if err == nil && len(read.Results[0].Items) > 0 {
		err = refuse(wire.VolumeHasSnapshots, "",
			"volume %s has snapshots; delete them first, or with it (cascade)", volume)
	}
	return err
}
