package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	requestIDHeader = "X-Request-Id"
	tokenHeader     = "X-Auth-Token" // what OpenStack's clients send
	maxPlain        = 128
	keyRequestID    = "request_id"
	keyPrincipal    = "principal"
	keyError        = "error"
)

// observe gives the request an id, survives a panic of ours, and writes one line to the log.
func (s *Server) observe(c *gin.Context) {
	start := time.Now()
	id := c.GetHeader(requestIDHeader)
	if !plain(id) {
		id = rand.Text()
	}
	c.Set(keyRequestID, id)
	c.Header(requestIDHeader, id)
	c.Header("Cache-Control", "no-store")
	c.Header("X-Content-Type-Options", "nosniff")
	traced := func(string, int) {}
	if s.o.Tracer != nil {
		var ctx context.Context
		ctx, traced = s.o.Tracer.Begin(c.Request.Context(), c.Request.Method, c.Request.Header)
		c.Request = c.Request.WithContext(ctx)
	}
	defer func() {
		if r := recover(); r != nil {
			s.o.Log.WithField(keyRequestID, id).Errorf("panic: %v\n%s", r, debug.Stack())
			if c.Writer.Written() {
				panic(http.ErrAbortHandler) // too late for a problem; let the caller see a broken answer
			}
			s.problem(c, fmt.Errorf("panic: %v", r))
		}
		took := time.Since(start)
		s.log(c, took)
		s.audit(c)
		traced(c.FullPath(), c.Writer.Status())
		if s.o.Metrics.CallDone != nil {
			s.o.Metrics.CallDone(c.Request.Method, c.FullPath(), c.Writer.Status(), took)
		}
	}()
	c.Next()
}

// plain accepts an id of the caller's that is safe to log and to keep.
func plain(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxPlain
}

func (s *Server) log(c *gin.Context, took time.Duration) {
	status := c.Writer.Status()
	entry := s.o.Log.WithFields(logrus.Fields{
		keyRequestID: c.GetString(keyRequestID), "method": c.Request.Method, "path": hidden(c.Request.URL.Path),
		"status": status, "took": took.Round(time.Microsecond), "from": c.Request.RemoteAddr,
	})
	if p, ok := c.Get(keyPrincipal); ok {
		entry = entry.WithField("caller", p.(auth.Principal).String())
	}
	if err, ok := c.Get(keyError); ok {
		entry = entry.WithError(err.(error))
	}
	switch {
	case status >= http.StatusInternalServerError:
		entry.Error("API call failed")
	case c.Request.Method == http.MethodGet:
		entry.Debug("API call")
	default:
		entry.Info("API call")
	}
}

// authenticate finds out who calls, and lets pass whom the table of calls lets.
func (s *Server) authenticate(c *gin.Context, r *route) error {
	token, err := tokenOf(c)
	if err != nil {
		return err
	}
	p, err := s.o.Verifier.Verify(c.Request.Context(), token)
	if err != nil {
		return err
	}
	c.Set(keyPrincipal, p)
	c.Request = c.Request.WithContext(auth.With(c.Request.Context(), p))
	switch {
	case p.Role == "":
		return refuse(wire.Forbidden, "", "no role that user %s has with this token means anything here", p.User)
	case !s.access.allows(r.method, r.path, p):
		return refuse(wire.Forbidden, "", "role %q may not do this", p.Role)
	case p.Recalled && r.method != http.MethodGet:
		return refuse(wire.Unavailable, "", "whether the token is still valid cannot be told now")
	}
	return nil
}

// tokenOf is the token of a call, from either of the headers that may bear it.
func tokenOf(c *gin.Context) (string, error) {
	auth, x := c.GetHeader("Authorization"), c.GetHeader(tokenHeader)
	scheme, token, ok := strings.Cut(auth, " ")
	switch {
	case auth == "" && x != "":
		return x, nil
	case x != "":
		return "", refuse(wire.Unauthenticated, tokenHeader, "comes beside Authorization; one of them is enough")
	case !ok || !strings.EqualFold(scheme, "Bearer"):
		return "", refuse(wire.Unauthenticated, "Authorization", "needs a bearer token")
	}
	return strings.TrimSpace(token), nil
}

// sentToken is the token of a call that needs one and was let in.
func sentToken(c *gin.Context) string {
	token, _ := tokenOf(c)
	return token
}

// checkQuery refuses parameters that the call does not know: a mistyped filter would silently not filter.
func checkQuery(c *gin.Context, known []string) error {
	for name, values := range c.Request.URL.Query() {
		ok := false
		for _, k := range known {
			ok = ok || k == name
		}
		switch {
		case !ok:
			return refuse(wire.InvalidField, name, "is no parameter of this call")
		case len(values) > 1:
			return refuse(wire.InvalidField, name, "is given %d times", len(values))
		case values[0] == "":
			return refuse(wire.InvalidField, name, "must not be empty")
		}
		if err := checkFilter(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// checkHeaders refuses a precondition or a key that says nothing, as of a script whose variable is empty: the
// call would do just what it was to prevent.
func checkHeaders(c *gin.Context, conditional bool) error {
	for _, name := range []string{"If-Match", idempotencyKey} {
		switch sent := c.Request.Header.Values(name); {
		case len(sent) == 0:
		case name == "If-Match" && !conditional:
			return refuse(wire.InvalidField, name, "this call takes no precondition")
		case len(sent) > 1:
			return refuse(wire.InvalidField, name, "is given %d times", len(sent))
		case sent[0] == "":
			return refuse(wire.InvalidField, name, "must not be empty")
		}
	}
	return nil
}

// checkFilter refuses what no resource can have: a mistyped filter would find nothing and not say why.
func checkFilter(name, value string) error {
	most := map[string]int{"name": 255, "subject": 255, "kind": 64, "metadata": 1024}[name]
	switch {
	case most > 0 && len(value) > most:
		return refuse(wire.InvalidField, name, "is %d bytes long, at most %d are allowed", len(value), most)
	case name == "pool" || name == "project":
		if err := cluster.ValidateName(name, value); err != nil {
			return refuse(wire.InvalidField, name, "%s", strings.TrimPrefix(err.Error(), name+": "))
		}
	}
	return nil
}

func refuse(code wire.Code, field, format string, args ...any) error {
	return &manager.Error{Code: code, Field: field, Detail: fmt.Sprintf(format, args...)}
}

// asRefusal is the refusal in err, if it is one.
func asRefusal(err error) (*manager.Error, bool) {
	var e *manager.Error
	return e, errors.As(err, &e)
}
