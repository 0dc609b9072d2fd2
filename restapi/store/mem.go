package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem is a store in memory, for tests: the same contract as Etcd, gone with the process. It remembers every
// change.
type Mem struct {
	mu      sync.Mutex
	now     func() time.Time
	rev     int64
	keys    map[string]Item
	ends    map[string]time.Time // of the keys that end by themselves
	history [][]Change           // by revision
	grown   chan struct{}        // closed and replaced when history grows
}

// NewMem makes an empty store. Like a new etcd it is at revision 1.
func NewMem() *Mem { return NewMemAt(time.Now) }

// NewMemAt is NewMem with a clock, by which keys end.
func NewMemAt(now func() time.Time) *Mem {
	return &Mem{now: now, rev: 1, keys: make(map[string]Item), ends: make(map[string]time.Time),
		grown: make(chan struct{})}
}

// write is the only way in which keys change. m.mu is held.
func (m *Mem) write(puts []Put, deletes []string) {
	var batch []Change
	for _, k := range deletes {
		if was, ok := m.keys[k]; ok {
			batch = append(batch, Change{Key: k, Before: was.Value, Rev: m.rev + 1})
		}
		delete(m.keys, k)
		delete(m.ends, k)
	}
	for _, p := range puts {
		batch = append(batch, Change{Key: p.Key, Before: m.keys[p.Key].Value, Value: p.Value, Rev: m.rev + 1})
		m.keys[p.Key] = Item{Key: p.Key, Value: slices.Clone(p.Value), Rev: m.rev + 1}
		delete(m.ends, p.Key)
		if p.TTL > 0 {
			m.ends[p.Key] = m.now().Add(p.TTL)
		}
	}
	if len(batch) == 0 {
		return
	}
	m.rev++
	m.history = append(m.history, batch)
	close(m.grown)
	m.grown = make(chan struct{})
}

func below(prefix string, batch []Change) (out []Change) {
	for _, c := range batch {
		if strings.HasPrefix(c.Key, prefix) {
			out = append(out, c)
		}
	}
	return out
}

// expire lets go of the keys whose life is over. m.mu is held.
func (m *Mem) expire() {
	now := m.now()
	var over []string
	for k, end := range m.ends {
		if !now.Before(end) {
			over = append(over, k)
		}
	}
	slices.Sort(over)
	m.write(nil, over)
}

// Read answers the queries as of one revision.
func (m *Mem) Read(ctx context.Context, queries ...Query) (Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return Snapshot{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	s := Snapshot{Rev: m.rev}
	for _, q := range queries {
		s.Results = append(s.Results, m.answer(q))
	}
	return s, nil
}

func (m *Mem) answer(q Query) Result {
	var r Result
	for k, it := range m.keys {
		if k == q.Key || q.Key == "" && strings.HasPrefix(k, q.Prefix) && k > q.After {
			it.Value = slices.Clone(it.Value)
			r.Items = append(r.Items, it)
		}
	}
	slices.SortFunc(r.Items, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	if q.Limit > 0 && len(r.Items) > q.Limit {
		r.Items, r.More = r.Items[:q.Limit], true
	}
	return r
}

// Commit does t as a whole and returns the new revision, or does nothing and says why.
func (m *Mem) Commit(ctx context.Context, t Txn) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	for _, c := range t.If {
		if m.keys[c.Key].Rev != c.Rev || c.empties() && len(m.answer(All(c.Key)).Items) > 0 {
			return 0, conflict(t)
		}
	}
	m.write(t.Put, t.Delete)
	return m.rev, nil
}

// Await returns when a key that was there at revision rev has been written or deleted since.
func (m *Mem) Await(ctx context.Context, key string, rev int64) error {
	for {
		m.mu.Lock()
		changed, grown := m.changedAfter(key, rev), m.grown
		m.mu.Unlock()
		if changed {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("await a change of %s: %w: %w", key, ErrUnavailable, context.Cause(ctx))
		}
	}
}

// changedAfter looks back. m.mu is held.
func (m *Mem) changedAfter(key string, rev int64) bool {
	for _, batch := range slices.Backward(m.history) {
		if batch[0].Rev <= rev {
			return false
		}
		if slices.ContainsFunc(batch, func(c Change) bool { return c.Key == key }) {
			return true
		}
	}
	return false
}

// Hold keeps a key present until ctx is done, then takes it away. Nobody else may write it. ttl is how long
// the key of a process that died stays; in memory none dies.
func (m *Mem) Hold(ctx context.Context, key string, value []byte, _ time.Duration) error {
	m.mu.Lock()
	m.write([]Put{{Key: key, Value: value}}, nil)
	mine := m.rev
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[key].Rev == mine {
		m.write(nil, []string{key})
	}
	return context.Cause(ctx)
}
