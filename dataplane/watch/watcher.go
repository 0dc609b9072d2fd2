package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Bounds of one conversation with etcd.
const (
	pageKeys    = 1000             // keys per read while everything is read
	readTimeout = 10 * time.Second // one page
	openTimeout = 3 * time.Second  // a proof, and opening the stream: an election of etcd takes 1 to 2 s
	retryMin    = 50 * time.Millisecond
	retryMax    = 2 * time.Second
	// DefaultProof is the default of Options.Proof.
	DefaultProof = 10 * time.Second
)

// ErrRewound says that etcd knows less than it told us before: it was restored from a backup.
var ErrRewound = errors.New("etcd went back to an older revision (restored from a backup?)")

// errCompacted says that the revision to go on from is gone.
var errCompacted = errors.New("revision was compacted")

// Options of a Watcher.
type Options struct {
	Client *clientv3.Client // borrowed
	Log    logrus.FieldLogger
	// Proof is how often a quiet stream is proved to be alive: the client library reconnects on its own and
	// says nothing while it cannot. 0 = DefaultProof.
	Proof time.Duration
}

// Status is what an operator wants to know of the stream.
type Status struct {
	Revision  int64  // newest revision seen, at least that of the newest state; 0 before the first
	Connected bool   // the stream is open; a silent loss of etcd is noticed within Options.Proof
	Resyncs   uint64 // times everything was read, the first included
	LastError string // of the last interruption; "" while connected
}

// Watcher follows the cluster's keys. Its methods may be called from any goroutine; Run once.
type Watcher struct {
	opt   Options
	table *table // owned by Run; nil = everything must be read
	seen  int64  // owned by Run; newest revision applied or found to be of no interest; never goes back

	mu struct {
		sync.Mutex
		state   *cluster.State
		changed chan struct{} // closed and replaced when state or status got on
		status  Status
	}
}

// New makes a Watcher; it knows nothing until Run.
func New(opt Options) (*Watcher, error) {
	if opt.Client == nil || opt.Log == nil {
		return nil, errors.New("watch: Options.Client and Options.Log must be set")
	}
	if opt.Proof <= 0 {
		opt.Proof = DefaultProof
	}
	w := &Watcher{opt: opt}
	w.mu.changed = make(chan struct{})
	return w, nil
}

// Newest returns the newest state, nil before the first.
func (w *Watcher) Newest() *cluster.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.state
}

