package manager

import (
	"cmp"
	"context"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// A group snapshot is a record that names snapshots, its parts, each of which names it. Parts are made in one
// transaction, become available in one (the owners' coordinator), and are asked to go in one. What state a
// group snapshot is in follows from them.

// CreateGroupSnapshot takes a snapshot of all volumes of a group as they are at one moment of this call, and
// waits until that is done; if the owners take long, the answer says that it is being created. created is
// false when this request made it before.
func (m *Manager) CreateGroupSnapshot(ctx context.Context,
	r wire.GroupSnapshotCreate) (snap wire.GroupSnapshot,
	created bool, err error) {
	if r.ID.IsZero() {
		if r.ID, err = m.newUUID(ctx); err != nil {
			return snap, false, err
		}
	}
	if err := cluster.ValidateName("name", r.Name); err != nil {
		return snap, false, invalid(err)
	}
	rec := cluster.GroupSnapshot{UUID: r.ID, Name: r.Name, Group: r.Group, Description: r.Description,
		Metadata: r.Metadata, Request: digest(r)}
	var parts []store.Item
	err = m.decide(ctx, func() error {
		read, err := m.store.Read(ctx, store.Key(cluster.KeyGroupSnapshot(r.ID)),
			store.Key(cluster.KeyGroup(r.Group)),
			store.Key(cluster.KeyGroupSnapshotName(r.Group, r.Name)))
		if err != nil {
			return err
		}
		if it := read.One(0); it.Rev != 0 {
			created = false
			parts, err = m.sameGroupSnapshot(ctx, it, rec.Request)
			return err
		}
		created = true
		parts, err = m.makeGroupSnapshot(ctx, read, rec)
		return err
	})
	if err != nil {
		return snap, created, err
	}
	if len(parts) > 0 { // they become available together
		if _, _, err = m.settled(ctx, parts[0]); err != nil {
			return snap, created, err
		}
	}
	snap, err = m.GroupSnapshot(ctx, r.ID)
	return snap, created, err
}

// sameGroupSnapshot refuses a create whose identity another request has used, and returns the parts.
func (m *Manager) sameGroupSnapshot(ctx context.Context, it store.Item, request string) ([]store.Item,
	error) {
	rec, err := decode[cluster.GroupSnapshot](it)
	if err == nil && (rec.Request != request || !sees(ctx, rec.Project)) {
		err = refuse(wire.Conflict, "id", "group snapshot %s was created by a different request", rec.UUID)
	}
	if err != nil {
		return nil, err
	}
	return m.snapshotItems(ctx, rec.Snapshots)
}

// makeGroupSnapshot commits the records of a group snapshot and its parts, for the owners to find. read holds
// the group snapshot, its group, and its name.
func (m *Manager) makeGroupSnapshot(ctx context.Context, read store.Snapshot,
	rec cluster.GroupSnapshot) ([]store.Item, error) {
	var txn store.Txn
	parts, err := m.addGroupSnapshot(ctx, &txn, read, rec)
	if err != nil {
		return nil, err
	}
	rev, err := m.store.Commit(ctx, txn)
	for i := range parts {
		parts[i].Rev = rev
	}
	return parts, err
}

// addGroupSnapshot adds to a transaction the records of a group snapshot and its parts, and returns these.
func (m *Manager) addGroupSnapshot(ctx context.Context, txn *store.Txn, read store.Snapshot,
	rec cluster.GroupSnapshot) ([]store.Item, error) {
	missing := refuse(wire.InvalidField, "group", "group %s does not exist", rec.Group)
	at, name := read.One(1), read.One(2)
	if at.Rev == 0 {
		return nil, missing
	}
	group, err := decode[cluster.Group](at)
	switch {
	case err != nil:
		return nil, err
	case !sees(ctx, group.Project):
		return nil, missing
	case name.Rev != 0:
		return nil, refuse(wire.Conflict, "name", "the group has a snapshot of that name: %s", name.Value)
	case len(group.Volumes) == 0:
		return nil, refuse(wire.Conflict, "group", "group %s has no volumes", group.UUID)
	}
	key, nameKey := cluster.KeyGroupSnapshot(rec.UUID), cluster.KeyGroupSnapshotName(rec.Group, rec.Name)
	txn.If = append(txn.If, store.Cond{Key: key}, store.Cond{Key: nameKey}, store.Cond{Key: at.Key, Rev: at.Rev})
	rec.Project, rec.Created = group.Project, cmp.Or(rec.Created, m.stamp())
	var parts []store.Item
	for _, volume := range group.Volumes {
		part := cluster.Snapshot{UUID: derived("part of group snapshot "+rec.UUID.String(), volume),
			Name:   rec.Name,
			Volume: volume, State: cluster.SnapshotCreating, Description: rec.Description, Created: rec.Created,
			Schedule: rec.Schedule,
			Set:      &cluster.SnapshotSet{UUID: rec.UUID, Volumes: uint32(len(group.Volumes))}}
		it, err := m.addPart(ctx, txn, part)
		if err != nil {
			return nil, err
		}
		parts, rec.Snapshots = append(parts, it), append(rec.Snapshots, part.UUID)
	}
	if err := rec.Validate(); err != nil {
		return nil, invalid(err)
	}
	txn.Put = append(txn.Put, put(key, rec), put(nameKey, rec.UUID))
	m.note(txn, wire.Info, "group.snapshot", about("group", rec.Group), rec.Project,
		"snapshot %s (%s) of group %s asked for, of %d volumes", rec.Name, rec.UUID, group.Name, len(parts))
	return parts, nil
}

// addPart adds to a transaction the snapshot of one volume of a group, and returns its record.
func (m *Manager) addPart(ctx context.Context, txn *store.Txn, part cluster.Snapshot) (store.Item, error) {
	it, nameKey := store.Item{Key: cluster.KeySnapshot(part.UUID)}, part.NameKey()
	read, err := m.store.Read(ctx, store.Key(cluster.KeyVolume(part.Volume)), store.Key(nameKey))
	if err != nil {
		return it, err
	}
	at := read.One(0)
	if at.Rev == 0 { // deleted this moment, having left the group
		return it, cluster.ErrConflict
	}
	vol, err := decode[cluster.Volume](at)
	if err != nil {
		return it, err
	}
	if read.One(1).Rev != 0 {
		return it, refuse(wire.Conflict, "name", "volume %s has a snapshot of that name: %s", vol.UUID,
			read.One(1).Value)
	}
	if err := m.refuseShrinking(ctx, at, &vol); err != nil {
		return it, err
	}
	part.Key, part.Project, part.Size = vol.Key, vol.Project, vol.Size
	if err := part.Validate(); err != nil {
		return it, invalid(err)
	}
	if err := m.roomForPins(ctx, vol.Key); err != nil {
		return it, err
	}
	p := put(it.Key, part)
	txn.If = append(txn.If, store.Cond{Key: it.Key}, store.Cond{Key: nameKey}, store.Cond{Key: at.Key,
		Rev: at.Rev})
	txn.Put = append(txn.Put, p, put(nameKey, part.UUID))
	it.Value = p.Value
	return it, nil
}

// snapshotItems reads the records of snapshots, whoever asks; of one that is gone Rev is 0.
func (m *Manager) snapshotItems(ctx context.Context, ids []cluster.UUID) (out []store.Item, err error) {
	for batch := range slices.Chunk(ids, store.MaxOps) {
		queries := make([]store.Query, len(batch))
		for i, id := range batch {
			queries[i] = store.Key(cluster.KeySnapshot(id))
		}
		read, err := m.store.Read(ctx, queries...)
		if err != nil {
			return nil, err
		}
		for i := range batch {
			out = append(out, read.One(i))
		}
	}
	return out, nil
}

// groupSnapshot is a group snapshot as it was read: its record and those of its parts.
type groupSnapshot struct {
	at    store.Item
	rec   cluster.GroupSnapshot
	items []store.Item
	parts []cluster.Snapshot
}

// version is the revision that changed any of it last.
func (g *groupSnapshot) version() int64 {
	rev := g.at.Rev
	for _, it := range g.items {
		rev = max(rev, it.Rev)
	}
	return rev
}

// state is what the parts are: on their way as long as one of them is.
func (g *groupSnapshot) state() cluster.SnapshotState {
	for _, p := range g.parts {
		if p.Unsettled() {
			return p.State
		}
	}
	return cluster.SnapshotAvailable
}

func (g *groupSnapshot) draw() wire.GroupSnapshot {
	w := wire.GroupSnapshot{Versioned: wire.Versioned{ETag: etag(g.version())}, ID: g.rec.UUID,
		Name:    g.rec.Name,
		Project: g.rec.Project, Group: g.rec.Group, State: g.state(), Snapshots: []wire.GroupPart{},
		Schedule: g.rec.Schedule, Description: g.rec.Description, Metadata: g.rec.Metadata, Created: g.rec.Created}
	for _, p := range g.parts {
		w.Snapshots = append(w.Snapshots, wire.GroupPart{Volume: p.Volume, Snapshot: p.UUID, Size: p.Size})
	}
	if w.Metadata == nil {
		w.Metadata = cluster.Metadata{}
	}
	return w
}

// readGroupSnapshot reads a group snapshot with its parts; ifMatch, when not empty, is what its ETag must be.
func (m *Manager) readGroupSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) (*groupSnapshot,
	error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyGroupSnapshot(id)))
	if err != nil {
		return nil, err
	}
	it := read.One(0)
	if it.Rev == 0 {
		return nil, notFound("group snapshot", id)
	}
	rec, err := decode[cluster.GroupSnapshot](it)
	if err != nil {
		return nil, err
	}
	if !sees(ctx, rec.Project) {
		return nil, notFound("group snapshot", id)
	}
	g, err := m.withParts(ctx, it, rec)
	if err == nil {
		err = matches(ifMatch, g.version())
	}
	return g, err
}

