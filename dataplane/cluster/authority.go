package cluster

import "slices"

// AuthorityMark is what nodes see of the authority's record all the time; no key is in it.
type AuthorityMark struct {
	Generation uint64 `json:"generation,omitempty"` // grows with every change of the record that nodes follow
	Since      string `json:"since,omitempty"`      // RFC 3339: when the present stage of a replacement began
}

// Authority issues the nodes' certificates (package pki). Read by nodes only. Nodes follow it as it is: they
// trust what Trusted says, show certificates that Certificate has issued, and confirm the generation in what
// they publish of themselves.
//
// It is replaced in three steps, each a change of this record that any node may make, once what the step
// before asked for has been confirmed:
//
//	settled    Certificate issues and is all that is trusted
//	announced  Next is trusted, too; it issues nothing, since not everybody trusts it
//	issuing    what was Next issues; Former is trusted, since not everybody has another certificate
type Authority struct {
	AuthorityMark
	Certificate string `json:"certificate"` // PEM
	AuthorityKey
	Next   *AuthorityPair `json:"next,omitempty"`
	Former string         `json:"former,omitempty"` // PEM; its key is gone
	// Overlap is how long, in seconds, an authority is announced at least: for those who are told of it by
	// people.
	Overlap uint64 `json:"overlap_seconds,omitempty"`
	// LeaveAbsent: nodes that are down are not waited for.
	LeaveAbsent bool `json:"leave_absent,omitempty"`
}

// AuthorityPair is an authority that issues nothing yet.
type AuthorityPair struct {
	Certificate string `json:"certificate"`
	AuthorityKey
}

// AuthorityKey is the private key of an authority (PEM, PKCS 8): as it is, or, where the cluster has a
// cluster key, wrapped with that and bound to the certificate (package seal).
type AuthorityKey struct {
	Key        string `json:"key,omitempty"`
	Wrapped    []byte `json:"wrapped,omitempty"`
	ClusterKey string `json:"cluster_key,omitempty"` // id; empty: Key is as it is
}

// AuthorityStage is how far a replacement is.
type AuthorityStage string

// The stages, see Authority.
const (
	AuthoritySettled   AuthorityStage = "settled"
	AuthorityAnnounced AuthorityStage = "announced"
	AuthorityIssuing   AuthorityStage = "issuing"
)

// Stage is where the authority stands.
func (a *Authority) Stage() AuthorityStage {
	switch {
	case a.Next != nil:
		return AuthorityAnnounced
	case a.Former != "":
		return AuthorityIssuing
	}
	return AuthoritySettled
}

// Trusted is whom to trust, as PEM, who issues first.
func (a *Authority) Trusted() string {
	if a.Next != nil {
		return a.Certificate + a.Next.Certificate
	}
	return a.Certificate + a.Former
}

// Announce begins to replace a settled authority.
func (a *Authority) Announce(next AuthorityPair, now string) {
	a.Next, a.Since = &next, now
	a.Generation++
}

// Advance goes one stage on; it changes nothing when the authority is settled.
func (a *Authority) Advance(now string) {
	switch a.Stage() {
	case AuthorityAnnounced:
		a.Former, a.Certificate, a.AuthorityKey = a.Certificate, a.Next.Certificate, a.Next.AuthorityKey
		a.Next = nil
		a.Since = now
	case AuthorityIssuing:
		a.Former, a.Since, a.Overlap, a.LeaveAbsent = "", "", 0, false
	default:
		return
	}
	a.Generation++
}

// Unconfirmed lists the nodes that have not followed the record, by number; up tells which are there. Those
// that the replacement waits for are among them, see LeaveAbsent.
func (a *Authority) Unconfirmed(confirmed map[NodeID]uint64, up map[NodeID]bool) (waited, left []NodeID) {
	for node := range up {
		switch {
		case confirmed[node] >= a.Generation:
		case a.LeaveAbsent && !up[node]:
			left = append(left, node)
		default:
			waited = append(waited, node)
		}
	}
	slices.Sort(waited)
	slices.Sort(left)
	return waited, left
}
