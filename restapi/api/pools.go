package api

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listPools(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Pools(c.Request.Context(), p, c.Query("name"))
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) createPool(c *gin.Context) error {
	var r wire.PoolCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	p, created, err := s.o.Manager.CreatePool(c.Request.Context(), r)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/pools/"+url.PathEscape(p.Name), p)
}

func (s *Server) getPool(c *gin.Context) error {
	p, err := s.o.Manager.Pool(c.Request.Context(), param(c, "pool"))
	if err != nil {
		return err
	}
	return answer(c, p)
}

func (s *Server) updatePool(c *gin.Context) error {
	var r wire.PoolUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	p, err := s.o.Manager.UpdatePool(c.Request.Context(), param(c, "pool"), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, p)
}

func (s *Server) deletePool(c *gin.Context) error {
	if err := s.o.Manager.DeletePool(c.Request.Context(), param(c, "pool"), ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *Server) changePool(c *gin.Context) error {
	var r wire.PoolChange
	if err := readBody(c, &r); err != nil {
		return err
	}
	p, err := s.o.Manager.ChangePool(c.Request.Context(), param(c, "pool"), r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, p)
}

func (s *Server) getPoolBalance(c *gin.Context) error {
	b, err := s.o.Manager.PoolBalance(c.Request.Context(), param(c, "pool"))
	if err != nil {
		return err
	}
	return answer(c, b)
}
