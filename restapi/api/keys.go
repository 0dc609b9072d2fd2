package api

import (
	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listKeys(c *gin.Context) error {
	k, err := s.o.Manager.Keys(c.Request.Context())
	if err != nil {
		return err
	}
	return answer(c, k)
}

func (s *Server) rotateKey(c *gin.Context) error {
	var r wire.KeyRotation
	if err := readBody(c, &r); err != nil {
		return err
	}
	k, err := s.o.Manager.RotateKey(c.Request.Context(), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, k)
}
