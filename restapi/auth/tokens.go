package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Records is where tokens are kept. The error of Token wraps cluster.ErrNoRecord when there is none with that
// id; any other error means that the records cannot be read now.
type Records interface {
	Token(ctx context.Context, id cluster.UUID) (Record, error)
	// TokenUsed keeps when a token was used last.
	TokenUsed(ctx context.Context, id cluster.UUID, when time.Time) error
}

const (
	rememberFor = 15 * time.Minute
	rememberMax = 1024
	// useEvery is how finely the last use of a token is kept: a record is not written for every call.
	useEvery = time.Hour
)

// Tokens verifies the cluster's own tokens.
//
// The records are asked at every call, so a token that is revoked is refused by every node from then on. One
// that was good a short while ago is believed while the records cannot be read, for looking only
// ([Principal.Recalled]): somebody has to be able to see what is wrong.
type Tokens struct {
	records Records
	now     func() time.Time

	mu    sync.Mutex
	known map[cluster.UUID]remembered
}

type remembered struct {
	record Record
	seen   time.Time
}

// NewTokens makes a verifier; now is time.Now except in tests.
func NewTokens(records Records, now func() time.Time) *Tokens {
	return &Tokens{records: records, now: now, known: make(map[cluster.UUID]remembered)}
}

// Verify implements Verifier.
func (t *Tokens) Verify(ctx context.Context, token string) (Principal, error) {
	s, err := ParseSecret(token)
	if err != nil {
		return Principal{}, err
	}
	recalled := false
	r, err := t.records.Token(ctx, s.ID())
	switch {
	case err == nil:
		t.remember(r)
	case errors.Is(err, cluster.ErrNoRecord):
		t.forget(s.ID())
		return Principal{}, ErrRefused
	default:
		if r, recalled = t.recall(s.ID()); !recalled {
			return Principal{}, err
		}
	}
	if err := s.Check(r, t.now()); err != nil {
		return Principal{}, err
	}
	if !recalled {
		t.use(ctx, &r)
	}
	return Principal{Token: r.ID, Name: r.Name, Role: r.Role, Project: r.Project, Recalled: recalled}, nil
}

// use keeps the time of a use now and then. That it cannot be kept is no reason to refuse.
func (t *Tokens) use(ctx context.Context, r *Record) {
	last, err := time.Parse(time.RFC3339, r.LastUsed)
	if now := t.now(); err != nil || now.Sub(last) >= useEvery {
		_ = t.records.TokenUsed(ctx, r.ID, now)
	}
}

func (t *Tokens) remember(r Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if len(t.known) >= rememberMax {
		for id, k := range t.known {
			if now.Sub(k.seen) > rememberFor {
				delete(t.known, id)
			}
		}
		if len(t.known) >= rememberMax {
			return
		}
	}
	t.known[r.ID] = remembered{record: r, seen: now}
}

func (t *Tokens) forget(id cluster.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, id)
}

func (t *Tokens) recall(id cluster.UUID) (Record, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.known[id]
	return k.record, ok && t.now().Sub(k.seen) <= rememberFor
}
