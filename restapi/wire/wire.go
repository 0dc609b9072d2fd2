// Package wire is the bodies of the REST API as Go values: what package api writes and package client reads.
//
// The contract is restapi/api/openapi.yaml; every struct here has a schema of that name there, and the tests
// of package api check each answer against it. Sizes are bytes, times RFC 3339 in UTC.
package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// ProblemType is the media type of an error (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is the body of every error.
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Code      Code           `json:"code"`
	Field     string         `json:"field,omitempty"`
	Errors    []FieldProblem `json:"errors,omitempty"`
	Hosts     []string       `json:"hosts,omitempty"`
	RequestID string         `json:"request_id"`
}

// FieldProblem says what is wrong with one field.
type FieldProblem struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Code is the stable name of a kind of error. Programs decide by it, never by the words beside it.
type Code string

// The codes, each with the one HTTP status it comes with.
const (
	BadRequest           Code = "bad_request"            // 400
	InvalidField         Code = "invalid_field"          // 400
	Unauthenticated      Code = "unauthenticated"        // 401
	Forbidden            Code = "forbidden"              // 403
	NotFound             Code = "not_found"              // 404
	MethodNotAllowed     Code = "method_not_allowed"     // 405
	Conflict             Code = "conflict"               // 409
	VolumeExported       Code = "volume_exported"        // 409
	VolumeHasSnapshots   Code = "volume_has_snapshots"   // 409
	SnapshotExported     Code = "snapshot_exported"      // 409
	SnapshotNotNewest    Code = "snapshot_not_newest"    // 409
	SnapshotLimit        Code = "snapshot_limit"         // 409
	ShrinkNotAllowed     Code = "shrink_not_allowed"     // 409
	VolumeHoldsData      Code = "volume_holds_data"      // 409
	VolumeShrinking      Code = "volume_shrinking"       // 409
	VolumeInGroup        Code = "volume_in_group"        // 409
	SnapshotInGroup      Code = "snapshot_in_group"      // 409
	GroupNotEmpty        Code = "group_not_empty"        // 409
	LastAdminToken       Code = "last_admin_token"       // 409
	QuotaExceeded        Code = "quota_exceeded"         // 409
	NotEnoughDomains     Code = "not_enough_domains"     // 409
	PoolNotEmpty         Code = "pool_not_empty"         // 409
	PoolOvercommitted    Code = "pool_overcommitted"     // 409
	KeyMissing           Code = "key_missing"            // 409
	PreconditionFailed   Code = "precondition_failed"    // 412
	BodyTooLarge         Code = "body_too_large"         // 413
	UnsupportedMediaType Code = "unsupported_media_type" // 415
	NotSupported         Code = "not_supported"          // 422
	IdempotencyKeyReused Code = "idempotency_key_reused" // 422
	TooManyRequests      Code = "too_many_requests"      // 429
	Internal             Code = "internal"               // 500
	Unavailable          Code = "unavailable"            // 503
)

// Page is one page of a list; Next, when not empty, is the cursor of the following one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Versioned is the version of the record that a resource was drawn from. It travels as the header ETag, never
// in a body.
type Versioned struct {
	ETag string `json:"-"`
}

// Version is the ETag.
func (v Versioned) Version() string { return v.ETag }

// SetVersion keeps the ETag that came with an answer.
func (v *Versioned) SetVersion(etag string) { v.ETag = etag }

// Status is how well something is.
type Status string

// The values of Status.
const (
	OK       Status = "ok"
	Degraded Status = "degraded"
	Down     Status = "unavailable"
	OnTheWay Status = "moving"  // of volumes: whole, and on the way to where its pool wants it
	Unknown  Status = "unknown" // of volumes: its present owner has not published anything yet
)

// Liveness answers that the process does.
type Liveness struct {
	Status Status `json:"status"`
}

// Version is the build of the answering node.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	API     string `json:"api"`
	Go      string `json:"go"`
}

// Health is the state of the cluster as the answering node sees it.
type Health struct {
	Status  Status        `json:"status"`
	Etcd    EtcdHealth    `json:"etcd"`
	Nodes   []NodeHealth  `json:"nodes"`
	Devices DevicesHealth `json:"devices"`
	Volumes VolumesHealth `json:"volumes"`
}

// EtcdHealth tells whether records can be read and changed.
type EtcdHealth struct {
	Status   Status `json:"status"`
	Detail   string `json:"detail,omitempty"`
	Revision int64  `json:"revision,omitempty"`
}

// NodeHealth is the state of one node.
type NodeHealth struct {
	Number cluster.NodeID `json:"number"`
	Name   string         `json:"name"`
	Status Status         `json:"status"`
	Detail string         `json:"detail,omitempty"`
}

// DevicesHealth counts devices and names those that are not online or say they are unwell.
type DevicesHealth struct {
	Total  int         `json:"total"`
	Online int         `json:"online"`
	Bad    []BadDevice `json:"bad"`
}

// BadDevice is a device that is not well.
type BadDevice struct {
	Number cluster.DeviceID    `json:"number"`
	Node   cluster.NodeID      `json:"node"`
	State  cluster.DeviceState `json:"state"`
	Detail string              `json:"detail,omitempty"`
}

// VolumesHealth counts volumes by their health and names those that are degraded.
type VolumesHealth struct {
	Total       int            `json:"total"`
	Degraded    int            `json:"degraded"`
	Moving      int            `json:"moving"`
	Unknown     int            `json:"unknown"`
	DegradedIDs []cluster.UUID `json:"degraded_ids"`
}

// Cluster is the cluster as a whole.
type Cluster struct {
	ID      cluster.UUID     `json:"id"`
	Name    string           `json:"name,omitempty"`
	Epoch   cluster.Epoch    `json:"epoch"`
	Voters  []cluster.NodeID `json:"voters"`
	Nodes   int              `json:"nodes"`
	Devices int              `json:"devices"`
	Pools   int              `json:"pools"`
	Created string           `json:"created"`
}

// TokenCreate asks for a credential.
type TokenCreate struct {
	Name           string `json:"name"`
	Role           string `json:"role"`              // one of package auth's
	Project        string `json:"project,omitempty"` // of tenants and, if they are confined to one, viewers
	ExpiresSeconds int64  `json:"expires_in_seconds,omitempty"`
}

// Token is a credential without its secret; Secret is set only in the answer to TokenCreate.
type Token struct {
	Versioned
	ID      cluster.UUID `json:"id"`
	Name    string       `json:"name"`
	Role    string       `json:"role"`
	Project string       `json:"project,omitempty"`
	Created string       `json:"created"`
	Expires string       `json:"expires,omitempty"`
	// LastUsed is when it was used last, to the hour.
	LastUsed string         `json:"last_used,omitempty"`
	UsedBy   cluster.NodeID `json:"used_by,omitempty"`
	Secret   string         `json:"secret,omitempty"`
}
