package api

import (
	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (s *Server) listTasks(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Tasks(c.Request.Context(), p,
		manager.TaskFilter{Kind: wire.TaskKind(c.Query("kind")), Subject: c.Query("subject")})
	if err != nil {
		return err
	}
	return answer(c, list)
}

func (s *Server) getTask(c *gin.Context) error {
	t, err := s.o.Manager.Task(c.Request.Context(), param(c, "task"))
	if err != nil {
		return err
	}
	return answer(c, t)
}

func (s *Server) cancelTask(c *gin.Context) error {
	t, err := s.o.Manager.CancelTask(c.Request.Context(), param(c, "task"))
	if err != nil {
		return err
	}
	return answer(c, t)
}