// Next waits for a state newer than revision after (0 = any) and returns the newest one. The error is ctx's.
func (w *Watcher) Next(ctx context.Context, after int64) (*cluster.State, error) {
	for {
		w.mu.Lock()
		s, changed := w.mu.state, w.mu.changed
		w.mu.Unlock()
		if s != nil && s.Revision > after {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// At waits until the stream is open and everything that was written up to a revision has been seen, and
// returns the newest state. What others write to the same etcd beside the cluster's keys is not seen: bound
// ctx. The error is ctx's.
func (w *Watcher) At(ctx context.Context, revision int64) (*cluster.State, error) {
	for {
		w.mu.Lock()
		s, now, changed := w.mu.state, w.mu.status, w.mu.changed
		w.mu.Unlock()
		if s != nil && now.Connected && now.Revision >= revision {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Status returns the state of the stream itself.
func (w *Watcher) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.status
}

// Run follows etcd until ctx is done, and returns ctx's error. Everything else is retried, with back-off.
func (w *Watcher) Run(ctx context.Context) error {
	wait := retryMin
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if w.interrupted(err) {
			wait = retryMin // it had worked: start over quickly
		}
		if errors.Is(err, errCompacted) {
			w.table = nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait = min(2*wait, retryMax)
	}
}

// interrupted notes an interruption and reports whether the stream had been open.
func (w *Watcher) interrupted(err error) bool {
	w.mu.Lock()
	was := w.mu.status.Connected
	repeated := w.mu.status.LastError == err.Error()
	w.mu.status.Connected, w.mu.status.LastError = false, err.Error()
	w.mu.Unlock()
	if !repeated {
		w.opt.Log.WithError(err).Warn("cluster map: the stream is interrupted, the last map stays in force")
	}
	return was
}

// follow opens the stream where the last one ended, reading everything first if there is no table, and
// applies what comes until the stream breaks.
func (w *Watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	if err := w.prove(ctx); err != nil {
		return err
	}
	if w.table == nil {
		if err := w.readAll(ctx); err != nil {
			return err
		}
	}
	from := w.seen + 1
	late := time.AfterFunc(openTimeout, cancel) // Watch waits for etcd, however long that takes
	ch := w.opt.Client.Watch(ctx, cluster.Prefix, clientv3.WithPrefix(), clientv3.WithRev(from))
	if !late.Stop() {
		return errors.New("watch etcd: it did not open the stream in time")
	}
	w.connected()
	proof := time.NewTicker(w.opt.Proof)
	defer proof.Stop()
	for {
		select {
		case resp, ok := <-ch:
			switch {
			case !ok:
				return errors.New("watch etcd: stream closed")
			case resp.CompactRevision != 0:
				return fmt.Errorf("%w: need %d, etcd keeps from %d", errCompacted, from, resp.CompactRevision)
			case resp.Err() != nil:
				return fmt.Errorf("watch etcd: %w", resp.Err())
			}
			w.apply(resp.Events)
		case <-proof.C:
			if err := w.prove(ctx); err != nil {
				return err
			}
		}
	}
}

func (w *Watcher) connected() {
	w.mu.Lock()
	again := w.mu.status.LastError != ""
	w.mu.status.Connected, w.mu.status.LastError = true, ""
	w.tell()
	w.mu.Unlock()
	if again {
		w.opt.Log.WithField("revision", w.seen).Info("cluster map: the stream from etcd is open again")
	}
}

// prove shows that a majority of etcd answers and has not gone back behind what we have seen. The read is
// linearizable, so a member that merely lags behind is no false alarm.
func (w *Watcher) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	r, err := w.opt.Client.Get(ctx, cluster.KeyCluster, clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("read etcd revision: %w", err)
	}
	if r.Header.Revision < w.seen {
		return fmt.Errorf("%w: it is at %d, we have seen %d", ErrRewound, r.Header.Revision, w.seen)
	}
	return nil
}

// readAll builds a table from all keys as of one revision and publishes it.
func (w *Watcher) readAll(ctx context.Context) error {
	t := newTable()
	end := clientv3.GetPrefixRangeEnd(cluster.Prefix)
	var rev int64 // fixed by the first page
	for key := cluster.Prefix; ; {
		page, err := w.readPage(ctx, key, end, rev)
		if err != nil {
			return fmt.Errorf("read the cluster map: %w", err)
		}
		rev = page.rev
		for _, kv := range page.kvs {
			w.put(t, kv)
		}
		if !page.more {
			break
		}
		key = string(page.kvs[len(page.kvs)-1].Key) + "\x00"
	}
	w.table, w.seen = t, rev
	w.publish(t.state(rev), true)
	return nil
}

type page struct {
	kvs  []*mvccpb.KeyValue
	rev  int64
	more bool
}

func (w *Watcher) readPage(ctx context.Context, key, end string, rev int64) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r, err := w.opt.Client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithLimit(pageKeys),
		clientv3.WithRev(rev))
	if err != nil {
		return page{}, err
	}
	if rev == 0 {
		rev = r.Header.Revision
	}
	return page{kvs: r.Kvs, rev: rev, more: r.More}, nil
}

// apply brings the table to the revision of the last event. etcd sends all events of one revision in one
// response (we do not ask for fragments), so what is published is never half of a transaction.
func (w *Watcher) apply(events []*clientv3.Event) {
	if len(events) == 0 {
		return
	}
	changed := false
	for _, e := range events {
		if e.Type == clientv3.EventTypeDelete {
			changed = w.table.remove(string(e.Kv.Key)) || changed
		} else {
			changed = w.put(w.table, e.Kv) || changed
		}
	}
	w.seen = events[len(events)-1].Kv.ModRevision
	if changed {
		w.publish(w.table.state(w.seen), false)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.status.Revision = w.seen
	w.tell()
}

// put applies one record and reports a broken one.
func (w *Watcher) put(t *table, kv *mvccpb.KeyValue) bool {
	changed, err := t.put(kv)
	if err != nil {
		w.opt.Log.WithError(err).Error("cluster map: broken record in etcd")
	}
	return changed
}

func (w *Watcher) publish(s *cluster.State, resync bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if resync {
		w.mu.status.Resyncs++
	}
	w.mu.status.Revision = s.Revision
	w.mu.state = s
	w.tell()
}

// tell wakes those who wait. w.mu is held.
func (w *Watcher) tell() {
	close(w.mu.changed)
	w.mu.changed = make(chan struct{})
}
