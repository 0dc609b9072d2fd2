// Package manager is the rules of the control plane: what may be asked of a cluster and what then becomes
// true.
//
// Contract: every change is decided on records read at one revision and committed as one transaction that
// names the revisions it was decided on; when one of them moved it is decided again. So nothing is ever half
// created, and two nodes may decide at the same time. After an error that is no [Error] the outcome may be
// unknown; all requests are made so that repeating them is harmless:
//
//	volumes   the client chooses the id (or an idempotency key, from which chance follows)
//	pools     the name is the identity
//	devices   the uuid in the superblock is the identity
//	nodes     the uuid that the node keeps on its disk is the identity
//	exports   (volume, host) is the identity
//
// Two things reach beyond one transaction, each with a rule for a crash in the middle. A joining node is
// registered first, as a future etcd member, and added to etcd second: it repeats the join call until it has
// the answer, and adding is idempotent. A device is formatted by its node first and registered second:
// formatting a path that holds a device of this cluster gives the same uuid again.
//
// Names and shapes of requests and answers are package wire's, names of records package cluster's.
package manager

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Store is where the records are; store.Etcd and store.Mem are stores.
type Store interface {
	Read(ctx context.Context, queries ...store.Query) (store.Snapshot, error)
	Commit(ctx context.Context, t store.Txn) (int64, error)
	Await(ctx context.Context, key string, rev int64) error
	Hold(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Follow(ctx context.Context, prefix string, after int64,
		f func(rev int64, changes []store.Change) error) error
}

// Members is the embedded etcd cluster as the manager needs it. The daemon provides it.
type Members interface {
	// Add makes the member at peerURL part of the cluster, as a learner, and returns all members. Repeating it
	// for the same URL is harmless.
	Add(ctx context.Context, name, peerURL string) ([]wire.EtcdPeer, error)
	// Endpoints are the client URLs of the members.
	Endpoints(ctx context.Context) ([]string, error)
}

// States is what a node follows of the records anyway: a watch.Watcher. At waits until all that was written
// up to a revision is known, and returns the newest state, which nobody may change; the error is ctx's.
type States interface {
	At(ctx context.Context, revision int64) (*cluster.State, error)
}

// Options of a manager. Store and Members are required.
type Options struct {
	Store   Store
	Members Members
	States  States           // nil: questions about all records are answered by reading them
	Keys    Keys             // nil: no volume can be encrypted by way of this node
	Now     func() time.Time // default time.Now
	Random  io.Reader        // default crypto/rand.Reader
}

// Manager applies the rules. It keeps nothing that is not computed from records: any number of them may work
// on one store.
type Manager struct {
	store    Store
	states   States
	members  Members
	keys     Keys
	now      func() time.Time
	random   io.Reader
	balances balances
}

// New makes a manager.
func New(o Options) *Manager {
	m := &Manager{store: o.Store, states: o.States, members: o.Members, keys: o.Keys, now: o.Now,
		random: o.Random}
	m.balances.pools = make(map[cluster.PoolID]wire.PoolBalance)
	if m.now == nil {
		m.now = time.Now
	}
	if m.random == nil {
		m.random = rand.Reader
	}
	return m
}

// Error is a refusal: the request, or the state of the cluster, does not allow it, and nothing was changed.
type Error struct {
	Code   wire.Code
	Field  string // at fault, as the request names it; may be empty
	Detail string // for people
	Hosts  []string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field != "" {
		return e.Field + ": " + e.Detail
	}
	return e.Detail
}

func refuse(code wire.Code, field, format string, args ...any) error {
	return &Error{Code: code, Field: field, Detail: fmt.Sprintf(format, args...)}
}

func notFound(what string, id any) error {
	return refuse(wire.NotFound, "", "%s %v does not exist", what, id)
}

// invalid turns a cluster.FieldError into a refusal; rename maps the record's field names to the request's.
func invalid(err error, rename ...string) error {
	var fe *cluster.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	field := fe.Field
	for i := 0; i+1 < len(rename); i += 2 {
		if field == rename[i] {
			field = rename[i+1]
		}
	}
	return &Error{Code: wire.InvalidField, Field: field, Detail: fe.Reason}
}

const (
	maxAttempts = 40
	maxBackoff  = 50 * time.Millisecond
)

// decide repeats try, which reads, decides and commits, while its commit finds that a record moved.
func (m *Manager) decide(ctx context.Context, try func() error) error {
	for i := range maxAttempts {
		err := try()
		if !errors.Is(err, cluster.ErrConflict) {
			return err
		}
		limit := min(maxBackoff, time.Millisecond<<min(i, 10))
		if err := pause(ctx, mrand.N(limit)); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	return fmt.Errorf("%w: too many changes at the same time", store.ErrUnavailable)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stamp is the present time as records keep it.
func (m *Manager) stamp() string { return m.now().UTC().Format(time.RFC3339) }

func (m *Manager) newUUID(ctx context.Context) (cluster.UUID, error) {
	var u cluster.UUID
	if _, err := io.ReadFull(m.chance(ctx), u[:]); err != nil {
		return u, fmt.Errorf("draw a UUID: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40 // RFC 9562: version 4,
	u[8] = u[8]&0x3f | 0x80 // variant 10
	return u, nil
}

// decode reads a record. An unreadable one is named by its key: someone wrote it who should not.
func decode[T any](it store.Item) (T, error) {
	var v T
	if err := json.Unmarshal(it.Value, &v); err != nil {
		return v, fmt.Errorf("record %s: %w", it.Key, err)
	}
	return v, nil
}

// put makes the writing half of a transaction's line. Records are plain structs: they always have a JSON
// form.
func put(key string, record any) store.Put {
	value, err := json.Marshal(record)
	if err != nil {
		panic(fmt.Sprintf("record %s has no JSON form: %v", key, err))
	}
	return store.Put{Key: key, Value: value}
}

// counter reads a number kept as text; absent means 0.
func counter(it store.Item) (uint64, error) {
	if it.Rev == 0 {
		return 0, nil
	}
	return decode[uint64](it)
}
