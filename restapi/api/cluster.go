package api

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) getLiveness(c *gin.Context) error {
	return answer(c, wire.Liveness{Status: wire.OK})
}

func (s *Server) getHealth(c *gin.Context) error {
	h, err := s.o.Manager.Health(c.Request.Context())
	if err != nil {
		return err
	}
	return answer(c, h)
}

func (s *Server) getVersion(c *gin.Context) error { return answer(c, s.o.Version) }

func (s *Server) getCluster(c *gin.Context) error {
	v, err := s.o.Manager.Cluster(c.Request.Context())
	if err != nil {
		return err
	}
	return answer(c, v)
}

// pageOf reads limit and cursor.
func pageOf(c *gin.Context) (manager.Page, error) {
	p := manager.Page{Cursor: c.Query("cursor")}
	text := c.Query("limit")
	if text == "" {
		return p, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > manager.MaxLimit {
		return p, refuse(wire.InvalidField, "limit", "%q is no number from 1 to %d", text, manager.MaxLimit)
	}
	p.Limit = n
	return p, nil
}

func (s *Server) listTokens(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Tokens(c.Request.Context(), p)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) createToken(c *gin.Context) error {
	var r wire.TokenCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	t, err := s.o.Manager.CreateToken(c.Request.Context(), r)
	if err != nil {
		return err
	}
	return madeOrFound(c, true, "/v1/tokens/"+t.ID.String(), t)
}

func (s *Server) getToken(c *gin.Context) error {
	id, err := uuidParam(c, "token")
	if err != nil {
		return err
	}
	t, err := s.o.Manager.TokenInfo(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, t)
}

func (s *Server) deleteToken(c *gin.Context) error {
	id, err := uuidParam(c, "token")
	if err != nil {
		return err
	}
	if err := s.o.Manager.RevokeToken(c.Request.Context(), id, ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
