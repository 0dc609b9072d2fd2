package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listSnapshots(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	schedule, err := uuidQuery(c, "schedule")
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Snapshots(c.Request.Context(), p,
		manager.SnapshotFilter{Schedule: schedule, Use: useOf(c)})
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) listVolumeSnapshots(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.SnapshotsOf(c.Request.Context(), id, p, c.Query("name"))
	if err != nil {
		return err
	}
	return answer(c, list)
}

// createSnapshot answers 202 while the volume's owner has not taken the snapshot.
func (s *Server) createSnapshot(c *gin.Context) error {
	var r wire.SnapshotCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	snap, created, err := s.o.Manager.CreateSnapshot(c.Request.Context(), r)
	if err != nil {
		return err
	}
	at := "/v1/snapshots/" + snap.ID.String()
	if snap.State == cluster.SnapshotCreating {
		c.Header("Location", at)
		write(c, http.StatusAccepted, "application/json", snap)
		return nil
	}
	return madeOrFound(c, created, at, snap)
}

func (s *Server) getSnapshot(c *gin.Context) error {
	id, err := uuidParam(c, "snapshot")
	if err != nil {
		return err
	}
	snap, err := s.o.Manager.Snapshot(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, snap)
}

func (s *Server) updateSnapshot(c *gin.Context) error {
	id, err := uuidParam(c, "snapshot")
	if err != nil {
		return err
	}
	var r wire.SnapshotUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	snap, err := s.o.Manager.UpdateSnapshot(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, snap)
}

// deleteSnapshot answers 202 while the volume's owner has not let go of the snapshot.
func (s *Server) deleteSnapshot(c *gin.Context) error {
	id, err := uuidParam(c, "snapshot")
	if err != nil {
		return err
	}
	snap, gone, err := s.o.Manager.DeleteSnapshot(c.Request.Context(), id, ifMatch(c))
	if err != nil {
		return err
	}
	if !gone {
		write(c, http.StatusAccepted, "application/json", snap)
		return nil
	}
	c.Status(http.StatusNoContent)
	return nil
}
