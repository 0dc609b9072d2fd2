package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// kind is the fixed part of a kind of error.
func kind(code wire.Code) (status int, title string) {
	switch code {
	case wire.BadRequest:
		return http.StatusBadRequest, "The request is malformed"
	case wire.InvalidField:
		return http.StatusBadRequest, "A field of the request is not valid"
	case wire.Unauthenticated:
		return http.StatusUnauthorized, "Who is calling is not known"
	case wire.Forbidden:
		return http.StatusForbidden, "The caller may not do this"
	case wire.NotFound:
		return http.StatusNotFound, "It does not exist"
	case wire.MethodNotAllowed:
		return http.StatusMethodNotAllowed, "The method is not possible here"
	case wire.Conflict:
		return http.StatusConflict, "The state of the cluster does not allow it"
	case wire.VolumeExported:
		return http.StatusConflict, "Hosts may still use the volume"
	case wire.VolumeHasSnapshots:
		return http.StatusConflict, "The volume has snapshots"
	case wire.ShrinkNotAllowed:
		return http.StatusConflict, "A smaller size would cut data off"
	case wire.VolumeHoldsData:
		return http.StatusConflict, "The volume holds data there"
	case wire.VolumeShrinking:
		return http.StatusConflict, "Something is being cut off the volume"
	case wire.SnapshotExported:
		return http.StatusConflict, "Hosts may still use the snapshot"
	case wire.SnapshotNotNewest:
		return http.StatusConflict, "The volume has newer snapshots"
	case wire.SnapshotLimit:
		return http.StatusConflict, "The volume has as many snapshots as it can have"
	case wire.VolumeInGroup:
		return http.StatusConflict, "The volume is in a group"
	case wire.SnapshotInGroup:
		return http.StatusConflict, "The snapshot is a part of a group snapshot"
	case wire.GroupNotEmpty:
		return http.StatusConflict, "The group has volumes or snapshots"
	case wire.LastAdminToken:
		return http.StatusConflict, "Nobody could administer the cluster any more"
	case wire.QuotaExceeded:
		return http.StatusConflict, "The project may not use more"
	case wire.PoolNotEmpty:
		return http.StatusConflict, "The pool holds something"
	case wire.PoolOvercommitted:
		return http.StatusConflict, "The pool does not take more"
	case wire.KeyMissing:
		return http.StatusConflict, "A cluster key is missing"
	case wire.NotEnoughDomains:
		return http.StatusConflict, "The cluster has too few failure domains"
	case wire.PreconditionFailed:
		return http.StatusPreconditionFailed, "It was changed in the meantime"
	case wire.BodyTooLarge:
		return http.StatusRequestEntityTooLarge, "The body is too large"
	case wire.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType, "The body is of no kind that is understood"
	case wire.NotSupported:
		return http.StatusUnprocessableEntity, "It is not supported yet"
	case wire.IdempotencyKeyReused:
		return http.StatusUnprocessableEntity, "The key stands for another request"
	case wire.TooManyRequests:
		return http.StatusTooManyRequests, "The caller is too fast"
	case wire.Unavailable:
		return http.StatusServiceUnavailable, "The cluster cannot do this now"
	default:
		return http.StatusInternalServerError, "Something went wrong inside"
	}
}

// classify finds the refusal that an error means. Errors that are nobody's fault but ours keep their words
// for the log.
func classify(err error) *manager.Error {
	if e, ok := asRefusal(err); ok {
		return e
	}
	var fast *tooMany
	switch {
	case errors.As(err, &fast):
		return &manager.Error{Code: wire.TooManyRequests, Detail: fast.Error()}
	case errors.Is(err, auth.ErrRefused):
		return &manager.Error{Code: wire.Unauthenticated, Detail: auth.ErrRefused.Error()}
	case errors.Is(err, auth.ErrUnavailable):
		return &manager.Error{Code: wire.Unavailable, Detail: err.Error()}
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled):
		return &manager.Error{Code: wire.Unavailable,
			Detail: "the outcome is not known, repeat the call: " + err.Error()}
	case errors.Is(err, cluster.ErrConflict):
		return &manager.Error{Code: wire.Conflict, Detail: err.Error()}
	default:
		return &manager.Error{Code: wire.Internal, Detail: "the node's log tells more about this request id"}
	}
}

// problem answers with an error document.
func (s *Server) problem(c *gin.Context, err error) {
	c.Set(keyError, err)
	e := classify(err)
	status, title := kind(e.Code)
	p := wire.Problem{
		Type: "urn:ashlar:problem:" + string(e.Code), Title: title, Status: status, Detail: e.Detail, Code: e.Code,
		Field: e.Field, Hosts: e.Hosts, RequestID: c.GetString(keyRequestID),
	}
	if e.Field != "" {
		p.Errors = []wire.FieldProblem{{Field: e.Field, Detail: e.Detail}}
	}
	switch e.Code {
	case wire.Unauthenticated:
		c.Header("WWW-Authenticate", `Bearer realm="ashlar"`)
	case wire.Unavailable:
		c.Header("Retry-After", "1")
	case wire.TooManyRequests:
		var fast *tooMany
		if errors.As(err, &fast) {
			c.Header("Retry-After", strconv.Itoa(fast.seconds()))
		}
	}
	write(c, status, wire.ProblemType, p)
	c.Abort()
}

// ifMatch is the ETag that what a call changes must still have; empty when any will do.
func ifMatch(c *gin.Context) string { return c.GetHeader("If-Match") }

// versioned is what has an ETag.
type versioned interface{ Version() string }

// write answers with a JSON document, and with the ETag of what has one.
func write(c *gin.Context, status int, contentType string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic("an answer has no JSON form: " + err.Error())
	}
	if v, ok := body.(versioned); ok && v.Version() != "" {
		c.Header("ETag", v.Version())
	}
	c.Data(status, contentType, append(text, '\n'))
}

// answer is the usual success.
func answer(c *gin.Context, body any) error {
	if fields := c.Query("fields"); fields != "" {
		return answerSparse(c, body, fields)
	}
	write(c, http.StatusOK, "application/json", body)
	return nil
}

// madeOrFound answers 201 for what was created and 200 for what a repetition found.
func madeOrFound(c *gin.Context, created bool, location string, body any) error {
	if !created {
		return answer(c, body)
	}
	c.Header("Location", location)
	write(c, http.StatusCreated, "application/json", body)
	return nil
}
