package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listVolumes(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Volumes(c, p, manager.VolumeFilter{Name: c.Query("name"), Pool: c.Query("pool")})
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) createVolume(c *gin.Context) error {
	key := c.GetHeader("Idempotency-Key")
	if key != "" && !plain(key) {
		return refuse(wire.InvalidField, "Idempotency-Key", "must be 1 to %d printable characters without blanks",
			maxPlain)
	}
	var r wire.VolumeCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	v, created, err := s.o.Manager.CreateVolume(c, r, key)
	if err != nil {
		return err
	}
	c.Header("ETag", manager.ETag(v.Rev))
	return madeOrFound(c, created, "/v1/volumes/"+v.ID.String(), v.Volume)
}

func (s *Server) getVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	v, err := s.o.Manager.Volume(c, id)
	if err != nil {
		return err
	}
	return answerVolume(c, v)
}

func answerVolume(c *gin.Context, v manager.Volume) error {
	c.Header("ETag", manager.ETag(v.Rev))
	return answer(c, v.Volume)
}

// ifMatch reads the revision a volume must still have; 0 when any will do. An ETag that this API cannot have
// given matches nothing.
func ifMatch(c *gin.Context) (int64, error) {
	text := strings.TrimSpace(c.GetHeader("If-Match"))
	if text == "" || text == "*" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(text, `"`), 10, 64)
	if err != nil || n <= 0 || manager.ETag(n) != text {
		return 0, refuse(wire.PreconditionFailed, "If-Match", "%q is no ETag of this volume", text)
	}
	return n, nil
}

func (s *Server) updateVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	var r wire.VolumeUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	rev, err := ifMatch(c)
	if err != nil {
		return err
	}
	v, err := s.o.Manager.ResizeVolume(c, id, r, rev)
	if err != nil {
		return err
	}
	return answerVolume(c, v)
}

func (s *Server) deleteVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	rev, err := ifMatch(c)
	if err != nil {
		return err
	}
	if err := s.o.Manager.DeleteVolume(c, id, rev); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
