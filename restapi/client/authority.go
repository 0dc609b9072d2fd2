package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// GetAuthority shows who issues the nodes' certificates, and how far its replacement is.
func (c *Client) GetAuthority(ctx context.Context) (wire.Authority, error) {
	return get[wire.Authority](ctx, c, "/v1/authority", nil)
}

// RotateAuthority begins to replace the authority, or changes how that goes on.
func (c *Client) RotateAuthority(ctx context.Context, r wire.AuthorityRotation,
	opts ...Option) (wire.Authority, error) {
	var out wire.Authority
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/authority/rotate", body: r}, &out, opts...)
	return out, err
}