func (m *Manager) withParts(ctx context.Context, it store.Item, rec cluster.GroupSnapshot) (*groupSnapshot,
	error) {
	g := &groupSnapshot{at: it, rec: rec}
	items, err := m.snapshotItems(ctx, rec.Snapshots)
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		if it.Rev == 0 { // deleted this moment, and the group snapshot with it
			continue
		}
		part, err := decode[cluster.Snapshot](it)
		if err != nil {
			return nil, err
		}
		g.items, g.parts = append(g.items, it), append(g.parts, part)
	}
	return g, nil
}

// GroupSnapshot shows one group snapshot.
func (m *Manager) GroupSnapshot(ctx context.Context, id cluster.UUID) (wire.GroupSnapshot, error) {
	g, err := m.readGroupSnapshot(ctx, id, "")
	if err != nil {
		return wire.GroupSnapshot{}, err
	}
	return g.draw(), nil
}

// GroupSnapshots lists group snapshots by id; those of one group, if that is not zero.
func (m *Manager) GroupSnapshots(ctx context.Context, p Page,
	group cluster.UUID) (wire.Page[wire.GroupSnapshot],
	error) {
	out := wire.Page[wire.GroupSnapshot]{Items: []wire.GroupSnapshot{}}
	err := m.pageOf(ctx, p, "group-snapshots", cluster.PrefixGroupSnapshots, func(it store.Item,
		full bool) (bool, error) {
		rec, err := decode[cluster.GroupSnapshot](it)
		if err != nil || !sees(ctx, rec.Project) || !group.IsZero() && rec.Group != group {
			return false, err
		}
		if full {
			out.Next = cursorAfter("group-snapshots", out.Items[len(out.Items)-1].ID.String())
			return true, nil
		}
		g, err := m.withParts(ctx, it, rec)
		if err == nil {
			out.Items = append(out.Items, g.draw())
		}
		return true, err
	})
	return out, err
}

