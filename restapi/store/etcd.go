package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// requestTimeout bounds one call when the caller's context does not: long enough for an election of etcd,
// short enough that a person waits for the answer.
const requestTimeout = 10 * time.Second

// Etcd is the store of a cluster. It may be used from any goroutine.
type Etcd struct {
	c      *clientv3.Client
	leases leases
}

// NewEtcd uses a client of the cluster's etcd. The caller closes the client.
func NewEtcd(c *clientv3.Client) *Etcd { return &Etcd{c: c, leases: leases{c: c}} }

// Read answers the queries as of one revision (a linearizable read).
func (e *Etcd) Read(ctx context.Context, queries ...Query) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ops := make([]clientv3.Op, len(queries))
	for i, q := range queries {
		ops[i] = opGet(q)
	}
	resp, err := e.c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return Snapshot{}, fmt.Errorf("read: %w", classify(err))
	}
	s := Snapshot{Rev: resp.Header.Revision, Results: make([]Result, len(queries))}
	for i, r := range resp.Responses {
		get := r.GetResponseRange()
		s.Results[i] = Result{Items: items(get), More: get.More}
	}
	return s, nil
}

// opGet turns a query into etcd's words. "After" becomes the smallest key that is greater: key + one zero
// byte.
func opGet(q Query) clientv3.Op {
	if q.Key != "" {
		return clientv3.OpGet(q.Key)
	}
	from := q.Prefix
	if q.After >= q.Prefix {
		from = q.After + "\x00"
	}
	opts := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(q.Prefix))}
	if q.Limit > 0 {
		opts = append(opts, clientv3.WithLimit(int64(q.Limit)))
	}
	return clientv3.OpGet(from, opts...)
}

func items(r *pb.RangeResponse) []Item {
	out := make([]Item, len(r.Kvs))
	for i, kv := range r.Kvs {
		out[i] = Item{Key: string(kv.Key), Value: kv.Value, Rev: kv.ModRevision}
	}
	return out
}

// Commit does t as a whole and returns the new revision, or does nothing and says why. After an error that is
// no conflict the outcome is unknown.
func (e *Etcd) Commit(ctx context.Context, t Txn) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ifs := make([]clientv3.Cmp, len(t.If))
	for i, c := range t.If {
		if ifs[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Rev); c.empties() {
			ifs[i] = ifs[i].WithPrefix() // holds for no key, for then etcd compares with a revision of 0
		}
	}
	var ops []clientv3.Op
	for _, p := range t.Put {
		var life []clientv3.OpOption
		if p.TTL > 0 {
			id, err := e.leases.lease(ctx, p.TTL)
			if err != nil {
				return 0, fmt.Errorf("commit: %w", classify(err))
			}
			life = append(life, clientv3.WithLease(id))
		}
		ops = append(ops, clientv3.OpPut(p.Key, string(p.Value), life...))
	}
	for _, k := range t.Delete {
		ops = append(ops, clientv3.OpDelete(k))
	}
	resp, err := e.c.Txn(ctx).If(ifs...).Then(ops...).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		e.leases.forget() // etcd was restored, or we were cut off from it for long: the next attempt has new ones
	}
	if err != nil {
		return 0, fmt.Errorf("commit: %w", classify(err))
	}
	if !resp.Succeeded {
		return 0, conflict(t)
	}
	return resp.Header.Revision, nil
}

// Await returns when a key that was there at revision rev has been written or deleted since. An error says
// nothing of the key. It looks at the key when the watch has begun: of what was before, etcd tells a new
// watch every 100 ms only.
func (e *Etcd) Await(ctx context.Context, key string, rev int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range e.c.Watch(ctx, key, clientv3.WithCreatedNotify()) {
		if err := r.Err(); err != nil {
			return fmt.Errorf("await a change of %s: %w", key, classify(err))
		}
		if slices.ContainsFunc(r.Events, func(x *clientv3.Event) bool { return x.Kv.ModRevision > rev }) {
			return nil
		}
		if !r.Created {
			continue
		}
		now, err := e.c.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("await a change of %s: %w", key, classify(err))
		}
		if len(now.Kvs) == 0 || now.Kvs[0].ModRevision > rev {
			return nil
		}
	}
	return fmt.Errorf("await a change of %s: %w: %w", key, ErrUnavailable, context.Cause(ctx))
}

// Hold keeps a key present until ctx is done: it is bound to a lease of ttl, so it goes by itself when the
// process dies. Nobody else may write it. An error before ctx is done means the key may be gone: hold it
// again.
func (e *Etcd) Hold(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	lease, err := e.c.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return fmt.Errorf("hold %s: %w", key, classify(err))
	}
	defer e.release(lease.ID)
	if _, err := e.c.Put(ctx, key, string(value), clientv3.WithLease(lease.ID)); err != nil {
		return fmt.Errorf("hold %s: %w", key, classify(err))
	}
	alive, err := e.c.KeepAlive(ctx, lease.ID)
	if err != nil {
		return fmt.Errorf("hold %s: %w", key, classify(err))
	}
	for range alive { // ends when the lease is lost or ctx is done
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("hold %s: lease lost: %w", key, ErrUnavailable)
}

// release gives a lease back so that its key goes now and not after ttl; when etcd does not answer, ttl does
// it.
func (e *Etcd) release(id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = e.c.Revoke(ctx, id)
}

// classify tells "etcd does not answer" from errors that repeating would not cure.
func classify(err error) error {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		switch {
		case errors.Is(known, rpctypes.ErrTooManyOps), errors.Is(known, rpctypes.ErrDuplicateKey),
			errors.Is(known, rpctypes.ErrEmptyKey), errors.Is(known, rpctypes.ErrRequestTooLarge):
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
