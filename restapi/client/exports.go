package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func exportsPath(volume cluster.UUID) string { return "/v1/volumes/" + volume.String() + "/exports" }

// PutExport allows a host, named by its NQN, to use a volume, and tells how it reaches it.
func (c *Client) PutExport(ctx context.Context, volume cluster.UUID, host string,
	opts ...Option) (wire.Export, error) {
	return c.putExport(ctx, "/v1/volumes/"+volume.String(), host, opts...)
}

func (c *Client) putExport(ctx context.Context, of, host string,
	opts ...Option) (out wire.Export, err error) {
	return out, c.do(ctx, call{method: http.MethodPut, path: of + "/exports/" + segment(host), repeatable: true},
		&out, opts...)
}

// GetExport tells how a host that is allowed reaches a volume.
func (c *Client) GetExport(ctx context.Context, volume cluster.UUID, host string) (wire.Export, error) {
	return get[wire.Export](ctx, c, exportsPath(volume)+"/"+segment(host), nil)
}

// ListExports lists all hosts that may use a volume.
func (c *Client) ListExports(ctx context.Context, volume cluster.UUID) ([]wire.Export, error) {
	return c.allExports(ctx, exportsPath(volume))
}

func (c *Client) allExports(ctx context.Context, path string) ([]wire.Export, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Export], error) {
		return get[wire.Page[wire.Export]](ctx, c, path, o.query())
	})
}

// DeleteExport takes a volume from a host.
func (c *Client) DeleteExport(ctx context.Context, volume cluster.UUID, host string, opts ...Option) error {
	return c.delete(ctx, exportsPath(volume)+"/"+segment(host), opts...)
}

// DeleteExports takes a volume from all hosts.
func (c *Client) DeleteExports(ctx context.Context, volume cluster.UUID, opts ...Option) error {
	return c.delete(ctx, exportsPath(volume), opts...)
}
