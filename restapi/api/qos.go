package api

import (
	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) putPoolQoS(c *gin.Context) error {
	var q wire.PoolQoS
	if err := readBody(c, &q); err != nil {
		return err
	}
	p, err := s.o.Manager.SetPoolQoS(c.Request.Context(), param(c, "pool"), q, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, p)
}

func (s *Server) putVolumeQoS(c *gin.Context) error {
	var q wire.QoS
	if err := readBody(c, &q); err != nil {
		return err
	}
	return s.setVolumeQoS(c, &q)
}

func (s *Server) deleteVolumeQoS(c *gin.Context) error { return s.setVolumeQoS(c, nil) }

func (s *Server) setVolumeQoS(c *gin.Context, q *wire.QoS) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	v, err := s.o.Manager.SetVolumeQoS(c.Request.Context(), id, q, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, v)
}
