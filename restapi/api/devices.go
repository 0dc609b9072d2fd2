package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// forwardedHeader marks a call that a node passed on to the one that owns the path; it is not passed on
// again.
const forwardedHeader = "Ashlar-Forwarded-By"

func (s *Server) createDevice(c *gin.Context) error {
	var r wire.DeviceCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	if r.Node == 0 {
		return refuse(wire.InvalidField, "node", "must be the number of a node")
	}
	if err := manager.ValidateDevicePath(r.Path); err != nil {
		return err
	}
	node, err := s.o.Manager.Node(c, r.Node)
	if e, ok := asRefusal(err); ok && e.Code == wire.NotFound {
		return refuse(wire.InvalidField, "node", "node %d does not exist", r.Node)
	}
	if err != nil {
		return err
	}
	if r.Node != s.o.Self {
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return s.forward(c, node, body)
	}
	uuid, size, err := s.o.Runtime.PrepareDevice(c, r.Path, r.Size)
	if _, ok := asRefusal(err); err != nil && !ok {
		return refuse(wire.Conflict, "path", "%v", err)
	}
	if err != nil {
		return err
	}
	add := manager.DeviceAdd{Node: r.Node, Path: r.Path, UUID: uuid, Size: size}
	d, created, err := s.o.Manager.AddDevice(c, add)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/devices/"+strconv.FormatUint(uint64(d.Number), 10), d)
}

// forward passes the call on to the node that it is about, with the caller's own token, and its answer back.
// body nil: it has none.
func (s *Server) forward(c *gin.Context, node wire.Node, body []byte) error {
	if by := c.GetHeader(forwardedHeader); by != "" {
		return refuse(wire.Unavailable, "", "node %s took this node for node %d; it will know better soon",
			by, node.Number)
	}
	url := strings.TrimRight(node.Addresses.REST, "/") + c.Request.URL.RequestURI()
	req, err := http.NewRequestWithContext(c, c.Request.Method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range []string{"Authorization", tokenHeader} {
		if v := c.GetHeader(h); v != "" {
			req.Header.Set(h, v)
		}
	}
	req.Header.Set(requestIDHeader, c.GetString(keyRequestID))
	req.Header.Set(forwardedHeader, strconv.FormatUint(uint64(s.o.Self), 10))
	resp, err := s.peers.Do(req)
	if err != nil {
		return refuse(wire.Unavailable, "node", "node %d, which this is about, does not answer: %v",
			node.Number, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return refuse(wire.Unavailable, "node", "node %d, which this is about, broke off: %v", node.Number, err)
	}
	for _, name := range []string{"Location", "ETag"} {
		if value := resp.Header.Get(name); value != "" {
			c.Header(name, value)
		}
	}
	c.Data(resp.StatusCode, resp.Header.Get("Content-Type"), text)
	return nil
}

func (s *Server) listDevices(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	node, err := numberQuery(c, "node")
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Devices(c, p, cluster.NodeID(node))
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) getDevice(c *gin.Context) error {
	n, err := numberParam(c, "device")
	if err != nil {
		return err
	}
	d, err := s.o.Manager.Device(c, cluster.DeviceID(n))
	if err != nil {
		return err
	}
	return answer(c, d)
}

func (s *Server) updateDevice(c *gin.Context) error {
	n, err := numberParam(c, "device")
	if err != nil {
		return err
	}
	var r wire.DeviceUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	d, err := s.o.Manager.UpdateDevice(c, cluster.DeviceID(n), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, d)
}

func (s *Server) scrubDevice(c *gin.Context) error {
	n, err := numberParam(c, "device")
	if err != nil {
		return err
	}
	var r wire.ScrubRequest
	if err := readBody(c, &r); err != nil {
		return err
	}
	d, err := s.o.Manager.ScrubDevice(c, cluster.DeviceID(n), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, d)
}
