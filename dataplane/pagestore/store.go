package pagestore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// purgePiece is how many versions of dropped volumes are freed under the lock at a time.
const purgePiece = 4096

// Store is an open page store. Safe for use by several goroutines.
//
// One mutex guards all state. It is never held while the device or a caller is called: what is to be
// submitted and reported is collected in a box and sent after the lock is released. There is no goroutine of
// the store's own; it moves on in the calls of its users and in the completions of the device.
type Store struct {
	// Constant.
	dev         blockdev.Device
	id          identity
	lay         layout
	incarnation uint64
	volatile    bool
	boxes       sync.Pool
	quiet       *sync.Cond // on mu: something ended that Close or mount waits for

	mu struct {
		sync.Mutex
		m        *pagemap.Map
		meta     metaTable
		log      groupCommit
		ckpt     checkpointer
		traffic  Traffic
		superSeq uint64
		purging  bool // a goroutine purges a large volume
		reads    int  // in flight
		inFlight room // promised to requests in flight
		closed   bool
		failed   error // the device lost writes: no more changes
	}
}

// room is what limits admission besides free blocks.
type room struct {
	tombstones uint64
	volumes    uint64 // requests that may each make a volume
	meta       uint64 // bytes
}

// metaTable holds the metadata records.
type metaTable struct {
	m     map[string][]byte
	bytes uint64 // in a checkpoint
}

// put applies a record.
func (t *metaTable) put(e metaEntry) {
	if old, ok := t.m[e.key]; ok {
		t.bytes -= uint64((&metaEntry{key: e.key, value: old}).size())
		delete(t.m, e.key)
	}
	if !e.gone {
		t.m[e.key] = e.value
		t.bytes += uint64(e.size())
	}
}

// Options say what Open expects.
type Options struct {
	ClusterID  cluster.UUID // must match; zero: any
	DeviceUUID cluster.UUID // must match; zero: any
	// Groups is how many groups of records may be on their way to the log at once; 0: 1, which makes the groups
	// as large, and metadata writes as few, as they can be.
	Groups int

	segment int // blocks of a checkpoint written at once; tests make it, and pieces of the map, small
}

func newStore(dev blockdev.Device, sb *super, groups int) (*Store, error) {
	m, err := pagemap.New(sb.lay.dataBlocks)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s := &Store{dev: dev, id: sb.id, lay: sb.lay, incarnation: sb.incarnation,
		volatile: dev.Geometry().VolatileCache}
	s.boxes.New = func() any { return &box{} }
	s.quiet = sync.NewCond(&s.mu)
	s.mu.m, s.mu.meta.m, s.mu.superSeq = m, map[string][]byte{}, sb.seq
	s.mu.log.init(s, max(groups, 1))
	s.mu.ckpt.init(s, sb)
	return s, nil
}

// box collects, under the lock, what is to be done after it is released.
type box struct {
	ops   []*blockdev.Op
	calls []call
}

// call is a request to report.
type call struct {
	w    *Write
	done func(error)
	err  error
}

func (s *Store) box() *box { return s.boxes.Get().(*box) }

// send submits and reports what a box holds. Not under the lock.
func (s *Store) send(b *box) {
	if len(b.ops) > 0 {
		s.dev.Submit(b.ops...)
	}
	for i := range b.calls {
		if c := &b.calls[i]; c.w != nil {
			c.w.Done(c.w, c.err)
		} else if c.done != nil {
			c.done(c.err)
		}
	}
	clear(b.ops)
	clear(b.calls)
	b.ops, b.calls = b.ops[:0], b.calls[:0]
	s.boxes.Put(b)
}

// locked runs f under the lock, moves everything on that can move, and sends what came out of it.
func (s *Store) locked(f func(*box)) {
	b := s.box()
	s.mu.Lock()
	f(b)
	s.progress(b)
	s.mu.Unlock()
	s.send(b)
}

// progress starts what can start now: a group, a checkpoint. Called with mu held after every change.
func (s *Store) progress(b *box) {
	s.commit(b)
	s.maybeCheckpoint(b)
	if s.mu.closed {
		s.quiet.Broadcast()
	}
}

