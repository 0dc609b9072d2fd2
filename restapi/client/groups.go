package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func groupPath(id cluster.UUID) string { return "/v1/groups/" + id.String() }

func groupSnapshotPath(id cluster.UUID) string { return "/v1/group-snapshots/" + id.String() }

func (c *Client) group(ctx context.Context, r call, opts ...Option) (out wire.Group, err error) {
	r.repeatable = true
	return out, c.do(ctx, r, &out, opts...)
}

// CreateGroup makes a group of volumes, or of clones of what a group snapshot shows. Without an id in opts
// one is drawn here, so that the call can be repeated at another endpoint and still makes one group.
func (c *Client) CreateGroup(ctx context.Context, opts wire.GroupCreate) (wire.Group, error) {
	if opts.ID.IsZero() {
		opts.ID = newUUID()
	}
	return c.group(ctx, call{method: http.MethodPost, path: "/v1/groups", body: opts})
}

// AllGroups lists the groups; name, when not empty, is the only one wanted.
func (c *Client) AllGroups(ctx context.Context, name string) ([]wire.Group, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Group], error) {
		return get[wire.Page[wire.Group]](ctx, c, "/v1/groups", o.query("name", name))
	})
}

// GetGroup shows a group.
func (c *Client) GetGroup(ctx context.Context, id cluster.UUID) (wire.Group, error) {
	return c.group(ctx, call{method: http.MethodGet, path: groupPath(id)})
}

// UpdateGroup changes what r names of a group. ifMatch, when not empty, is the ETag it must still have.
func (c *Client) UpdateGroup(ctx context.Context, id cluster.UUID, r wire.GroupUpdate,
	ifMatch string) (wire.Group, error) {
	return c.group(ctx, call{method: http.MethodPatch, path: groupPath(id), body: r}, IfMatch(ifMatch))
}

// DeleteGroup deletes a group without volumes and snapshots. ifMatch, when not empty, is the ETag it must
// still have.
func (c *Client) DeleteGroup(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, groupPath(id), IfMatch(ifMatch))
}

// RevertGroup makes the volumes of a group snapshot what it shows. When one of them has no owner that can do
// it now, that is done later.
func (c *Client) RevertGroup(ctx context.Context, id cluster.UUID, r wire.GroupRevert,
	opts ...Option) (wire.Group, error) {
	opts = append([]Option{IdempotencyKey(newUUID().String())}, opts...)
	return c.group(ctx, call{method: http.MethodPost, path: groupPath(id) + "/revert", body: r}, opts...)
}

func (c *Client) groupSnapshot(ctx context.Context, r call) (out wire.GroupSnapshot, err error) {
	r.repeatable = true
	return out, c.do(ctx, r, &out)
}

// CreateGroupSnapshot takes a snapshot of all volumes of a group at one moment. When an owner cannot take it
// now, its state is "creating". The id is as for CreateGroup.
func (c *Client) CreateGroupSnapshot(ctx context.Context,
	opts wire.GroupSnapshotCreate) (wire.GroupSnapshot, error) {
	if opts.ID.IsZero() {
		opts.ID = newUUID()
	}
	return c.groupSnapshot(ctx, call{method: http.MethodPost, path: "/v1/group-snapshots", body: opts})
}

// AllGroupSnapshots lists the group snapshots; those of one group, if that is not zero.
func (c *Client) AllGroupSnapshots(ctx context.Context, group cluster.UUID) ([]wire.GroupSnapshot, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.GroupSnapshot], error) {
		return get[wire.Page[wire.GroupSnapshot]](ctx, c, "/v1/group-snapshots", o.query("group", given(group)))
	})
}

// GetGroupSnapshot shows a group snapshot.
func (c *Client) GetGroupSnapshot(ctx context.Context, id cluster.UUID) (wire.GroupSnapshot, error) {
	return c.groupSnapshot(ctx, call{method: http.MethodGet, path: groupSnapshotPath(id)})
}

// UpdateGroupSnapshot changes what people say of a group snapshot. ifMatch, when not empty, is the ETag it
// must still have.
func (c *Client) UpdateGroupSnapshot(ctx context.Context, id cluster.UUID, r wire.SnapshotUpdate,
	ifMatch string) (out wire.GroupSnapshot, err error) {
	call := call{method: http.MethodPatch, path: groupSnapshotPath(id), body: r, repeatable: true}
	return out, c.do(ctx, call, &out, IfMatch(ifMatch))
}

// DeleteGroupSnapshot deletes a group snapshot with all its snapshots. ifMatch, when not empty, is the ETag
// it must still have.
func (c *Client) DeleteGroupSnapshot(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, groupSnapshotPath(id), IfMatch(ifMatch))
}
