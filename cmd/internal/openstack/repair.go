package openstack

import (
	"context"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// API is what repairs take, of the cluster's client. What is not there any more is an error with the code
// not_found; the cluster refuses to delete what hosts may use and volumes that have snapshots.
type API interface {
	DeleteVolume(ctx context.Context, id cluster.UUID, ifMatch string) error
	DeleteSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) error
	DeleteExport(ctx context.Context, volume cluster.UUID, host string, opts ...client.Option) error
	DeleteSnapshotExport(ctx context.Context, id cluster.UUID, host string, opts ...client.Option) error
}

// Deletes says whether repairing it would delete data.
func (d Difference) Deletes() bool { return d.Kind == Leftover }

// Repairable says whether it can be repaired at all.
func (d Difference) Repairable() bool { return d.Kind == Leftover || d.Kind == Access }

// Repair ends a difference that is repairable. What is gone meanwhile is fine.
func Repair(ctx context.Context, api API, d Difference) error {
	var err error
	switch {
	case d.Kind == Leftover && d.Resource == volume:
		err = api.DeleteVolume(ctx, d.ID, "")
	case d.Kind == Leftover:
		err = api.DeleteSnapshot(ctx, d.ID, "")
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
