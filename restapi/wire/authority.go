package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Authority is who issues the nodes' certificates, and how far its replacement is. Keys are never shown.
type Authority struct {
	Versioned
	Stage       cluster.AuthorityStage `json:"stage"`
	Since       string                 `json:"since,omitempty"`      // when the stage began; absent when settled
	NotBefore   string                 `json:"not_before,omitempty"` // that an announced authority issues
	Authorities []AuthorityCertificate `json:"authorities"`          // all that are trusted, who issues first
	Waiting     []AuthorityWait        `json:"waiting_for"`          // nodes that have not followed
	Left        []cluster.NodeID       `json:"left_behind"`          // those that are not waited for
}

// The roles of an AuthorityCertificate.
const (
	AuthorityIssues = "issuing"
	AuthorityNext   = "next"
	AuthorityFormer = "former"
)

// AuthorityCertificate is one authority that is trusted.
type AuthorityCertificate struct {
	Role        string `json:"role"`
	Fingerprint string `json:"fingerprint"`
	Expires     string `json:"expires"`
	Certificate string `json:"certificate"` // PEM
}

// AuthorityWait is a node that a replacement waits for.
type AuthorityWait struct {
	Node   cluster.NodeID `json:"node"`
	Online bool           `json:"online"`
}

// AuthorityRotation begins to replace the authority, or changes how that goes on; what is left out stays as
// it is.
type AuthorityRotation struct {
	Overlap     *uint64 `json:"overlap_seconds,omitempty"` // that both are trusted before the new one issues
	LeaveAbsent *bool   `json:"leave_absent,omitempty"`    // do not wait for nodes that are down
}
