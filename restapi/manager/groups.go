package manager

import (
	"context"
	"reflect"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// A group is volumes of which snapshots are taken at one moment (group_snapshots.go), which are reverted
// (group_reverts.go) and cloned (group_clones.go) together. It names its volumes, and each of them names it;
// both change in one transaction.

// CreateGroup makes a group; created is false when this request made it before. The identity is r.ID, else it
// is drawn.
func (m *Manager) CreateGroup(ctx context.Context, r wire.GroupCreate) (g wire.Group, created bool,
	err error) {
	if r.Project, err = ownProject(ctx, r.Project); err != nil {
		return g, false, err
	}
	if r.ID.IsZero() {
		if r.ID, err = m.newUUID(ctx); err != nil {
			return g, false, err
		}
	}
	rec := cluster.Group{UUID: r.ID, Name: r.Name, Project: r.Project, Volumes: r.Volumes,
		Description: r.Description, Metadata: r.Metadata, Request: digest(r)}
	if err := rec.Validate(); err != nil {
		return g, false, invalid(err, "uuid", "id")
	}
	if r.Source != nil && len(r.Volumes) > 0 {
		return g, false, refuse(wire.InvalidField, "volumes", "the group begins with the clones of its source")
	}
	err = m.decide(ctx, func() error {
		read, err := m.store.Read(ctx, store.Key(cluster.KeyGroup(r.ID)),
			store.Key(cluster.KeyGroupName(r.Name, r.Project)))
		if err != nil {
			return err
		}
		if it := read.One(0); it.Rev != 0 {
			created = false
			g, err = sameGroup(ctx, it, rec.Request)
			return err
		}
		created = true
		if name := read.One(1); name.Rev != 0 {
			return refuse(wire.Conflict, "name", "there is a group of that name: %s", name.Value)
		}
		g, err = m.makeGroup(ctx, rec, r.Source)
		return err
	})
	return g, created, err
}

// sameGroup answers a create whose identity exists.
func sameGroup(ctx context.Context, it store.Item, request string) (wire.Group, error) {
	rec, err := decode[cluster.Group](it)
	if err == nil && (rec.Request != request || !sees(ctx, rec.Project)) {
		err = refuse(wire.Conflict, "id", "group %s was created by a different request", rec.UUID)
	}
	return drawGroup(rec, it.Rev), err
}

// makeGroup commits a new group whose name is free, with its volumes or with clones of a group snapshot's.
func (m *Manager) makeGroup(ctx context.Context, rec cluster.Group, from *wire.GroupSource) (wire.Group,
	error) {
	var txn store.Txn
	var err error
	began := ""
	if from != nil {
		began = " from group snapshot " + from.Snapshot.String()
		rec.Volumes, err = m.cloneParts(ctx, &txn, &rec, from.Snapshot)
	} else {
		err = m.regroup(ctx, &txn, &rec, rec.Volumes, "volumes", rec.UUID)
	}
	if err != nil {
		return wire.Group{}, err
	}
	rec.Created = m.stamp()
	key, name := cluster.KeyGroup(rec.UUID), cluster.KeyGroupName(rec.Name, rec.Project)
	txn.If = append(txn.If, store.Cond{Key: key}, store.Cond{Key: name})
	txn.Put = append(txn.Put, put(key, rec), put(name, rec.UUID))
	m.note(&txn, wire.Info, "group.created", about("group", rec.UUID), rec.Project,
		"group %s of %d volumes created%s", rec.Name, len(rec.Volumes), began)
	rev, err := m.store.Commit(ctx, txn)
	return drawGroup(rec, rev), err
}

// regroup adds to a transaction that volumes are in a group, or, if that is none, in the group of rec no
// more. What is so already is left alone.
func (m *Manager) regroup(ctx context.Context, txn *store.Txn, rec *cluster.Group, volumes []cluster.UUID,
	field string, to cluster.UUID) error {
	if len(volumes) == 0 {
		return nil
	}
	queries := make([]store.Query, len(volumes))
	for i, id := range volumes {
		queries[i] = store.Key(cluster.KeyVolume(id))
	}
	read, err := m.store.Read(ctx, queries...)
	if err != nil {
		return err
	}
	for i, id := range volumes {
		it, missing := read.One(i), refuse(wire.InvalidField, field, "volume %s does not exist", id)
		if it.Rev == 0 {
			return missing
		}
		vol, err := decode[cluster.Volume](it)
		switch {
		case err != nil:
			return err
		case !sees(ctx, vol.Project) || vol.Hidden:
			return missing
		case vol.Project != rec.Project:
			return refuse(wire.InvalidField, field, "volume %s is in project %q, the group is in %q", id,
				vol.Project,
				rec.Project)
		case vol.Group == to:
			continue
		case !to.IsZero() && !vol.Group.IsZero():
			return refuse(wire.VolumeInGroup, field, "volume %s is in group %s", id, vol.Group)
		}
		vol.Group = to
		txn.If = append(txn.If, store.Cond{Key: it.Key, Rev: it.Rev})
		txn.Put = append(txn.Put, put(it.Key, vol))
	}
	return nil
}

func drawGroup(rec cluster.Group, rev int64) wire.Group {
	g := wire.Group{Versioned: wire.Versioned{ETag: etag(rev)}, ID: rec.UUID, Name: rec.Name,
		Project: rec.Project, Volumes: append([]cluster.UUID{}, rec.Volumes...), Description: rec.Description,
		Metadata: rec.Metadata, Created: rec.Created}
	if r := rec.Revert; r != nil {
		g.Revert = &wire.Revert{Snapshot: r.Snapshot, Asked: r.Asked}
	}
	if g.Metadata == nil {
		g.Metadata = cluster.Metadata{}
	}
	return g
}

// Group shows one group.
func (m *Manager) Group(ctx context.Context, id cluster.UUID) (wire.Group, error) {
	it, rec, err := m.readGroup(ctx, id, "")
	return drawGroup(rec, it.Rev), err
}

// readGroup reads a group's record; ifMatch, when not empty, is what its ETag must be.
func (m *Manager) readGroup(ctx context.Context, id cluster.UUID, ifMatch string) (store.Item, cluster.Group,
	error) {
	read, err := m.store.Read(ctx, store.Key(cluster.KeyGroup(id)))
	if err != nil {
		return store.Item{}, cluster.Group{}, err
	}
	it := read.One(0)
	if it.Rev == 0 {
		return it, cluster.Group{}, notFound("group", id)
	}
	rec, err := decode[cluster.Group](it)
	switch {
	case err != nil:
	case !sees(ctx, rec.Project):
		return store.Item{}, cluster.Group{}, notFound("group", id)
	default:
		err = matches(ifMatch, it.Rev)
	}
	return it, rec, err
}

// Groups lists groups by id; name, when not empty, is the only one wanted.
func (m *Manager) Groups(ctx context.Context, p Page, name string) (wire.Page[wire.Group], error) {
	out := wire.Page[wire.Group]{Items: []wire.Group{}}
	err := m.pageOf(ctx, p, "groups", cluster.PrefixGroups, func(it store.Item, full bool) (bool, error) {
		rec, err := decode[cluster.Group](it)
		if err != nil || !sees(ctx, rec.Project) || name != "" && rec.Name != name {
			return false, err
		}
		if full {
			out.Next = cursorAfter("groups", out.Items[len(out.Items)-1].ID.String())
			return true, nil
		}
		out.Items = append(out.Items, drawGroup(rec, it.Rev))
		return true, nil
	})
	return out, err
}

// pageOf reads the records below a prefix, by the id that ends their key, until a page is full and one more
// is found. take tells whether a record belongs to the list.
func (m *Manager) pageOf(ctx context.Context, p Page, kind, prefix string,
	take func(it store.Item, full bool) (bool, error)) error {
	after, limit, err := p.after(kind)
	if err != nil {
		return err
	}
	q := store.Query{Prefix: prefix, Limit: limit + 1}
	if after != "" {
		q.After = prefix + after
	}
	for taken, more := 0, true; more; {
		read, err := m.store.Read(ctx, q)
		if err != nil {
			return err
		}
		more = read.Results[0].More
		for _, it := range read.Results[0].Items {
			q.After = it.Key
			belongs, err := take(it, taken == limit)
			if err != nil || belongs && taken == limit {
				return err
			}
			if belongs {
				taken++
			}
		}
	}
	return nil
}

// UpdateGroup changes what r names of a group, all of it or nothing. What is so already is left alone, so a
// repetition changes nothing. ifMatch, when not empty, is the ETag that it must still have.
func (m *Manager) UpdateGroup(ctx context.Context, id cluster.UUID, r wire.GroupUpdate,
	ifMatch string) (g wire.Group, err error) {
	err = m.decide(ctx, func() error {
		it, was, err := m.readGroup(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		is, err := changedGroup(was, r)
		if err != nil {
			return err
		}
		if reflect.DeepEqual(was, is) {
			g = drawGroup(was, it.Rev)
			return nil
		}
		txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}}, Put: []store.Put{put(it.Key, is)}}
		fresh := slices.DeleteFunc(slices.Clone(is.Volumes), func(u cluster.UUID) bool {
			return slices.Contains(was.Volumes, u)
		})
		left := slices.DeleteFunc(slices.Clone(was.Volumes), func(u cluster.UUID) bool {
			return slices.Contains(is.Volumes, u)
		})
		if err := m.regroup(ctx, &txn, &is, fresh, "add", id); err != nil {
			return err
		}
		if err := m.regroup(ctx, &txn, &is, left, "remove", cluster.UUID{}); err != nil {
			return err
		}
		if was.Name != is.Name {
			if err := m.renameGroup(ctx, &txn, &was, &is); err != nil {
				return err
			}
		}
		m.note(&txn, wire.Info, "group.updated", about("group", id), is.Project,
			"group %s (%s) changed: %d volumes, %d added, %d removed", is.Name, was.Name, len(is.Volumes),
			len(fresh),
			len(left))
		rev, err := m.store.Commit(ctx, txn)
		g = drawGroup(is, rev)
		return err
	})
	return g, err
}

