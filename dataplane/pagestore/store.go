package pagestore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// purgePiece is how many versions of dropped volumes are freed, or blocks looked at after a pin went, under
// the lock at a time.
const purgePiece = 1024

// Store is an open page store. Safe for use by several goroutines.
//
// One mutex guards all state. It is never held while the device or a caller is called: what is to be
// submitted and reported is collected in a box and sent after the lock is released. The store
// moves on in the calls of its users and in the completions of the device; only checkpoints are encoded, and
// large volumes purged, by goroutines of their own.
type Store struct {
	// Constant.
	dev         blockdev.Device
	id          identity
	lay         layout
	incarnation uint64
	volatile    bool
	mutant      mutant.Set
	boxes       *sync.Pool    // on its own, so that the list of all pools does not hold on to a closed store
	repaired    uint64        // segments of the checkpoint ring that one copy had lost
	free        atomic.Uint64 // blocks, for who does not want to wait for the lock
	promises    atomic.Pointer[promises]
	spawn       func(func())
	stepwise    int        // versions to purge with each group, in tests; else 0
	quiet       *sync.Cond // on mu: something ended that Close or mount waits for

	mu struct {
		sync.Mutex
		m        *pagemap.Map
		mem      *memory // of m
		meta     metaTable
		bad      badPlaces
		log      groupCommit
		ckpt     checkpointer
		traffic  Traffic
		superSeq uint64
		largest  largest
		purging  bool // a goroutine purges a large volume
		reads    int  // in flight
		inFlight room // promised to requests in flight
		closed   bool
		failed   error // the device lost writes: no more changes
	}
}

// Options say what Open expects.
type Options struct {
	ClusterID  cluster.UUID // must match; zero: any
	DeviceUUID cluster.UUID // must match; zero: any
	// Groups is how many groups of records may be on their way to the log at once; 0: 1, which makes the groups
	// as large, and metadata writes as few, as they can be.
	Groups int

	// Mutant is a bug to plant, for tests.
	Mutant mutant.Set

	// For tests with one goroutine, so that their seeds decide everything: versions of a checkpoint encoded at a
	// time, by whoever makes it necessary. 0: as many as is good, by a goroutine.
	piece int
}

func newStore(dev blockdev.Device, sb *super, o Options, m *pagemap.Map, mem *memory) *Store {
	s := &Store{dev: dev, id: sb.id, lay: sb.lay, incarnation: sb.incarnation,
		volatile: dev.Geometry().VolatileCache, mutant: o.Mutant}
	s.boxes = &sync.Pool{New: func() any { return &box{} }}
	s.quiet = sync.NewCond(&s.mu)
	s.mu.m, s.mu.mem, s.mu.superSeq = m, mem, sb.seq
	s.mu.meta.byKey, s.mu.bad = map[string]*metaEntry{}, badPlaces{}
	s.mu.log.init(s, max(o.Groups, 1))
	s.mu.ckpt.init(s, sb)
	s.spawn = func(f func()) { go f() }
	if o.piece > 0 {
		s.spawn = func(f func()) { f() }
		s.mu.ckpt.piece, s.stepwise = o.piece, o.piece
	}
	return s
}

