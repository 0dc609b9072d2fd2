package keyring

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// ErrNoKey is wrapped when a source does not have a key.
var ErrNoKey = errors.New("cluster key not found")

// Source knows cluster keys. Key may be called by any goroutine; its error wraps ErrNoKey when there is no
// key of that id, any other error says that the source cannot tell now. Errors name ids, never keys.
type Source interface {
	Key(ctx context.Context, id string) (seal.ClusterKey, error)
}

const (
	missFor = 2 * time.Second  // that a key which was not found is not asked for again
	askFor  = 10 * time.Second // that a source may take to answer
)

// Ring remembers the keys of a source.
type Ring struct {
	source Source
	asking singleflight.Group // by the id of a key: all who want it wait for one answer

	mu     sync.Mutex
	keys   map[string]seal.ClusterKey
	misses map[string]miss
}

type miss struct {
	err error
	at  time.Time
}

// New makes an empty ring. Without a source (nil) it finds nothing.
func New(source Source) *Ring {
	return &Ring{source: source, keys: make(map[string]seal.ClusterKey), misses: make(map[string]miss)}
}

// Key is the cluster key of that id. Its error wraps ErrNoKey when the source says that there is none, and
// that of ctx when this one does not wait longer for the source; others may.
func (r *Ring) Key(ctx context.Context, id string) (seal.ClusterKey, error) {
	r.mu.Lock()
	k, known := r.keys[id]
	m, missed := r.misses[id]
	r.mu.Unlock()
	if known {
		return k, nil
	}
	if missed && time.Since(m.at) < missFor {
		return seal.ClusterKey{}, m.err
	}
	answer := r.asking.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
		defer cancel()
		return r.fetch(ctx, id)
	})
	select {
	case a := <-answer:
		k, _ := a.Val.(seal.ClusterKey)
		return k, a.Err
	case <-ctx.Done():
		return seal.ClusterKey{}, fmt.Errorf("cluster key %q: no answer of the key source yet: %w", id,
			context.Cause(ctx))
	}
}

// fetch asks the source and remembers what it says.
func (r *Ring) fetch(ctx context.Context, id string) (seal.ClusterKey, error) {
	k, err := r.ask(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.misses[id] = miss{err, time.Now()}
		return seal.ClusterKey{}, err
	}
	r.keys[id] = k
	delete(r.misses, id)
	return k, nil
}

func (r *Ring) ask(ctx context.Context, id string) (seal.ClusterKey, error) {
	if r.source == nil {
		return seal.ClusterKey{}, fmt.Errorf("%w: %q, this node has no key source (settings key-file and "+
			"key-cloud)", ErrNoKey, id)
	}
	return r.source.Key(ctx, id)
}

// Held lists the ids of the keys that were found so far.
func (r *Ring) Held() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.keys))
}

// Cipher makes the cipher of a volume. Its error wraps ErrNoKey when the cluster key is not to be had, and
// seal.ErrKey when the volume's own key was destroyed or does not fit.
func (r *Ring) Cipher(ctx context.Context, e *cluster.Encryption) (*seal.Cipher, error) {
	if e.Algorithm != cluster.AES256XTS {
		return nil, fmt.Errorf("encryption %q is not known to this software", e.Algorithm)
	}
	if len(e.Wrapped) == 0 {
		return nil, fmt.Errorf("%w: the data key was destroyed", seal.ErrKey)
	}
	k, err := r.Key(ctx, e.ClusterKey)
	if err != nil {
		return nil, err
	}
	d, err := k.Unwrap(e.Wrapped, e.DataKey)
	if err != nil {
		return nil, fmt.Errorf("cluster key %q: %w", e.ClusterKey, err)
	}
	return seal.NewCipher(d)
}