// changedGroup is a group after a change, if that is possible.
func changedGroup(g cluster.Group, r wire.GroupUpdate) (cluster.Group, error) {
	if r.Name != nil {
		g.Name = *r.Name
	}
	if r.Description != nil {
		g.Description = *r.Description
	}
	g.Metadata = patched(g.Metadata, r.Metadata)
	volumes := slices.Clone(g.Volumes)
	for _, u := range r.Add {
		if slices.Contains(r.Remove, u) {
			return g, refuse(wire.InvalidField, "remove", "volume %s is to be added, too", u)
		}
		if !slices.Contains(volumes, u) {
			volumes = append(volumes, u)
		}
	}
	g.Volumes = slices.DeleteFunc(volumes, func(u cluster.UUID) bool { return slices.Contains(r.Remove, u) })
	if len(g.Volumes) == 0 {
		g.Volumes = nil
	}
	return g, invalid(g.Validate(), "volumes", "add")
}

// renameGroup adds to a transaction that the name of a group moves.
func (m *Manager) renameGroup(ctx context.Context, txn *store.Txn, was, is *cluster.Group) error {
	old, next := cluster.KeyGroupName(was.Name, was.Project), cluster.KeyGroupName(is.Name, is.Project)
	read, err := m.store.Read(ctx, store.Key(next))
	if err != nil {
		return err
	}
	if read.One(0).Rev != 0 {
		return refuse(wire.Conflict, "name", "there is a group of that name: %s", read.One(0).Value)
	}
	txn.If, txn.Put = append(txn.If, store.Cond{Key: next}), append(txn.Put, put(next, is.UUID))
	txn.Delete, txn.Blind = append(txn.Delete, old), append(txn.Blind, old) // the name is the group's alone
	return nil
}

// DeleteGroup deletes a group that has neither volumes nor snapshots.
func (m *Manager) DeleteGroup(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return m.decide(ctx, func() error {
		it, rec, err := m.readGroup(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		snapshots := cluster.PrefixGroupSnapshotsOf(id)
		read, err := m.store.Read(ctx, store.Query{Prefix: snapshots, Limit: 1})
		if err != nil {
			return err
		}
		if len(rec.Volumes) > 0 || len(read.Results[0].Items) > 0 {
			return refuse(wire.GroupNotEmpty, "",
				"group %s has %d volumes, or group snapshots; take the volumes out, "+
					"and delete the group snapshots", id, len(rec.Volumes))
		}
		name := cluster.KeyGroupName(rec.Name, rec.Project)
		txn := store.Txn{If: []store.Cond{{Key: it.Key, Rev: it.Rev}, {Key: snapshots}},
			Delete: []string{it.Key, name}, Blind: []string{name}} // the name is the group's alone
		if err := m.dropSchedules(ctx, &txn, cluster.KeySchedulesOfGroup(id)); err != nil {
			return err
		}
		m.note(&txn, wire.Info, "group.deleted", about("group", id), rec.Project, "group %s deleted", rec.Name)
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}
