package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// ListKeys lists the cluster keys that are in use, never the keys themselves.
func (c *Client) ListKeys(ctx context.Context) (wire.Keys, error) {
	return get[wire.Keys](ctx, c, "/v1/keys", nil)
}

// RotateKey makes another cluster key the current one; repeating it changes nothing.
func (c *Client) RotateKey(ctx context.Context, rotation wire.KeyRotation,
	opts ...Option) (wire.Keys, error) {
	var out wire.Keys
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/keys/rotate", body: rotation,
		repeatable: true}, &out, opts...)
	return out, err
}
