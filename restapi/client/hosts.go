package client

import (
	"context"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// HostListOpts narrows a list of hosts.
type HostListOpts struct {
	ListOpts
	Connected bool // only hosts that are connected now
}

// ListHosts lists one page of the hosts that may attach something or are connected, by NQN.
func (c *Client) ListHosts(ctx context.Context, opts HostListOpts) (wire.Page[wire.Host], error) {
	connected := ""
	if opts.Connected {
		connected = "true"
	}
	return get[wire.Page[wire.Host]](ctx, c, "/v1/hosts", opts.query("connected", connected))
}

// FindHosts lists all hosts that opts do not leave out; the page in opts is not looked at.
func (c *Client) FindHosts(ctx context.Context, opts HostListOpts) ([]wire.Host, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Host], error) {
		opts.ListOpts = o
		return c.ListHosts(ctx, opts)
	})
}

// GetHost tells what a host may attach, and where it is connected.
func (c *Client) GetHost(ctx context.Context, nqn string) (wire.Host, error) {
	return get[wire.Host](ctx, c, "/v1/hosts/"+segment(nqn), nil)
}

// RevokeHost takes everything from a host that the caller sees, and closes its connections to it.
func (c *Client) RevokeHost(ctx context.Context, nqn string) error {
	return c.delete(ctx, "/v1/hosts/"+segment(nqn))
}
