package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listSchedules(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	f := manager.ScheduleFilter{Name: c.Query("name")}
	if f.Volume, err = uuidQuery(c, "volume"); err != nil {
		return err
	}
	if f.Group, err = uuidQuery(c, "group"); err != nil {
		return err
	}
	list, err := s.o.Manager.Schedules(c.Request.Context(), p, f)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) createSchedule(c *gin.Context) error {
	var r wire.ScheduleCreate
	if err := readBody(c, &r); err != nil {
		return err
	}
	x, created, err := s.o.Manager.CreateSchedule(c.Request.Context(), r)
	if err != nil {
		return err
	}
	return madeOrFound(c, created, "/v1/schedules/"+x.ID.String(), x)
}

func (s *Server) getSchedule(c *gin.Context) error {
	id, err := uuidParam(c, "schedule")
	if err != nil {
		return err
	}
	x, err := s.o.Manager.Schedule(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return answer(c, x)
}

func (s *Server) updateSchedule(c *gin.Context) error {
	id, err := uuidParam(c, "schedule")
	if err != nil {
		return err
	}
	var r wire.ScheduleUpdate
	if err := readBody(c, &r); err != nil {
		return err
	}
	x, err := s.o.Manager.UpdateSchedule(c.Request.Context(), id, r, ifMatch(c))
	if err != nil {
		return err
	}
	return answer(c, x)
}

func (s *Server) deleteSchedule(c *gin.Context) error {
	id, err := uuidParam(c, "schedule")
	if err != nil {
		return err
	}
	if err := s.o.Manager.DeleteSchedule(c.Request.Context(), id, ifMatch(c)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
