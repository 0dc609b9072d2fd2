package openstack

import (
	"context"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// API is what repairs take, of the cluster's client. What is not there any more is an error with the code
// not_found; the cluster refuses to delete what hosts may use, volumes that have snapshots or are in a group,
// and groups that have either.
type API interface {
	Volumes
	Groups
}

// Volumes is the part of API that is about volumes and snapshots.
type Volumes interface {
	DeleteVolume(ctx context.Context, id cluster.UUID, ifMatch string) error
	DeleteSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) error
	DeleteExport(ctx context.Context, volume cluster.UUID, host string, opts ...client.Option) error
	DeleteSnapshotExport(ctx context.Context, id cluster.UUID, host string, opts ...client.Option) error
}

// Groups is the part of API that is about groups and their snapshots.
type Groups interface {
	UpdateGroup(ctx context.Context, id cluster.UUID, r wire.GroupUpdate, ifMatch string) (wire.Group, error)
	GetGroup(ctx context.Context, id cluster.UUID) (wire.Group, error)
	DeleteGroup(ctx context.Context, id cluster.UUID, ifMatch string) error
	DeleteGroupSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) error
}

// Deletes says whether repairing it would delete data.
func (d Difference) Deletes() bool { return d.Kind == Leftover }

// Repairable says whether it can be repaired at all.
func (d Difference) Repairable() bool { return d.Kind != Missing && d.Kind != NoAccess }

// Repair ends a difference that is repairable. What is gone meanwhile is fine.
func Repair(ctx context.Context, api API, d Difference) error {
	var err error
	switch {
	case d.Kind == Leftover && d.Resource == volume:
		err = api.DeleteVolume(ctx, d.ID, "")
	case d.Kind == Leftover && d.Resource == snapshot:
		err = api.DeleteSnapshot(ctx, d.ID, "")
	case d.Kind == Leftover && d.Resource == moment:
		err = api.DeleteGroupSnapshot(ctx, d.ID, "")
	case d.Kind == Leftover:
		err = deleteGroup(ctx, api, d.ID)
	case d.Kind == Member:
		_, err = api.UpdateGroup(ctx, d.ID, wire.GroupUpdate{Remove: []cluster.UUID{d.Volume}}, "")
	case d.Kind == NoMember:
		_, err = api.UpdateGroup(ctx, d.ID, wire.GroupUpdate{Add: []cluster.UUID{d.Volume}}, "")
	case d.Kind == Access && d.Resource == volume:
		err = api.DeleteExport(ctx, d.ID, d.Host)
	case d.Kind == Access:
		err = api.DeleteSnapshotExport(ctx, d.ID, d.Host)
	}
	if err != nil && !client.Is(err, wire.NotFound) {
		return fmt.Errorf("repair %s %s: %w", d.Resource, d.ID, err)
	}
	return nil
}

// deleteGroup deletes a group; its volumes stay.
func deleteGroup(ctx context.Context, api Groups, id cluster.UUID) error {
	g, err := api.GetGroup(ctx, id)
	if err == nil && len(g.Volumes) > 0 {
		g, err = api.UpdateGroup(ctx, id, wire.GroupUpdate{Remove: g.Volumes}, g.ETag)
	}
	if err != nil {
		return err
	}
	return api.DeleteGroup(ctx, id, g.ETag)
}
