package manager

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// requestLife is how long a repetition of a request is recognised by its idempotency key: far longer than any
// client tries, short enough that a busy cluster keeps some thousands.
const requestLife = time.Hour

// request is what is kept of a call with an idempotency key. Its words are the API's; nothing here tells what
// was asked or answered.
type request struct {
	Request string `json:"request"` // which request the key stands for
	Answer  []byte `json:"answer,omitempty"`
}

// ClaimRequest notes that name stands for a request from now on. It returns the answer when the request was
// carried out before, nil when it is to be carried out, perhaps again. A name that stands for another request
// is refused.
func (m *Manager) ClaimRequest(ctx context.Context, name, digest string) (answer []byte, err error) {
	key := cluster.KeyRequest(name)
	_, err = m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: key}},
		Put: []store.Put{put(key, request{Request: digest}).Lasting(requestLife)}})
	if !errors.Is(err, cluster.ErrConflict) {
		return nil, err
	}
	snap, err := m.store.Read(ctx, store.Key(key))
	if err != nil || snap.One(0).Rev == 0 { // released this moment: nobody relies on it
		return nil, err
	}
	kept, err := decode[request](snap.One(0))
	if err != nil {
		return nil, err
	}
	if kept.Request != digest {
		return nil, refuse(wire.IdempotencyKeyReused, "Idempotency-Key", "stands for another request already")
	}
	return kept.Answer, nil
}

// SettleRequest keeps the answer of a claimed request. When that fails the claim stays, and a repetition is
// carried out again: no harm is done, so there is no error.
func (m *Manager) SettleRequest(ctx context.Context, name, digest string, answer []byte) {
	key := cluster.KeyRequest(name)
	p := put(key, request{Request: digest, Answer: answer}).Lasting(requestLife)
	_, _ = m.store.Commit(ctx, store.Txn{Put: []store.Put{p}, Blind: []string{key}})
}

// ReleaseRequest gives up a claim whose request was refused. When that fails it ends by itself.
func (m *Manager) ReleaseRequest(ctx context.Context, name string) {
	key := cluster.KeyRequest(name)
	_, _ = m.store.Commit(ctx, store.Txn{Delete: []string{key}, Blind: []string{key}})
}

type chanceKey struct{}

// WithChance makes every identity and secret that a call with ctx draws come from r. A call that may be
// carried out twice draws the same ones twice, and so finds what it made.
func WithChance(ctx context.Context, r io.Reader) context.Context {
	return context.WithValue(ctx, chanceKey{}, r)
}

// chance is where identities and secrets are drawn from. Draw before decide, not within: what is decided
// again must keep its identity.
func (m *Manager) chance(ctx context.Context) io.Reader {
	if r, ok := ctx.Value(chanceKey{}).(io.Reader); ok {
		return r
	}
	return m.random
}
