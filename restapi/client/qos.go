package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// SetPoolQoS replaces what bounds the volumes of a pool.
func (c *Client) SetPoolQoS(ctx context.Context, name string, q wire.PoolQoS, opts ...Option) (
	out wire.Pool, err error,
) {
	return out, c.do(ctx, call{method: http.MethodPut, path: "/v1/pools/" + segment(name) + "/qos", body: q,
		repeatable: true}, &out, opts...)
}

// SetVolumeQoS replaces what bounds a volume.
func (c *Client) SetVolumeQoS(ctx context.Context, id cluster.UUID, q wire.QoS, opts ...Option) (
	wire.Volume, error,
) {
	return c.volume(ctx, call{method: http.MethodPut, path: "/v1/volumes/" + id.String() + "/qos", body: q},
		opts...)
}

// ResetVolumeQoS lets the bounds of its pool count for a volume again.
func (c *Client) ResetVolumeQoS(ctx context.Context, id cluster.UUID, opts ...Option) (wire.Volume, error) {
	return c.volume(ctx, call{method: http.MethodDelete, path: "/v1/volumes/" + id.String() + "/qos"}, opts...)
}
