// Package api is the REST API: from HTTP requests to the manager's calls and back.
//
// Contract: openapi.yaml beside this file, which is served at /v1/openapi.json and checked against the
// handlers by the tests, both ways; and access.txt, the table of who may call what. This package decides
// nothing but the form: it authenticates, reads strictly (unknown, doubled and null fields, wrong types,
// trailing data and large bodies are refused, naming the field), asks the manager, and writes answers or RFC
// 9457 problems. No GET changes anything. What a caller sees of what it may ask for is the manager's part.
//
//	request -> request id, log, recover -> bearer token -> table of calls -> query and body -> manager
//	        -> answer or problem
package api

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Runtime is what the API needs of the node it runs on. The daemon provides it.
type Runtime interface {
	// PrepareDevice makes the disk or file at path a device of this node and returns its uuid and usable bytes.
	// Nothing at path and size above 0: a file of that size is made. A path that holds a device of this cluster
	// gives the same answer again; one that holds something else is refused with an error for people.
	PrepareDevice(ctx context.Context, path string, size uint64) (cluster.UUID, uint64, error)
}

// Options of a server. All are required but Transport, Limits and Metrics.
type Options struct {
	Manager   *manager.Manager
	Verifier  auth.Verifier
	Audit     Auditor
	Runtime   Runtime
	Observer  Observer
	Inspector Inspector
	Surveyor  Surveyor
	Self      cluster.NodeID // the node this server runs on
	Version   wire.Version   // API is filled in
	Log       logrus.FieldLogger
	Transport http.RoundTripper // to other nodes' APIs; default http.DefaultTransport
	Metrics   Metrics           // may be left out
	Tracer    Tracer            // nil: none
	Limits    Limits
}

// Server answers the API on one node.
type Server struct {
	o      Options
	engine *gin.Engine
	access access
	doc    document
	peers  *http.Client

	addresses, tokens *meter

	streams  atomic.Int32 // open now
	stopping context.Context
	stop     context.CancelFunc
}

// Limits of one request and of the server.
const (
	maxBody        = 1 << 20
	maxHeader      = 32 << 10
	requestTimeout = 25 * time.Second
	headerTimeout  = 10 * time.Second
	readTimeout    = 60 * time.Second
	writeTimeout   = 90 * time.Second
	idleTimeout    = 120 * time.Second
	drainTimeout   = 5 * time.Second
)

// New makes a server.
func New(o Options) (*Server, error) {
	doc, err := loadDocument()
	if err != nil {
		return nil, err
	}
	table, err := loadAccess(accessText, slices.Concat(routes(), operational()))
	if err != nil {
		return nil, err
	}
	o.Version.API = "v1"
	gin.SetMode(gin.ReleaseMode)
	peers := &http.Client{Transport: o.Transport, Timeout: requestTimeout}
	s := &Server{o: o, engine: gin.New(), access: table, doc: doc, peers: peers,
		addresses: newMeter(o.Limits.PerAddress, time.Now), tokens: newMeter(o.Limits.PerToken, time.Now)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	e := s.engine
	e.UseRawPath = true // a host NQN may hold an encoded slash
	e.UnescapePathValues = false
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	// No ContextWithFallback: gin uses its Context again for another call while what was begun with it may still
	// look at it. Calls pass on the context of the request.
	if err := e.SetTrustedProxies(nil); err != nil {
		return nil, fmt.Errorf("configure the router: %w", err)
	}
	e.Use(s.observe)
	for _, r := range routes() {
		e.Handle(r.method, r.path, s.handler(r))
	}
	s.addOperational(e)
	e.NoRoute(s.wrap(func(c *gin.Context) error {
		return refuse(wire.NotFound, "", "%s is no path of this API", c.Request.URL.Path)
	}))
	e.NoMethod(s.wrap(func(c *gin.Context) error {
		return refuse(wire.MethodNotAllowed, "", "%s is not possible here; possible: %s", c.Request.Method,
			c.Writer.Header().Get("Allow"))
	}))
	return s, nil
}

// handler puts authentication and the check of the query before a call.
func (s *Server) handler(r route) gin.HandlerFunc {
	return s.wrap(func(c *gin.Context) error {
		if err := s.addresses.pass(addressOf(c.Request.RemoteAddr)); err != nil {
			return err
		}
		if !r.public {
			if err := s.authenticate(c, &r); err != nil {
				return err
			}
			if err := s.tokens.pass(sentToken(c)); err != nil {
				return err
			}
		}
		if err := checkQuery(c, r.query); err != nil {
			return err
		}
		if err := checkHeaders(c, r.conditional); err != nil {
			return err
		}
		if r.method == http.MethodPost && !r.public {
			return s.once(c, func() error { return r.do(s, c) })
		}
		return r.do(s, c)
	})
}

// wrap turns an error into its problem document.
func (s *Server) wrap(do func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := do(c); err != nil {
			s.problem(c, err)
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !wantsStream(r) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	u := *r.URL
	u.RawPath = u.EscapedPath()
	r.URL = &u
	s.engine.ServeHTTP(w, r)
}

// debugLines takes what net/http says of connections that strangers broke off.
type debugLines struct{ log logrus.FieldLogger }

// Write implements io.Writer.
func (d debugLines) Write(line []byte) (int, error) {
	d.log.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}

// Serve answers on ln until ctx is done, then lets calls under way finish for a moment. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	h := &http.Server{
		Handler: s, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTimeout,
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: stdlog.New(debugLines{s.o.Log}, "", 0),
	}
	h.RegisterOnShutdown(s.stop) // streams would never end by themselves
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := h.Shutdown(drain); err != nil {
		_ = h.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}
