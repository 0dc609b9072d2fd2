package manager

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// groupRecords is how many records a new group has, besides its volumes: itself, its name, its project.
const groupRecords = 3

// missed reports that what was asked for does not exist for the caller.
func missed(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Code == wire.NotFound
}

// cloneParts adds to the transaction that makes a group a clone of each volume that a group snapshot is of,
// and returns them. They are called after the group and the volume.
func (m *Manager) cloneParts(ctx context.Context, txn *store.Txn, group *cluster.Group,
	id cluster.UUID) (clones []cluster.UUID, err error) {
	from, err := m.readGroupSnapshot(ctx, id, "")
	if missed(err) {
		return nil, refuse(wire.InvalidField, "source.snapshot", "group snapshot %s does not exist", id)
	}
	if err != nil {
		return nil, err
	}
	txn.If = append(txn.If, store.Cond{Key: from.at.Key, Rev: from.at.Rev})
	var count, project store.Item // of volumes, and who has them; as read first
	var last uint64
	bytes := int64(0)
	asked := make(map[string]cluster.Provisioned) // of each pool
	for i, part := range from.parts {
		rec, source, err := m.cloneOf(ctx, group, part.UUID)
		if err != nil {
			return nil, err
		}
		read, err := m.readForCreate(ctx, &rec)
		if err != nil {
			return nil, err
		}
		if read.One(0).Rev != 0 {
			return nil, refuse(wire.Conflict, "id",
				"volume %s is a clone that was made for a group of this id before",
				rec.UUID)
		}
		if err := asProvisioned(read, &rec, ""); err != nil {
			return nil, err
		}
		if err := asCompressed(read, &rec, ""); err != nil {
			return nil, err
		}
		if i == 0 {
			count, project = read.One(3), read.One(5)
			if last, err = counter(count); err != nil {
				return nil, err
			}
		}
		if _, err := m.addVolume(txn, read, &rec, source, last); err != nil {
			return nil, err
		}
		last = rec.Key.Serial()
		asked[rec.Pool] = asked[rec.Pool].Plus(rec.Provisioned())
		bytes += int64(rec.Size)
		clones = append(clones, rec.UUID)
	}
	countVolumes(txn, count, last)
	for _, pool := range slices.Sorted(maps.Keys(asked)) {
		if err := m.provisionPool(ctx, txn, pool, cluster.Provisioned{}, asked[pool]); err != nil {
			return nil, err
		}
	}
	if len(txn.If)+groupRecords > store.MaxOps {
		return nil, refuse(wire.NotSupported, "source.snapshot",
			"its %d volumes are in %d pools; clone fewer of them "+
				"at once", len(clones), len(asked))
	}
	return clones, charge(txn, project, group.Project, int64(len(clones)), bytes)
}

// cloneOf is the record of a group's clone of a snapshot, and what it is made from.
func (m *Manager) cloneOf(ctx context.Context, group *cluster.Group,
	snapshot cluster.UUID) (rec cluster.Volume,
	source *origin, err error) {
	if source, err = m.readOrigin(ctx, snapshot, false); err != nil {
		return rec, nil, err
	}
	rec, err = source.clone(wire.VolumeCreate{ID: derived("clone in group "+group.UUID.String(), snapshot),
		Name: group.Name + "-" + source.rec.Name, Project: group.Project})
	rec.Group = group.UUID
	return rec, source, err
}
