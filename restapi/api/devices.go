package api

import (
	"encoding/json"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

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
	node, err := s.o.Manager.Node(c.Request.Context(), r.Node)
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
	uuid, size, err := s.o.Runtime.PrepareDevice(c.Request.Context(), r.Path, r.Size)
	if _, ok := asRefusal(err); err != nil && !ok {
		return refuse(wire.Conflict, "path", "%v", err)
	}
	if err != nil {
		return err
	}
	add := manager.DeviceAdd{Node: r.Node, Path: r.Path, UUID: uuid, Size: size}
	d, created, err := s.o.Manager.AddDevice(c.Request.Context(), add)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/devices/"+strconv.FormatUint(uint64(d.Number), 10), d)
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
	list, err := s.o.Manager.Devices(c.Request.Context(), p, cluster.NodeID(node))
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
	d, err := s.o.Manager.Device(c.Request.Context(), cluster.DeviceID(n))
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
	d, err := s.o.Manager.UpdateDevice(c.Request.Context(), cluster.DeviceID(n), r, ifMatch(c))
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
	d, err := s.o.Manager.ScrubDevice(c.Request.Context(), cluster.DeviceID(n), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, d)
}
