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

// addOperational adds what operators use beside the API.
func (s *Server) addOperational(e *gin.Engine) {
	if m := s.o.Metrics; m.Handler != nil {
		e.GET("/metrics", s.handler(route{public: m.Public, do: func(_ *Server, c *gin.Context) error {
			m.Handler.ServeHTTP(c.Writer, c.Request)
			return nil
		}}))
	}
}
