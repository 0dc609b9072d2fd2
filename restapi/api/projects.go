package api

import (
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listProjects(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Projects(c.Request.Context(), p)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) getProject(c *gin.Context) error {
	p, err := s.o.Manager.Project(c.Request.Context(), param(c, "project"))
	if err != nil {
		return err
	}
	return answer(c, p)
}

func (s *Server) putProject(c *gin.Context) error {
	var q wire.Quota
	if err := readBody(c, &q); err != nil {
		return err
	}
	p, created, err := s.o.Manager.SetQuota(c.Request.Context(), param(c, "project"), q, ifMatch(c))
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/projects/"+url.PathEscape(p.Name), p)
}
