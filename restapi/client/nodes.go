package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func number[T ~uint32](n T) string { return strconv.FormatUint(uint64(n), 10) }

// JoinNode adds a node with the join token in opts; repeating it gives the same node.
func (c *Client) JoinNode(ctx context.Context, opts wire.JoinRequest) (wire.JoinResult, error) {
	var out wire.JoinResult
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/join", body: opts, repeatable: true}, &out)
	return out, err
}

// NodeListOpts narrows a list of nodes.
type NodeListOpts struct {
	ListOpts
	Name string
}

// ListNodes lists one page of nodes.
func (c *Client) ListNodes(ctx context.Context, opts NodeListOpts) (wire.Page[wire.Node], error) {
	return get[wire.Page[wire.Node]](ctx, c, "/v1/nodes", opts.query("name", opts.Name))
}

// AllNodes lists all nodes.
func (c *Client) AllNodes(ctx context.Context) ([]wire.Node, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Node], error) {
		return c.ListNodes(ctx, NodeListOpts{ListOpts: o})
	})
}

// GetNode shows a node.
func (c *Client) GetNode(ctx context.Context, n cluster.NodeID) (wire.Node, error) {
	return get[wire.Node](ctx, c, "/v1/nodes/"+number(n), nil)
}

// GetLogging tells how a node logs.
func (c *Client) GetLogging(ctx context.Context, n cluster.NodeID) (wire.Logging, error) {
	return get[wire.Logging](ctx, c, "/v1/nodes/"+number(n)+"/logging", nil)
}

// PutLogging lets a node log more or less, until it starts again.
func (c *Client) PutLogging(ctx context.Context, n cluster.NodeID, l wire.Logging) (wire.Logging, error) {
	var out wire.Logging
	err := c.do(ctx, call{method: http.MethodPut, path: "/v1/nodes/" + number(n) + "/logging", body: l,
		repeatable: true}, &out)
	return out, err
}

// GetDiagnostics is what a node knows of itself: a tar.gz.
func (c *Client) GetDiagnostics(ctx context.Context, n cluster.NodeID) ([]byte, error) {
	return get[[]byte](ctx, c, "/v1/nodes/"+number(n)+"/diagnostics", nil)
}

// DeviceListOpts narrows a list of devices.
type DeviceListOpts struct {
	ListOpts
	Node cluster.NodeID // 0: of all nodes
}

// CreateDevice adds the disk or file at a path of a node; repeating it gives the same device.
func (c *Client) CreateDevice(ctx context.Context, opts wire.DeviceCreate) (wire.Device, error) {
	var out wire.Device
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/devices", body: opts, repeatable: true}, &out)
	return out, err
}

// ListDevices lists one page of devices.
func (c *Client) ListDevices(ctx context.Context, opts DeviceListOpts) (wire.Page[wire.Device], error) {
	node := ""
	if opts.Node != 0 {
		node = number(opts.Node)
	}
	return get[wire.Page[wire.Device]](ctx, c, "/v1/devices", opts.query("node", node))
}

// AllDevices lists all devices, of one node when node is not 0.
func (c *Client) AllDevices(ctx context.Context, node cluster.NodeID) ([]wire.Device, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Device], error) {
		return c.ListDevices(ctx, DeviceListOpts{ListOpts: o, Node: node})
	})
}

// GetDevice shows a device.
func (c *Client) GetDevice(ctx context.Context, d cluster.DeviceID) (wire.Device, error) {
	return get[wire.Device](ctx, c, "/v1/devices/"+number(d), nil)
}

// UpdateDevice declares a device failed or removes it; repeating it changes nothing.
func (c *Client) UpdateDevice(ctx context.Context, d cluster.DeviceID,
	state cluster.DeviceState, opts ...Option) (wire.Device, error) {
	var out wire.Device
	err := c.do(ctx, call{method: http.MethodPatch, path: "/v1/devices/" + number(d),
		body: wire.DeviceUpdate{State: state}, repeatable: true}, &out, opts...)
	return out, err
}

// ScrubDevice asks for a pass over a device, pauses its scrubbing, or changes its pace.
func (c *Client) ScrubDevice(ctx context.Context, d cluster.DeviceID, wish wire.ScrubRequest,
	opts ...Option) (wire.Device, error) {
	var out wire.Device
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/devices/" + number(d) + "/scrub", body: wish,
		repeatable: true}, &out, opts...)
	return out, err
}
