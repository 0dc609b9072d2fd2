package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Inspector shows the process of the node it runs on, and lets it say more or less. The daemon provides it.
type Inspector interface {
	// WriteDiagnostics writes a tar.gz without secrets.
	WriteDiagnostics(w io.Writer) error
	LogLevel() string
	// SetLogLevel refuses a level that is none.
	SetLogLevel(level string) error
}

// ofNode carries a call about a node out there: here, or by passing it on.
func (s *Server) ofNode(c *gin.Context, body []byte, here func() error) error {
	n, err := numberParam(c, "node")
	if err != nil {
		return err
	}
	if cluster.NodeID(n) != s.o.Self {
		return s.forwardTo(c, cluster.NodeID(n), body)
	}
	return here()
}

func (s *Server) getDiagnostics(c *gin.Context) error {
	return s.ofNode(c, nil, func() error {
		var b bytes.Buffer
		if err := s.o.Inspector.WriteDiagnostics(&b); err != nil {
			return err
		}
		c.Data(http.StatusOK, "application/gzip", b.Bytes())
		return nil
	})
}

func (s *Server) getLogging(c *gin.Context) error {
	return s.ofNode(c, nil, func() error { return answer(c, wire.Logging{Level: s.o.Inspector.LogLevel()}) })
}

func (s *Server) putLogging(c *gin.Context) error {
	var r wire.Logging
	if err := readBody(c, &r); err != nil {
		return err
	}
	body := []byte(`{"level":"` + r.Level + `"}`)
	switch r.Level {
	case "error", "warning", "info", "debug":
	default:
		return refuse(wire.InvalidField, "level", "%q is none of error, warning, info, debug", r.Level)
	}
	return s.ofNode(c, body, func() error {
		if err := s.o.Inspector.SetLogLevel(r.Level); err != nil {
			return err
		}
		return answer(c, r)
	})
}

// getProfile answers with a profile of this node's process, for `go tool pprof`. Those that take time take at
// most what a call may.
func (s *Server) getProfile(c *gin.Context) error {
	switch name := c.Param("profile"); name {
	case "profile":
		pprof.Profile(c.Writer, c.Request)
	case "trace":
		pprof.Trace(c.Writer, c.Request)
	case "allocs", "block", "goroutine", "heap", "mutex", "threadcreate":
		pprof.Handler(name).ServeHTTP(c.Writer, c.Request)
	default:
		return refuse(wire.NotFound, "", "there is no profile %q: allocs, block, goroutine, heap, mutex, profile, "+
			"threadcreate, trace", name)
	}
	return nil
}
