// Package auth answers who is calling: from a bearer token to a principal.
//
// Contract: a token is "ashlar.<id>.<secret>". The id finds the record, the secret (32 random bytes, so no
// dictionary helps) is compared by its SHA-256 in constant time. A cluster stores hashes only; a secret is
// shown once, to who created it. Every refusal is the same [ErrRefused], whether the token is unknown, wrong,
// revoked or expired: an answer that tells which would help a stranger.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ErrRefused is wrapped when a token admits nobody.
var ErrRefused = errors.New("the token is not valid")

// ErrUnavailable is wrapped when nobody can tell now whether a token is valid.
var ErrUnavailable = errors.New("the token cannot be verified now")

// Principal is who is calling.
type Principal struct {
	Token   cluster.UUID // that it came with; zero unless that is one of the cluster's own
	User    string       // its id in Keystone; empty unless it came with one of Keystone's tokens
	Name    string
	Role    Role   // empty: nothing at all
	Project string // that it acts for; never empty with Tenant
	// Recalled: nobody could be asked now; it was good a short while ago. Enough to look, not to change.
	Recalled bool
}

// Record is what the cluster keeps of a token.
type Record struct {
	ID       cluster.UUID   `json:"id"`
	Name     string         `json:"name"`
	Role     Role           `json:"role"`
	Project  string         `json:"project,omitempty"`
	Hash     string         `json:"hash"` // SHA-256 of the secret, hexadecimal
	Created  string         `json:"created"`
	Expires  string         `json:"expires,omitempty"`   // RFC 3339, UTC; empty: never
	LastUsed string         `json:"last_used,omitempty"` // no more than useEvery ago, if it was used since
	UsedBy   cluster.NodeID `json:"used_by,omitempty"`   // join tokens: the node that used it
	UsedUUID cluster.UUID   `json:"used_uuid,omitempty"` // and how that node calls itself
}

// Expired reports whether the token's time is over. An unreadable time counts as over.
func (r *Record) Expired(now time.Time) bool {
	if r.Expires == "" {
		return false
	}
	end, err := time.Parse(time.RFC3339, r.Expires)
	return err != nil || !now.Before(end)
}

const (
	tokenPrefix = "ashlar"
	secretSize  = 32
)

// Secret is the text of a token. It prints as nothing useful, so that it cannot slip into a log.
type Secret struct {
	id     cluster.UUID
	secret [secretSize]byte
}

// NewSecret draws a token; random is crypto/rand.Reader except in tests.
func NewSecret(random io.Reader) (Secret, error) {
	if random == nil {
		random = rand.Reader
	}
	var s Secret
	if _, err := io.ReadFull(random, s.id[:]); err != nil {
		return Secret{}, fmt.Errorf("draw a token: %w", err)
	}
	s.id[6] = s.id[6]&0x0f | 0x40 // RFC 9562: version 4,
	s.id[8] = s.id[8]&0x3f | 0x80 // variant 10
	if _, err := io.ReadFull(random, s.secret[:]); err != nil {
		return Secret{}, fmt.Errorf("draw a token: %w", err)
	}
	return s, nil
}

// ParseSecret reads the text that Reveal wrote. The error wraps ErrRefused.
func ParseSecret(text string) (Secret, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[0] != tokenPrefix {
		return Secret{}, fmt.Errorf("%w: it does not look like one", ErrRefused)
	}
	id, err := cluster.ParseUUID(parts[1])
	if err != nil {
		return Secret{}, fmt.Errorf("%w: it does not look like one", ErrRefused)
	}
	s := Secret{id: id}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(raw) != secretSize {
		return Secret{}, fmt.Errorf("%w: it does not look like one", ErrRefused)
	}
	copy(s.secret[:], raw)
	return s, nil
}

// ID names the token's record.
func (s Secret) ID() cluster.UUID { return s.id }

// Reveal is the text to give to the one who will use the token.
func (s Secret) Reveal() string {
	return tokenPrefix + "." + s.id.String() + "." + base64.RawURLEncoding.EncodeToString(s.secret[:])
}

// String hides the secret.
func (s Secret) String() string { return tokenPrefix + "." + s.id.String() + ".(hidden)" }

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Hash is what may be stored.
func (s Secret) Hash() string {
	h := sha256.Sum256(s.secret[:])
	return hex.EncodeToString(h[:])
}

// Check refuses s unless it is the secret of r and r has not expired.
func (s Secret) Check(r Record, now time.Time) error {
	same := subtle.ConstantTimeCompare([]byte(s.Hash()), []byte(r.Hash)) == 1
	if !same || r.ID != s.id || r.Expired(now) {
		return ErrRefused
	}
	return nil
}

// Verifier turns the text of a bearer token into a principal. The error wraps ErrRefused, or ErrUnavailable,
// or is the reason why nobody can tell now.
type Verifier interface {
	Verify(ctx context.Context, token string) (Principal, error)
}

// Either asks Own about what looks like a token of the cluster's own and Other about the rest: neither ever
// sees the other's.
type Either struct{ Own, Other Verifier }

// Verify implements Verifier.
func (e Either) Verify(ctx context.Context, token string) (Principal, error) {
	if strings.HasPrefix(token, tokenPrefix+".") {
		return e.Own.Verify(ctx, token)
	}
	return e.Other.Verify(ctx, token)
}