// fail stops all changes for good: the device lost a log block, a checkpoint or a flush, so that nothing
// more can be promised. Requests whose data the device still reads are reported when it is done with it.
func (s *Store) fail(b *box, err error) {
	if s.mu.failed != nil {
		return
	}
	s.mu.failed = fmt.Errorf("%w: %w", ErrIO, err)
	s.mu.log.abandon(b)
}

// refuse reports why changes are not accepted, if they are not.
func (s *Store) refuse() error {
	switch {
	case s.mu.closed:
		return ErrClosed
	case s.mu.failed != nil:
		return s.mu.failed
	}
	return nil
}

// change logs a request that has no data.
func (s *Store) change(r *request) {
	s.locked(func(b *box) {
		err := s.refuse()
		if err == nil {
			err = s.admit(r)
		}
		if err != nil {
			b.calls = append(b.calls, call{done: r.done, err: err})
			return
		}
		s.mu.log.push(r)
	})
}

// admit reserves room for a request, so that a checkpoint always fits its area.
func (s *Store) admit(r *request) error {
	var want room
	for i := range r.recs {
		rec := &r.recs[i]
		if rec.Kind == pagemap.Put && rec.Tombstone {
			want.tombstones += uint64(rec.N)
		}
		if _, known := s.mu.m.Volume(rec.Vol); !known && (rec.Kind == pagemap.Put || rec.Kind == pagemap.Settle) {
			want.volumes = 1
		}
	}
	if r.meta.key != "" && !r.meta.gone {
		want.meta = uint64(r.meta.size())
	}
	f := &s.mu.inFlight
	if s.mu.m.Usage().Tombstones+f.tombstones+want.tombstones > tombstones(s.lay.dataBlocks) {
		return fmt.Errorf("%w: too many tombstones that are not stable", ErrFull)
	}
	aux := s.mu.meta.bytes + f.meta + want.meta + (s.mu.m.VolumeCount()+f.volumes+want.volumes)*maxVolumeSize
	if (want.meta > 0 || want.volumes > 0) && aux > s.lay.auxBytes() {
		return fmt.Errorf("%w: metadata of %d bytes, room for %d", ErrFull, aux, s.lay.auxBytes())
	}
	r.room = want
	f.tombstones += want.tombstones
	f.volumes += want.volumes
	f.meta += want.meta
	return nil
}

// leave gives back what admit reserved.
func (s *Store) leave(r *request) {
	f := &s.mu.inFlight
	f.tombstones -= r.room.tombstones
	f.volumes -= r.room.volumes
	f.meta -= r.room.meta
	r.room = room{}
}

// Undo durably removes version w of the blocks; those that do not hold it are left alone.
func (s *Store) Undo(e pagemap.Extent, w cluster.Seq, done func(error)) {
	if err := e.Validate(); err != nil || w == 0 {
		done(fmt.Errorf("%w: undo of %v at %v", ErrInvalid, w, e))
		return
	}
	s.change(&request{recs: []pagemap.Record{{Kind: pagemap.Undo, Extent: e, W: w}}, done: done})
}

// SetStable notes that every write of mark's epoch up to mark is complete on all its columns. It is applied,
// and made durable, with the next group, which it starts when nothing else does; losing it in a crash is
// harmless.
func (s *Store) SetStable(vol cluster.VolumeKey, mark cluster.Seq) {
	if !vol.Valid() || mark == 0 {
		return
	}
	s.locked(func(*box) {
		if s.refuse() == nil {
			s.noteMark(vol, mark)
		}
	})
}

// Settle durably notes that an open at this owner epoch has judged every version of older epochs that this
// device holds: from now on they are stable, and space below newer stable versions comes back. Until a device
// is settled at an epoch nothing of older epochs is freed.
func (s *Store) Settle(vol cluster.VolumeKey, epoch uint32, done func(error)) {
	if !vol.Valid() || epoch == 0 || epoch > cluster.MaxOwnerEpoch {
		done(fmt.Errorf("%w: settle %v at %d", ErrInvalid, vol, epoch))
		return
	}
	rec := pagemap.Record{Kind: pagemap.Settle, Extent: pagemap.Extent{Vol: vol}, Epoch: epoch}
	s.change(&request{recs: []pagemap.Record{rec}, done: done})
}

