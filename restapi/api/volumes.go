package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listVolumes(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	f := manager.VolumeFilter{Name: c.Query("name"), Pool: c.Query("pool"), Project: c.Query("project")}
	if f.Hidden, err = flagQuery(c, "hidden"); err != nil {
		return err
	}
	if f.Snapshot, err = uuidQuery(c, "snapshot"); err != nil {
		return err
	}
	f.Health, f.Use = wire.Status(c.Query("health")), useOf(c)
	list, err := s.o.Manager.Volumes(c.Request.Context(), p, f)
	if err != nil {
		return err
	}
	return answer(c, list)
}

// useOf reads by what use lists of volumes and of snapshots are narrowed.
func useOf(c *gin.Context) manager.Use {
	return manager.Use{Host: c.Query("host"), Metadata: c.Query("metadata")}
}

func (s *Server) createVolume(c *gin.Context) error {
	var r wire.VolumeCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	v, created, err := s.o.Manager.CreateVolume(c.Request.Context(), r)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/volumes/"+v.ID.String(), v)
}

func (s *Server) getVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	v, err := s.o.Manager.Volume(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, v)
}

// updateVolume answers 202 while it is not decided whether the volume shrinks.
func (s *Server) updateVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	var r wire.VolumeUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	v, err := s.o.Manager.UpdateVolume(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	if v.Shrink != nil && v.Shrink.State == wire.ShrinkLooking {
		write(c, http.StatusAccepted, "application/json", v)
		return nil
	}
	return answer(c, v)
}

// revertVolume answers 202 while the volume's owner has not reverted it.
func (s *Server) revertVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	var r wire.VolumeRevert
	if err := readBody(c, &r); err != nil {
		return err
	}
	v, done, err := s.o.Manager.RevertVolume(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	if !done {
		write(c, http.StatusAccepted, "application/json", v)
		return nil
	}
	return answer(c, v)
}

// flattenVolume answers 202 while the volume has a parent.
func (s *Server) flattenVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	v, err := s.o.Manager.FlattenVolume(c.Request.Context(), id, ifMatch(c))
	if err != nil {
		return err
	}
	if v.Parent != nil {
		write(c, http.StatusAccepted, "application/json", v)
		return nil
	}
	return answer(c, v)
}

func (s *Server) deleteVolume(c *gin.Context) error {
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	cascade, err := flagQuery(c, "cascade")
	if err != nil {
		return err
	}
	erase, err := flagQuery(c, "erase")
	if err != nil {
		return err
	}
	if erase {
		err = s.eraseVolume(c, id, cascade)
	} else {
		err = s.o.Manager.DeleteVolume(c.Request.Context(), id, ifMatch(c), cascade)
	}
	if err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// eraseVolume erases a volume. Snapshots have to be deleted before: they share its key.
func (s *Server) eraseVolume(c *gin.Context, id cluster.UUID, cascade bool) error {
	if cascade {
		return refuse(wire.InvalidField, "cascade", "a volume that is to be erased must not have snapshots; "+
			"delete them first")
	}
	return s.o.Manager.EraseVolume(c.Request.Context(), id, ifMatch(c))
}
