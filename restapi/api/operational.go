package api

import (
	"context"
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

// Tracer follows calls from node to node.
type Tracer interface {
	// Begin begins to trace a call that came with these headers; end is called with what became of it.
	Begin(ctx context.Context, method string,
		h http.Header) (_ context.Context, end func(route string, status int))
	// Inject writes into the headers of a call to another node which one it is part of.
	Inject(ctx context.Context, h http.Header)
}

// operational are the calls that operators use beside the API; the table of calls has them, too.
func operational() []route {
	profile := serve("/debug/pprof/:profile", (*Server).getProfile)
	profile.query = []string{"seconds", "debug", "gc"}
	return []route{serve(metricsPath, (*Server).getMetrics), profile}
}

const metricsPath = "/metrics"

func (s *Server) getMetrics(c *gin.Context) error {
	s.o.Metrics.Handler.ServeHTTP(c.Writer, c.Request)
	return nil
}

// addOperational adds them.
func (s *Server) addOperational(e *gin.Engine) {
	for _, r := range operational() {
		if r.path == metricsPath {
			if s.o.Metrics.Handler == nil {
				continue
			}
			r.public = s.o.Metrics.Public
		}
		e.Handle(r.method, r.path, s.handler(r))
	}
}
