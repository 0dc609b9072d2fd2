package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// ScheduleListOpts narrows a list of schedules.
type ScheduleListOpts struct {
	ListOpts
	Name   string
	Volume cluster.UUID // zero: any
	Group  cluster.UUID // zero: any
}

func schedulePath(id cluster.UUID) string { return "/v1/schedules/" + id.String() }

func (c *Client) schedule(ctx context.Context, r call, opts ...Option) (out wire.Schedule, err error) {
	r.repeatable = true
	return out, c.do(ctx, r, &out, opts...)
}

// CreateSchedule has snapshots of a volume or group taken and removed again. Without an id in opts one is
// drawn here, so that the call can be repeated at another endpoint and still makes one schedule.
func (c *Client) CreateSchedule(ctx context.Context, opts wire.ScheduleCreate) (wire.Schedule, error) {
	if opts.ID.IsZero() {
		opts.ID = newUUID()
	}
	return c.schedule(ctx, call{method: http.MethodPost, path: "/v1/schedules", body: opts})
}

// ListSchedules lists one page of schedules.
func (c *Client) ListSchedules(ctx context.Context, opts ScheduleListOpts) (wire.Page[wire.Schedule], error) {
	return get[wire.Page[wire.Schedule]](ctx, c, "/v1/schedules", opts.query("name", opts.Name,
		"volume", given(opts.Volume), "group", given(opts.Group)))
}

// FindSchedules lists all schedules that opts do not leave out; the page in opts is not looked at.
func (c *Client) FindSchedules(ctx context.Context, opts ScheduleListOpts) ([]wire.Schedule, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Schedule], error) {
		opts.ListOpts = o
		return c.ListSchedules(ctx, opts)
	})
}

// GetSchedule shows a schedule.
func (c *Client) GetSchedule(ctx context.Context, id cluster.UUID) (wire.Schedule, error) {
	return c.schedule(ctx, call{method: http.MethodGet, path: schedulePath(id)})
}

// UpdateSchedule changes what r names of a schedule. ifMatch, when not empty, is the ETag it must still have.
func (c *Client) UpdateSchedule(ctx context.Context, id cluster.UUID, r wire.ScheduleUpdate,
	ifMatch string) (wire.Schedule, error) {
	return c.schedule(ctx, call{method: http.MethodPatch, path: schedulePath(id), body: r}, IfMatch(ifMatch))
}

// DeleteSchedule deletes a schedule; the snapshots that it made stay. ifMatch, when not empty, is the ETag it
// must still have.
func (c *Client) DeleteSchedule(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, schedulePath(id), IfMatch(ifMatch))
}
