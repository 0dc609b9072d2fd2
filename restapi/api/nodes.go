package api

import (
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) joinNode(c *gin.Context) error {
	var r wire.JoinRequest
	if err := readBody(c, &r); err != nil {
		return err
	}
	res, created, err := s.o.Manager.Join(c.Request.Context(), r)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/nodes/"+strconv.FormatUint(uint64(res.Node), 10), res)
}

func (s *Server) listNodes(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Nodes(c.Request.Context(), p, c.Query("name"))
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) getNode(c *gin.Context) error {
	n, err := numberParam(c, "node")
	if err != nil {
		return err
	}
	node, err := s.o.Manager.Node(c.Request.Context(), cluster.NodeID(n))
	if err != nil {
		return err
	}
	return answer(c, node)
}
