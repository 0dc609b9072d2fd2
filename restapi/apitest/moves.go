package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// Alive makes nodes look alive, until the test ends.
func (c *Cluster) Alive(nodes ...cluster.NodeID) {
	c.T.Helper()
	for _, n := range nodes {
		key := cluster.KeyNodeAlive(n)
		value := []byte(strconv.Quote("now"))
		if _, err := c.Store.Commit(c.T.Context(), store.Txn{Put: []store.Put{{Key: key, Value: value}},
			Blind: []string{key}}); err != nil {
			c.T.Fatal(err)
		}
	}
}

// Served has the gateway that a new volume was given to serve it.
func (c *Cluster) Served(key cluster.VolumeKey) {
	c.T.Helper()
	arbiter := store.NewArbiter(c.Store)
	owner, rev, err := arbiter.Owner(c.T.Context(), key)
	if err == nil {
		owner.Epoch, owner.Served = 1, 1
		_, err = arbiter.SwapOwner(c.T.Context(), key, rev, owner)
	}
	if err != nil {
		c.T.Fatal(err)
	}
}

// moves are the volumes that somebody is asked to take over: all are read once, then changes are followed.
type moves struct {
	mu   sync.Mutex
	keys map[string]bool // of their records
}

// follow keeps m until ctx ends. It returns once all volumes were read.
func (m *moves) follow(ctx context.Context, s manager.Store, wg *sync.WaitGroup) error {
	read, err := s.Read(ctx, store.All(cluster.PrefixVolumes))
	if err != nil {
		return err
	}
	m.keys = make(map[string]bool)
	for _, it := range read.Results[0].Items {
		m.note(it.Key, it.Value)
	}
	wg.Go(func() {
		_ = s.Follow(ctx, cluster.PrefixVolumes, read.Rev, func(_ int64, changes []store.Change) error {
			for _, c := range changes {
				m.note(c.Key, c.Value)
			}
			return nil
		})
	})
	return nil
}

// note takes note of a record; of nil, that it is gone.
func (m *moves) note(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.keys, key); bytes.Contains(value, []byte(`"move":`)) {
		m.keys[key] = true
	}
}

// queries ask for the records.
func (m *moves) queries() []store.Query {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]store.Query, 0, len(m.keys))
	for key := range m.keys {
		out = append(out, store.Key(key))
	}
	return out
}

// move has nodes take over what they are asked to.
func (m *moves) move(ctx context.Context, s manager.Store, arbiter *store.Arbiter) error {
	for _, q := range m.queries() {
		read, err := s.Read(ctx, q)
		if err != nil {
			return err
		}
		it := read.One(0)
		var rec cluster.Volume
		if it.Rev == 0 {
			continue
		}
		if err := json.Unmarshal(it.Value, &rec); err != nil {
			return err
		}
		if rec.Move == nil {
			continue
		}
		owner, rev, err := arbiter.Owner(ctx, rec.Key)
		if err != nil {
			return err
		}
		if !rec.Move.Pending(&owner) {
			continue
		}
		owner.Gateway, owner.Epoch = rec.Move.Node, owner.Epoch+1
		owner.Served = owner.Epoch
		if _, err := arbiter.SwapOwner(ctx, rec.Key, rev, owner); err != nil {
			return err
		}
	}
	return nil
}
