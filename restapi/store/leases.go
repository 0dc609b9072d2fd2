package store

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases gives keys that end by themselves their leases. A lease costs etcd more than a key does, so all keys
// of one life that are written within an eighth of it share one.
type leases struct {
	c  *clientv3.Client
	mu sync.Mutex
	of map[time.Duration]lease
}

type lease struct {
	id    clientv3.LeaseID
	until time.Time // no further keys after this
}

// lease is one that lasts at least ttl from now.
func (l *leases) lease(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if have, ok := l.of[ttl]; ok && now.Before(have.until) {
		return have.id, nil
	}
	share := max(ttl/8, time.Second)
	granted, err := l.c.Grant(ctx, int64((ttl+share)/time.Second)+1)
	if err != nil {
		return 0, err
	}
	if l.of == nil {
		l.of = make(map[time.Duration]lease)
	}
	l.of[ttl] = lease{granted.ID, now.Add(share)}
	return granted.ID, nil
}

// forget has new leases granted.
func (l *leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.of)
}
