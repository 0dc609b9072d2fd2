package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// ListProjects lists one page of the projects that have volumes or a quota.
func (c *Client) ListProjects(ctx context.Context, opts ListOpts) (wire.Page[wire.Project], error) {
	return get[wire.Page[wire.Project]](ctx, c, "/v1/projects", opts.query())
}

// AllProjects lists all projects.
func (c *Client) AllProjects(ctx context.Context) ([]wire.Project, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Project], error) { return c.ListProjects(ctx, o) })
}

// GetProject shows the quota of a project and what it uses.
func (c *Client) GetProject(ctx context.Context, name string) (wire.Project, error) {
	return get[wire.Project](ctx, c, "/v1/projects/"+segment(name), nil)
}

// SetQuota replaces the quota of a project.
func (c *Client) SetQuota(ctx context.Context, name string, q wire.Quota, opts ...Option) (
	out wire.Project, err error,
) {
	return out, c.do(ctx, call{method: http.MethodPut, path: "/v1/projects/" + segment(name), body: q,
		repeatable: true}, &out, opts...)
}
