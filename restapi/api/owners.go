package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// moveVolume answers 202 while the node has not taken the volume over.
func (s *Server) moveVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	var r wire.VolumeMove
	if err := readBody(c, &r); err != nil {
		return err
	}
	v, done, err := s.o.Manager.MoveVolume(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	if !done {
		write(c, http.StatusAccepted, "application/json", v)
		return nil
	}
	return answer(c, v)
}

func (s *Server) putVolumeHome(c *gin.Context) error {
	var r wire.VolumeHome
	if err := readBody(c, &r); err != nil {
		return err
	}
	if r.Home == nil {
		return refuse(wire.InvalidField, "home", "must be there; empty is none")
	}
	return s.setVolumeHome(c, r.Home)
}

func (s *Server) deleteVolumeHome(c *gin.Context) error { return s.setVolumeHome(c, nil) }

func (s *Server) setVolumeHome(c *gin.Context, home *string) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	v, err := s.o.Manager.SetVolumeHome(c.Request.Context(), id, home, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, v)
}
