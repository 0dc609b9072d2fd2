package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// GetLiveness asks whether the endpoint answers. It needs no token.
func (c *Client) GetLiveness(ctx context.Context) (wire.Liveness, error) {
	return get[wire.Liveness](ctx, c, "/v1/health", nil)
}

// GetHealth reports on etcd, nodes, devices and volumes.
func (c *Client) GetHealth(ctx context.Context) (wire.Health, error) {
	return get[wire.Health](ctx, c, "/v1/health/detail", nil)
}

// GetVersion tells the build of the endpoint. It needs no token.
func (c *Client) GetVersion(ctx context.Context) (wire.Version, error) {
	return get[wire.Version](ctx, c, "/v1/version", nil)
}

// GetCluster shows the cluster as a whole.
func (c *Client) GetCluster(ctx context.Context) (wire.Cluster, error) {
	return get[wire.Cluster](ctx, c, "/v1/cluster", nil)
}

// CreateToken makes a credential; its secret is in this answer only. A lost answer is asked for again by an
// idempotency key, so that no token that nobody knows stays behind.
func (c *Client) CreateToken(ctx context.Context, opts wire.TokenCreate, more ...Option) (wire.Token, error) {
	var out wire.Token
	more = append([]Option{IdempotencyKey(rand.Text())}, more...)
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/tokens", body: opts}, &out, more...)
	return out, err
}

// ListTokens lists one page of tokens.
func (c *Client) ListTokens(ctx context.Context, opts ListOpts) (wire.Page[wire.Token], error) {
	return get[wire.Page[wire.Token]](ctx, c, "/v1/tokens", opts.query())
}

// AllTokens lists all tokens.
func (c *Client) AllTokens(ctx context.Context) ([]wire.Token, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Token], error) { return c.ListTokens(ctx, o) })
}

// GetToken shows a token without its secret.
func (c *Client) GetToken(ctx context.Context, id cluster.UUID) (wire.Token, error) {
	return get[wire.Token](ctx, c, "/v1/tokens/"+id.String(), nil)
}

// DeleteToken revokes a token.
func (c *Client) DeleteToken(ctx context.Context, id cluster.UUID, opts ...Option) error {
	return c.delete(ctx, "/v1/tokens/"+id.String(), opts...)
}

// delete is a DELETE. One that is repeated may answer "not found", which the caller sees.
func (c *Client) delete(ctx context.Context, path string, opts ...Option) error {
	return c.do(ctx, call{method: http.MethodDelete, path: path, repeatable: true}, nil, opts...)
}

// segment makes any text one path segment.
func segment(s string) string { return url.PathEscape(s) }
