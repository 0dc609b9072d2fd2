package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Follow calls f with the changes of the keys that begin with prefix, those of a revision together and in the
// order of revisions, from the one after revision after on (0: from now on). Before that it calls f once
// without changes, when none can be missed any more; rev then is where the stream begins. It ends with the
// error of f, when ctx is done, or when the store breaks off; going on from the last revision then misses
// nothing, unless the error wraps ErrCompacted.
func (e *Etcd) Follow(ctx context.Context, prefix string, after int64,
	f func(rev int64, changes []Change) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify()}
	if after > 0 {
		opts = append(opts, clientv3.WithRev(after+1))
	}
	for r := range e.c.Watch(ctx, prefix, opts...) {
		switch {
		case r.CompactRevision > 0:
			return fmt.Errorf("follow %s: %w", prefix, ErrCompacted)
		case r.Err() != nil:
			return fmt.Errorf("follow %s: %w", prefix, classify(r.Err()))
		case r.Created:
			begin := after
			if begin == 0 {
				begin = r.Header.Revision
			}
			if err := f(begin, nil); err != nil {
				return err
			}
		}
		if err := byRevision(r.Events, f); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("follow %s: %w", prefix, ErrUnavailable)
}

// byRevision hands the events on, those of one revision together. etcd never splits these.
func byRevision(events []*clientv3.Event, f func(int64, []Change) error) error {
	for len(events) > 0 {
		rev := events[0].Kv.ModRevision
		var batch []Change
		for len(events) > 0 && events[0].Kv.ModRevision == rev {
			e := events[0]
			c := Change{Key: string(e.Kv.Key), Rev: rev}
			if e.PrevKv != nil {
				c.Before = e.PrevKv.Value
			}
			if e.Type == clientv3.EventTypePut {
				c.Value = e.Kv.Value
			}
			batch, events = append(batch, c), events[1:]
		}
		if err := f(rev, batch); err != nil {
			return err
		}
	}
	return nil
}

// Follow is as Etcd's.
func (m *Mem) Follow(ctx context.Context, prefix string, after int64,
	f func(rev int64, changes []Change) error) error {
	m.mu.Lock()
	at := len(m.history)
	begin := m.rev
	if after > 0 {
		begin = after
		for at > 0 && m.history[at-1][0].Rev > after {
			at--
		}
	}
	m.mu.Unlock()
	if err := f(begin, nil); err != nil {
		return err
	}
	for {
		m.mu.Lock()
		news, grown := m.history[at:], m.grown
		m.mu.Unlock()
		for _, batch := range news {
			at++
			if mine := below(prefix, batch); len(mine) > 0 {
				if err := f(mine[0].Rev, mine); err != nil {
					return err
				}
			}
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
