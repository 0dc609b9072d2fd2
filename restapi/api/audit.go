package api

import (
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Auditor keeps who changed what on this node; package audit's Log is one.
type Auditor interface {
	Append(r wire.AuditRecord) error
	// Recent lists at most limit records numbered below before (0: all), newest first.
	Recent(before uint64, limit int) (records []wire.AuditRecord, more bool)
}

// auditTime is RFC 3339 with a fixed number of digits, so that times are in order as texts, too.
const auditTime = "2006-01-02T15:04:05.000000Z07:00"

// audit keeps a record of a call that may have changed something. It runs before the answer leaves: those of
// changes are smaller than what net/http buffers.
func (s *Server) audit(c *gin.Context) {
	if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead || c.FullPath() == "" {
		return
	}
	r := wire.AuditRecord{
		Time: time.Now().UTC().Format(auditTime), RequestID: c.GetString(keyRequestID),
		From: c.Request.RemoteAddr, Action: c.Request.Method + " " + c.FullPath(),
		Subject: hidden(c.Request.URL.Path), Status: c.Writer.Status(),
	}
	if where := c.Writer.Header().Get("Location"); where != "" {
		r.Subject = where
	}
	if p, ok := auth.Of(c.Request.Context()); ok {
		r.Caller, r.Name, r.Role, r.Project = p.String(), p.Name, string(p.Role), p.Project
	}
	if err, ok := c.Get(keyError); ok {
		r.Code = classify(err.(error)).Code
	}
	if err := s.o.Audit.Append(r); err != nil {
		s.o.Log.WithError(err).WithField(keyRequestID, r.RequestID).Error("a change is missing in the audit log")
	}
}

// hidden is a path that may be kept: who mistakes a token for its id shall not find it in every log.
func hidden(path string) string {
	return regexp.MustCompile(`ashlar\.[0-9A-Fa-f-]{36}\.[^/]*`).ReplaceAllString(path, "(a token)")
}

// listAudit lists what a node kept; another node passes the call on to it.
func (s *Server) listAudit(c *gin.Context) error {
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	n, err := numberParam(c, "node")
	if err != nil {
		return err
	}
	node, err := s.o.Manager.Node(c.Request.Context(), cluster.NodeID(n))
	if err != nil {
		return err
	}
	if node.Number != s.o.Self {
		return s.forward(c, node, nil)
	}
	var before uint64
	if p.Cursor != "" {
		if before, err = strconv.ParseUint(p.Cursor, 10, 64); err != nil || before == 0 {
			return refuse(wire.InvalidField, "cursor", "is none that this list gave")
		}
	}
	if p.Limit == 0 {
		p.Limit = manager.DefaultLimit
	}
	records, more := s.o.Audit.Recent(before, p.Limit)
	out := wire.Page[wire.AuditRecord]{Items: append([]wire.AuditRecord{}, records...)}
	if more {
		out.Next = strconv.FormatUint(records[len(records)-1].Number, 10)
	}
	return answer(c, out)
}
