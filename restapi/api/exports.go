package api

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
)

// exported is the volume or the snapshot of a path, and where that begins.
func exported(c *gin.Context) (x manager.Exported, at string, err error) {
	if c.Param("snapshot") != "" {
		id, err := uuidParam(c, "snapshot")
		return manager.OfSnapshot(id), "/v1/snapshots/" + id.String(), err
	}
	id, err := uuidParam(c, "volume")
	return manager.OfVolume(id), "/v1/volumes/" + id.String(), err
}

func (s *Server) listExports(c *gin.Context) error {
	x, _, err := exported(c)
	if err != nil {
		return err
	}
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Exports(c.Request.Context(), x, p)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) getExport(c *gin.Context) error {
	x, _, err := exported(c)
	if err != nil {
		return err
	}
	e, err := s.o.Manager.Export(c.Request.Context(), x, param(c, "host"))
	if err != nil {
		return err
	}
	return answer(c, e)
}

func (s *Server) putExport(c *gin.Context) error {
	x, at, err := exported(c)
	if err != nil {
		return err
	}
	e, created, err := s.o.Manager.Allow(c.Request.Context(), x, param(c, "host"), ifMatch(c))
	if err != nil {
		return err
	}
	return madeOrFound(c, created, at+"/exports/"+url.PathEscape(e.Host), e)
}

func (s *Server) deleteExport(c *gin.Context) error {
	x, _, err := exported(c)
	if err != nil {
		return err
	}
	if err := s.o.Manager.Disallow(c.Request.Context(), x, param(c, "host"), ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *Server) deleteExports(c *gin.Context) error {
	x, _, err := exported(c)
	if err != nil {
		return err
	}
	if err := s.o.Manager.DisallowAll(c.Request.Context(), x, ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
