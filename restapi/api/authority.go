package api

import (
	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) getAuthority(c *gin.Context) error {
	a, err := s.o.Manager.ShowAuthority(c.Request.Context())
	if err != nil {
		return err
	}
	return answer(c, a)
}

func (s *Server) rotateAuthority(c *gin.Context) error {
	var r wire.AuthorityRotation
	if err := readBody(c, &r); err != nil {
		return err
	}
	a, err := s.o.Manager.RotateAuthority(c.Request.Context(), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, a)
}
