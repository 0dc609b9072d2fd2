package manager

import (
	"context"
	"maps"
	"reflect"
	"strconv"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// UpdateVolume changes what r names of a volume: all of it, or nothing. What is so already is left alone, so
// a repetition changes nothing. A volume that is to shrink is returned when that is decided, but not for ever
// is it waited for that. ifMatch, when not empty, is the ETag that it must still have.
func (m *Manager) UpdateVolume(ctx context.Context, id cluster.UUID, r wire.VolumeUpdate,
	ifMatch string) (wire.Volume, error) {
	if r.Size != nil {
		if err := cluster.ValidateSize("size_bytes", *r.Size); err != nil {
			return wire.Volume{}, invalid(err)
		}
	}
	if err := validProvisioning(r.Provisioning); err != nil {
		return wire.Volume{}, err
	}
	var vol wire.Volume
	var cut *cluster.Cut
	err := m.decide(ctx, func() error {
		it, was, err := m.readVolume(ctx, id, ifMatch)
		if err != nil {
			return err
		}
		is, err := changed(was, r)
		if err == nil && r.Size != nil {
			is, err = m.resized(ctx, it, is, &r)
		}
		if err != nil {
			return err
		}
		cut = is.Cut
		if !reflect.DeepEqual(was, is) {
			if it, err = m.commitVolume(ctx, it, was, is); err != nil {
				return err
			}
		}
		vol, err = m.drawVolume(ctx, it)
		return err
	})
	if err == nil && r.Size != nil && cut != nil && cut.From == *r.Size {
		return m.settledCut(ctx, id, cut.ID)
	}
	return vol, err
}

// resized is a volume with another size, or with the cut of a shrink.
func (m *Manager) resized(ctx context.Context, it store.Item, v cluster.Volume, r *wire.VolumeUpdate) (
	cluster.Volume, error,
) {
	switch {
	case *r.Size == v.Size, v.Cut != nil && *r.Size == v.Cut.From:
		return v, nil
	case v.Cut != nil:
		return v, m.refuseShrinking(ctx, it, &v)
	case *r.Size < v.Size:
		return m.cutOff(ctx, v, r)
	}
	v.Size = *r.Size
	return v, invalid(v.Validate(), "size", "size_bytes")
}

// changed is a volume after a change, if that is possible, but for its size.
func changed(v cluster.Volume, r wire.VolumeUpdate) (cluster.Volume, error) {
	if r.Name != nil {
		v.Name = *r.Name
	}
	if r.Description != nil {
		v.Description = *r.Description
	}
	if r.Provisioning != "" {
		v.Thick = r.Provisioning == wire.Thick
	}
	if r.ReadOnly != nil {
		v.ReadOnly = *r.ReadOnly
	}
	v.Metadata = patched(v.Metadata, r.Metadata)
	return v, invalid(v.Validate(), "size", "size_bytes")
}

// commitVolume writes what a volume is now; its name moves and its project is charged with it.
func (m *Manager) commitVolume(ctx context.Context, it store.Item, was, is cluster.Volume,
	also ...store.Cond) (store.Item, error) {
	nameKey := cluster.KeyVolumeName(is.Pool, is.Name, is.Project)
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyProject(is.Project)), store.Key(nameKey))
	if err != nil {
		return it, err
	}
	p := put(it.Key, is)
	txn := store.Txn{If: append(also, store.Cond{Key: it.Key, Rev: it.Rev}), Put: []store.Put{p}}
	m.alsoCut(&txn, &was, &is)
	if was.Name != is.Name {
		if snap.One(1).Rev != 0 {
			return it, refuse(wire.Conflict, "name", "pool %q has a volume of that name: %s", is.Pool,
				snap.One(1).Value)
		}
		old := cluster.KeyVolumeName(was.Pool, was.Name, was.Project)
		txn.If = append(txn.If, store.Cond{Key: nameKey})
		txn.Put = append(txn.Put, put(nameKey, is.UUID))
		txn.Delete, txn.Blind = append(txn.Delete, old), append(txn.Blind, old) // belongs to the volume alone
	}
	if more := int64(is.Size) - int64(was.Size); more != 0 {
		if err := charge(&txn, snap.One(0), is.Project, 0, more); err != nil {
			return it, err
		}
		m.note(&txn, wire.Info, "volume.resized", aboutVolume(&is), is.Project, "volume %s has %d bytes now",
			is.Name, is.Size)
	}
	if err := m.provision(ctx, &txn, &was, &is); err != nil {
		return it, err
	}
	if what := described(&was, &is); len(what) > 0 {
		m.note(&txn, wire.Info, "volume.updated", aboutVolume(&is), is.Project, "volume %s (%s) changed: %s",
			is.Name, was.Name, strings.Join(what, ", "))
	}
	it.Value = p.Value
	it.Rev, err = m.store.Commit(ctx, txn)
	return it, err
}

// described lists what changed of how a volume is called, described and used.
func described(was, is *cluster.Volume) (what []string) {
	if was.Name != is.Name {
		what = append(what, "name")
	}
	if was.Description != is.Description {
		what = append(what, "description")
	}
	if !maps.Equal(was.Metadata, is.Metadata) {
		what = append(what, "metadata")
	}
	if was.ReadOnly != is.ReadOnly {
		what = append(what, "read-only: "+strconv.FormatBool(is.ReadOnly))
	}
	if was.Thick != is.Thick {
		what = append(what, "provisioning: "+provisioning(is.Thick))
	}
	return what
}

// patched is pairs after a merge patch: those that it names are set, or removed where it says nil.
func patched(pairs cluster.Metadata, patch map[string]*string) cluster.Metadata {
	if len(patch) == 0 {
		return pairs
	}
	out := maps.Clone(pairs)
	if out == nil {
		out = make(cluster.Metadata)
	}
	for key, value := range patch {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = *value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
