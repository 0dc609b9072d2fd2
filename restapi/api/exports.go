package api

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listExports(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Exports(c, id)
	if err != nil {
		return err
	}
	return answer(c, wire.Page[wire.Export]{Items: list})
}

func (s *Server) getExport(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	e, err := s.o.Manager.Export(c, id, param(c, "host"))
	if err != nil {
		return err
	}
	return answer(c, e)
}

func (s *Server) putExport(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	e, created, err := s.o.Manager.Allow(c, id, param(c, "host"), ifMatch(c))
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/volumes/"+id.String()+"/exports/"+url.PathEscape(e.Host), e)
}

func (s *Server) deleteExport(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	if err := s.o.Manager.Disallow(c, id, param(c, "host"), ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *Server) deleteExports(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	if err := s.o.Manager.DisallowAll(c, id, ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