// UpdateGroupSnapshot changes what people say of a group snapshot. Its name is that of its parts, too.
// ifMatch, when not empty, is the ETag that it must still have.
func (m *Manager) UpdateGroupSnapshot(ctx context.Context, id cluster.UUID, r wire.SnapshotUpdate,
	ifMatch string) (snap wire.GroupSnapshot, err error) {
	err = m.decide(ctx, func() error {
		g, err := m.readGroupSnapshot(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		before := g.rec.Name
		if r.Name != nil {
			g.rec.Name = *r.Name
		}
		if r.Description != nil {
			g.rec.Description = *r.Description
		}
		if r.Metadata != nil {
			g.rec.Metadata = r.Metadata
		}
		if err := g.rec.Validate(); err != nil {
			return invalid(err)
		}
		t := store.Txn{If: []store.Cond{{Key: g.at.Key, Rev: g.at.Rev}}, Put: []store.Put{put(g.at.Key, g.rec)}}
		if g.rec.Name != before {
			if err := m.renameParts(ctx, &t, g, before); err != nil {
				return err
			}
		}
		g.at.Rev, err = m.store.Commit(ctx, t)
		snap = g.draw()
		return err
	})
	return snap, err
}

// renameParts adds to a transaction that a group snapshot and its parts have another name than before.
func (m *Manager) renameParts(ctx context.Context, t *store.Txn, g *groupSnapshot, before string) error {
	old := cluster.KeyGroupSnapshotName(g.rec.Group, before)
	next := cluster.KeyGroupSnapshotName(g.rec.Group, g.rec.Name)
	read, err := m.store.Read(ctx, store.Key(next))
	if err != nil {
		return err
	}
	if read.One(0).Rev != 0 {
		return refuse(wire.Conflict, "name", "the group has a snapshot of that name: %s", read.One(0).Value)
	}
	t.If, t.Put = append(t.If, store.Cond{Key: next}), append(t.Put, put(next, g.rec.UUID))
	t.Delete, t.Blind = append(t.Delete, old), append(t.Blind, old) // the name is its alone
	for i := range g.parts {
		was := g.parts[i]
		g.parts[i].Name = g.rec.Name
		t.If = append(t.If, store.Cond{Key: g.items[i].Key, Rev: g.items[i].Rev})
		t.Put = append(t.Put, put(g.items[i].Key, g.parts[i]))
		if err := m.renameSnapshot(ctx, t, &was, &g.parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// DeleteGroupSnapshot deletes a group snapshot, none of whose parts a host may use. Its parts go at once for
// people; the call waits for their volumes to let go, but not for ever.
func (m *Manager) DeleteGroupSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) error {
	var going []store.Item
	err := m.decide(ctx, func() error {
		g, err := m.readGroupSnapshot(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		var txn store.Txn
		if going, err = m.dropGroupSnapshot(&txn, g); err != nil {
			return err
		}
		rev, err := m.store.Commit(ctx, txn)
		for i := range going {
			going[i].Rev = rev
		}
		return err
	})
	if err != nil {
		return err
	}
	end := m.now().Add(settleTimeout)
	for _, it := range going {
		if _, gone, err := m.settled(ctx, it); err != nil || !gone && m.now().After(end) {
			return err
		}
	}
	return nil
}

// dropGroupSnapshot adds to a transaction that a group snapshot is gone and its parts are to go, or refuses.
// It returns the records of the parts that their owners have to let go of.
func (m *Manager) dropGroupSnapshot(txn *store.Txn, g *groupSnapshot) (going []store.Item, err error) {
	name := cluster.KeyGroupSnapshotName(g.rec.Group, g.rec.Name)
	txn.If = append(txn.If, store.Cond{Key: g.at.Key, Rev: g.at.Rev})
	txn.Delete = append(txn.Delete, g.at.Key, name)
	txn.Blind = append(txn.Blind, name) // the name is its alone
	for i, part := range g.parts {
		it, err := dropPart(txn, g.items[i], part)
		if err != nil {
			return nil, err
		}
		if part.Clones == 0 {
			going = append(going, it)
		}
	}
	m.note(txn, wire.Info, "group.snapshot_deleted", about("group", g.rec.Group), g.rec.Project,
		"snapshot %s (%s) of a group deleted", g.rec.Name, g.rec.UUID)
	return going, nil
}
