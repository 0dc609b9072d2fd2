package client

import (
	"context"
	"net/http"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// PoolListOpts narrows a list of pools.
type PoolListOpts struct {
	ListOpts
	Name string
}

// CreatePool makes a pool; repeating it gives the same pool.
func (c *Client) CreatePool(ctx context.Context, opts wire.PoolCreate) (wire.Pool, error) {
	var out wire.Pool
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/pools", body: opts, repeatable: true}, &out)
	return out, err
}

// ListPools lists one page of pools with their capacity.
func (c *Client) ListPools(ctx context.Context, opts PoolListOpts) (wire.Page[wire.Pool], error) {
	return get[wire.Page[wire.Pool]](ctx, c, "/v1/pools", opts.query("name", opts.Name))
}

// AllPools lists all pools with their capacity.
func (c *Client) AllPools(ctx context.Context) ([]wire.Pool, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Pool], error) {
		return c.ListPools(ctx, PoolListOpts{ListOpts: o})
	})
}

// GetPool shows a pool with its capacity.
func (c *Client) GetPool(ctx context.Context, name string) (wire.Pool, error) {
	return get[wire.Pool](ctx, c, "/v1/pools/"+segment(name), nil)
}

// UpdatePool changes what u names of a pool.
func (c *Client) UpdatePool(ctx context.Context, name string, u wire.PoolUpdate, opts ...Option) (
	out wire.Pool, err error,
) {
	return out, c.do(ctx, call{method: http.MethodPatch, path: "/v1/pools/" + segment(name), body: u,
		repeatable: true}, &out, opts...)
}

// DeletePool deletes a pool that holds nothing. ifMatch, when not empty, is the ETag that it must still have.
func (c *Client) DeletePool(ctx context.Context, name, ifMatch string) error {
	return c.delete(ctx, "/v1/pools/"+segment(name), IfMatch(ifMatch))
}

// ChangePool changes who belongs to a pool; repeating it changes nothing.
func (c *Client) ChangePool(ctx context.Context, name string, change wire.PoolChange,
	opts ...Option) (wire.Pool, error) {
	var out wire.Pool
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/pools/" + segment(name) + "/changes",
		body: change, repeatable: true}, &out, opts...)
	return out, err
}

// GetPoolBalance computes how evenly a pool fills its devices.
func (c *Client) GetPoolBalance(ctx context.Context, name string) (wire.PoolBalance, error) {
	return get[wire.PoolBalance](ctx, c, "/v1/pools/"+segment(name)+"/balance", nil)
}
