package api

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Metrics are what a node shows to Prometheus, at /metrics: beside the API, whose versions and document do
// not cover it.
type Metrics struct {
	Handler http.Handler // nil: none here
	Public  bool         // without a token
	// CallDone is told of every call; route is the pattern of its path, empty when there is none.
	CallDone func(method, route string, status int, took time.Duration)
}

// operational are the calls that operators use beside the API; the table of calls has them, too.
func operational() []route { return []route{serve("/metrics", (*Server).getMetrics)} }

func (s *Server) getMetrics(c *gin.Context) error {
	s.o.Metrics.Handler.ServeHTTP(c.Writer, c.Request)
	return nil
}

// addOperational adds them.
func (s *Server) addOperational(e *gin.Engine) {
	if s.o.Metrics.Handler == nil {
		return
	}
	for _, r := range operational() {
		r.public = s.o.Metrics.Public
		e.Handle(r.method, r.path, s.handler(r))
	}
}