// DropVolume durably removes everything of a volume, marks included. When done, no version is visible and
// writes begin anew; the space of a large volume comes back in the background.
func (s *Store) DropVolume(vol cluster.VolumeKey, done func(error)) {
	if !vol.Valid() {
		done(fmt.Errorf("%w: volume %v", ErrInvalid, vol))
		return
	}
	rec := pagemap.Record{Kind: pagemap.Drop, Extent: pagemap.Extent{Vol: vol}}
	s.change(&request{recs: []pagemap.Record{rec}, done: done})
}

// PutMeta durably stores a small record under a key (at most MaxMetaKey and MaxMetaValue bytes), in the order
// of the calls; a nil value deletes it. ErrFull when the room for metadata is used up. Value is copied.
func (s *Store) PutMeta(key string, value []byte, done func(error)) {
	if key == "" || len(key) > MaxMetaKey || len(value) > MaxMetaValue {
		done(fmt.Errorf("%w: metadata key of %d bytes, value of %d", ErrInvalid, len(key), len(value)))
		return
	}
	e := metaEntry{key: key, value: append([]byte{}, value...), gone: value == nil}
	s.change(&request{meta: e, done: done})
}

// Meta returns the durable records whose key starts with prefix. The values must not be changed.
func (s *Store) Meta(prefix string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]byte{}
	for k, v := range s.mu.meta.m {
		if strings.HasPrefix(k, prefix) {
			out[k] = v
		}
	}
	return out
}

// List fills buf with versions behind the cursor (the zero Cursor: from the start), in Cursor order. It
// returns how many, the cursor to go on from, and whether there may be more. It is a snapshot only within one
// call.
func (s *Store) List(vol cluster.VolumeKey, kind ListKind, after pagemap.Cursor, buf []pagemap.Entry) (
	n int, next pagemap.Cursor, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m.List(vol, kind, after, buf)
}

// Volumes lists the volumes that the store knows, in key order.
func (s *Store) Volumes() []cluster.VolumeKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m.Volumes()
}

// Volume tells what the store knows about one volume.
func (s *Store) Volume(vol cluster.VolumeKey) (VolumeInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.mu.m.Volume(vol)
	return VolumeInfo{Settled: st.Settled, Marks: slices.Clone(st.Marks), Versions: st.Versions,
		Blocks: st.Blocks, Unstable: st.Unstable}, ok
}

// Stats tells how the store is doing.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.mu.m.Usage()
	return Stats{TotalBlocks: u.Total, FreeBlocks: u.Free, LiveBlocks: u.Live, PendingBlocks: u.Pending,
		Tombstones: u.Tombstones, BadVersions: u.Bad, Incarnation: s.incarnation,
		DurableLog: s.mu.log.durable, Traffic: s.mu.traffic,
		Log: LogStats{Blocks: s.lay.logBlocks, Used: s.mu.log.next - s.mu.log.tail}}
}

// Check verifies the invariants of the map in memory. Bugs of ours are the only reason for an error.
func (s *Store) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m.Check()
}

// Close waits for what is in flight and stops the store. It does not close the device. Not to be called from
// a Done.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	s.mu.closed = true
	for s.mu.reads > 0 || s.mu.purging || s.mu.log.busy() || s.mu.ckpt.busy() {
		s.quiet.Wait()
	}
	return nil
}

// purge gives the space of dropped volumes back: a piece now, the rest by a goroutine that lets others in.
func (s *Store) purge() {
	if s.mu.purging || !s.mu.m.Purge(purgePiece) {
		return
	}
	s.mu.purging = true
	go func() {
		for more := true; more; {
			s.locked(func(*box) {
				more = s.mu.m.Purge(purgePiece)
				if s.mu.closed {
					more = false // recovery begins with the volume gone
				}
				s.mu.purging = more
			})
		}
	}()
}

// transfer carries operations out and waits for them; recovery and format have nothing better to do.
func transfer(ctx context.Context, dev blockdev.Device, ops ...*blockdev.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	results := make(chan error, len(ops))
	for _, o := range ops {
		o.Done = func(_ *blockdev.Op, err error) { results <- err }
	}
	dev.Submit(ops...)
	var errs []error
	for range ops {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrIO, err)
	}
	return nil
}