// box collects, under the lock, what is to be done after it is released.
type box struct {
	ops   []*blockdev.Op
	calls []call
	pump  bool // the checkpoint is to be encoded
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
	pump := b.pump
	clear(b.ops)
	clear(b.calls)
	b.ops, b.calls, b.pump = b.ops[:0], b.calls[:0], false
	s.boxes.Put(b)
	if pump {
		s.spawn(s.pump)
	}
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
	s.free.Store(s.mu.m.Usage().Free)
	s.recount()
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

// Undo durably removes version w of the blocks; those that do not hold it are left alone.
func (s *Store) Undo(e pagemap.Extent, w cluster.Seq, done func(error)) {
	if err := e.Validate(); err != nil || w == 0 {
		done(fmt.Errorf("%w: undo of %v at %v", ErrInvalid, w, e))
		return
	}
	s.change(&request{recs: []pagemap.Record{{Kind: pagemap.Undo, Extent: e, W: w}}, done: done})
}

// DropChunk durably frees all that is held of a chunk under a residency or older ones; First and N are of no
// interest.
func (s *Store) DropChunk(e pagemap.Extent, done func(error)) {
	s.changeChunk(pagemap.Record{Kind: pagemap.DropChunk, Extent: e}, done)
}

// Renumber durably holds under a residency what is held of a chunk under an older one; First and N are of no
// interest. Writes that name the older one and are still on their way get ErrNotMine.
func (s *Store) Renumber(e pagemap.Extent, done func(error)) {
	s.changeChunk(pagemap.Record{Kind: pagemap.Renumber, Extent: e}, done)
}

// changeChunk makes a record about a whole chunk durable.
func (s *Store) changeChunk(rec pagemap.Record, done func(error)) {
	if err := rec.Validate(); err != nil {
		done(fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	s.change(&request{recs: []pagemap.Record{rec}, done: done})
}

// SetView durably replaces the view list of a volume by a newer one; an older one is fine, and changes
// nothing. What only the older list needed is freed in pieces, chunk by chunk; after a revert at once, which
// takes time in proportion to the chunks of the volume.
func (s *Store) SetView(vol cluster.VolumeKey, view chunk.View, done func(error)) {
	rec := pagemap.Record{Kind: pagemap.View, Extent: pagemap.Extent{Vol: vol}, View: view.Clone()}
	if err := rec.Validate(); err != nil {
		done(fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	if now, known := s.Volume(vol); known && view.Version <= now.View.Version {
		done(nil)
		return
	}
	s.change(&request{recs: []pagemap.Record{rec}, done: done})
}

// SetStable notes that every write of the mark's epoch up to W, except its holes, is complete on all its
// columns, durably. A volume that the store does not know has nothing to note.
func (s *Store) SetStable(vol cluster.VolumeKey, mark pagemap.Mark, done func(error)) {
	rec := pagemap.Record{Kind: pagemap.Stable, Extent: pagemap.Extent{Vol: vol}, W: mark.W,
		Holes: slices.Clone(mark.Holes)}
	if err := rec.Validate(); err != nil {
		done(fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	s.mu.Lock()
	news := s.mu.m.MarkIsNews(vol, mark)
	s.mu.Unlock()
	if !news {
		done(nil)
		return
	}
	s.change(&request{recs: []pagemap.Record{rec}, done: done})
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
	return VolumeInfo{Settled: st.Settled, Marks: slices.Clone(st.Marks), View: st.View, Versions: st.Versions,
		Blocks: st.Blocks, Unstable: st.Unstable, Sweeping: st.Sweeping}, ok
}

// Dropping counts for each dropped volume the blocks that have still to come back.
func (s *Store) Dropping() map[cluster.VolumeKey]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m.Dropping()
}

// Free is how many blocks are free now. It does not wait for the store's lock.
func (s *Store) Free() uint64 { return s.free.Load() }

// Stats tells how the store is doing.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.mu.m.Usage()
	return Stats{TotalBlocks: u.Total, FreeBlocks: u.Free, LiveBlocks: u.Live, PendingBlocks: u.Pending,
		DroppedBlocks: u.Dropped, Tombstones: u.Tombstones, BadVersions: u.Bad, Incarnation: s.incarnation,
		RAM: s.mu.m.RAM(), DurableLog: s.mu.log.durable, Traffic: s.mu.traffic,
		Log:  RingStats{Bytes: s.lay.logBlocks * BlockSize, Used: s.mu.log.used()},
		Ring: RingStats{Bytes: s.lay.ckptBlocks * BlockSize, Used: s.mu.ckpt.used()}, Repaired: s.repaired}
}

// Check verifies the invariants of the map in memory. Bugs of ours are the only reason for an error.
func (s *Store) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.m.Check()
}

// Closed reports that the store has been closed. What List, ListBad, Volume and Volumes say is a fact only if
// it is false afterwards: of a closed store they know nothing.
func (s *Store) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.closed
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
	var err error
	if s.mu.m, err = pagemap.New(1); err == nil { // for who asks a closed store: nothing is here
		s.mu.mem.close()
	}
	return err
}

// purge gives the space of dropped volumes and of pins back: a piece now, the rest by a goroutine that lets
// others in.
func (s *Store) purge() {
	if s.stepwise > 0 {
		s.mu.m.Purge(s.stepwise)
		return
	}
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
