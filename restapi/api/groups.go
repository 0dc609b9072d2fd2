package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listGroups(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Groups(c.Request.Context(), p, c.Query("name"))
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) createGroup(c *gin.Context) error {
	var r wire.GroupCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	g, created, err := s.o.Manager.CreateGroup(c.Request.Context(), r)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/groups/"+g.ID.String(), g)
}

func (s *Server) getGroup(c *gin.Context) error {
	id, err := uuidParam(c, "group")
	if err != nil {
		return err
	}
	g, err := s.o.Manager.Group(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, g)
}

func (s *Server) updateGroup(c *gin.Context) error {
	id, err := uuidParam(c, "group")
	if err != nil {
		return err
	}
	var r wire.GroupUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	g, err := s.o.Manager.UpdateGroup(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, g)
}

func (s *Server) deleteGroup(c *gin.Context) error {
	id, err := uuidParam(c, "group")
	if err != nil {
		return err
	}
	if err := s.o.Manager.DeleteGroup(c.Request.Context(), id, ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

// revertGroup answers 202 while the owner of one of the volumes has not reverted it.
func (s *Server) revertGroup(c *gin.Context) error {
	id, err := uuidParam(c, "group")
	if err != nil {
		return err
	}
	var r wire.GroupRevert
	if err := readBody(c, &r); err != nil {
		return err
	}
	g, done, err := s.o.Manager.RevertGroup(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	if !done {
		write(c, http.StatusAccepted, "application/json", g)
		return nil
	}
	return answer(c, g)
}

func (s *Server) listGroupSnapshots(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	group, err := uuidQuery(c, "group")
	if err != nil {
		return err
	}
	list, err := s.o.Manager.GroupSnapshots(c.Request.Context(), p, group)
	if err != nil {
		return err
	}
	return answer(c, list)
}

// createGroupSnapshot answers 202 while the owners of the volumes have not taken the snapshot.
func (s *Server) createGroupSnapshot(c *gin.Context) error {
	var r wire.GroupSnapshotCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	snap, created, err := s.o.Manager.CreateGroupSnapshot(c.Request.Context(), r)
	if err != nil {
		return err
	}
	at := "/v1/group-snapshots/" + snap.ID.String()
	if snap.State == cluster.SnapshotCreating {
		c.Header("Location", at)
		write(c, http.StatusAccepted, "application/json", snap)
		return nil
	}
	return madeOrFound(c, created, at, snap)
}

func (s *Server) getGroupSnapshot(c *gin.Context) error {
	id, err := uuidParam(c, "group_snapshot")
	if err != nil {
		return err
	}
	snap, err := s.o.Manager.GroupSnapshot(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, snap)
}

func (s *Server) updateGroupSnapshot(c *gin.Context) error {
	id, err := uuidParam(c, "group_snapshot")
	if err != nil {
		return err
	}
	var r wire.SnapshotUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	snap, err := s.o.Manager.UpdateGroupSnapshot(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, snap)
}

func (s *Server) deleteGroupSnapshot(c *gin.Context) error {
	id, err := uuidParam(c, "group_snapshot")
	if err != nil {
		return err
	}
	if err := s.o.Manager.DeleteGroupSnapshot(c.Request.Context(), id, ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
