package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func snapshotPath(id cluster.UUID) string { return "/v1/snapshots/" + id.String() }

func (c *Client) snapshot(ctx context.Context, r call, opts ...Option) (out wire.Snapshot, err error) {
	r.repeatable = true
	return out, c.do(ctx, r, &out, opts...)
}

// CreateSnapshot takes a snapshot. When its volume has no owner that can take it now, its state is
// "creating". Without an id in opts one is drawn here, so that the call can be repeated at another endpoint
// and still takes one snapshot.
func (c *Client) CreateSnapshot(ctx context.Context, opts wire.SnapshotCreate) (wire.Snapshot, error) {
	if opts.ID.IsZero() {
		opts.ID = newUUID()
	}
	return c.snapshot(ctx, call{method: http.MethodPost, path: "/v1/snapshots", body: opts})
}

// SnapshotListOpts narrows a list of the snapshots of all volumes.
type SnapshotListOpts struct {
	ListOpts
	Schedule cluster.UUID // that has made them; zero: any, and people
	Use
}

// ListSnapshots lists one page of the snapshots of all volumes.
func (c *Client) ListSnapshots(ctx context.Context, opts SnapshotListOpts) (wire.Page[wire.Snapshot], error) {
	return get[wire.Page[wire.Snapshot]](ctx, c, "/v1/snapshots",
		opts.query(append(opts.pairs(), "schedule", given(opts.Schedule))...))
}

// FindSnapshots lists all snapshots that opts do not leave out; the page in opts is not looked at.
func (c *Client) FindSnapshots(ctx context.Context, opts SnapshotListOpts) ([]wire.Snapshot, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Snapshot], error) {
		opts.ListOpts = o
		return c.ListSnapshots(ctx, opts)
	})
}

// AllSnapshots lists the snapshots of all volumes.
func (c *Client) AllSnapshots(ctx context.Context) ([]wire.Snapshot, error) {
	return c.FindSnapshots(ctx, SnapshotListOpts{})
}

// AllSnapshotsOf lists the snapshots of a volume, by name; name, when not empty, is the only one wanted.
func (c *Client) AllSnapshotsOf(ctx context.Context, volume cluster.UUID, name string) ([]wire.Snapshot,
	error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Snapshot], error) {
		return get[wire.Page[wire.Snapshot]](ctx, c, "/v1/volumes/"+volume.String()+"/snapshots",
			o.query("name", name))
	})
}

// GetSnapshot shows a snapshot.
func (c *Client) GetSnapshot(ctx context.Context, id cluster.UUID) (wire.Snapshot, error) {
	return c.snapshot(ctx, call{method: http.MethodGet, path: snapshotPath(id)})
}

// UpdateSnapshot changes what people say of a snapshot. ifMatch, when not empty, is the ETag it must still
// have.
func (c *Client) UpdateSnapshot(ctx context.Context, id cluster.UUID, r wire.SnapshotUpdate,
	ifMatch string) (wire.Snapshot, error) {
	return c.snapshot(ctx, call{method: http.MethodPatch, path: snapshotPath(id), body: r},
		IfMatch(ifMatch))
}

// DeleteSnapshot deletes a snapshot. When its volume has no owner that can let go of it now, it is "deleting"
// for a while. ifMatch, when not empty, is the ETag it must still have.
func (c *Client) DeleteSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, snapshotPath(id), IfMatch(ifMatch))
}

// PutSnapshotExport allows a host, named by its NQN, to read a snapshot, and tells how it reaches it.
func (c *Client) PutSnapshotExport(ctx context.Context, id cluster.UUID, host string,
	opts ...Option) (wire.Export, error) {
	return c.putExport(ctx, snapshotPath(id), host, opts...)
}

// GetSnapshotExport tells how a host that is allowed reaches a snapshot.
func (c *Client) GetSnapshotExport(ctx context.Context, id cluster.UUID, host string) (wire.Export, error) {
	return get[wire.Export](ctx, c, snapshotPath(id)+"/exports/"+segment(host), nil)
}

// ListSnapshotExports lists the hosts that may read a snapshot.
func (c *Client) ListSnapshotExports(ctx context.Context, id cluster.UUID) ([]wire.Export, error) {
	return c.allExports(ctx, snapshotPath(id)+"/exports")
}

// DeleteSnapshotExport takes a snapshot from a host.
func (c *Client) DeleteSnapshotExport(ctx context.Context, id cluster.UUID, host string,
	opts ...Option) error {
	return c.delete(ctx, snapshotPath(id)+"/exports/"+segment(host), opts...)
}

// DeleteSnapshotExports takes a snapshot from all hosts.
func (c *Client) DeleteSnapshotExports(ctx context.Context, id cluster.UUID, opts ...Option) error {
	return c.delete(ctx, snapshotPath(id)+"/exports", opts...)
}
