package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// An attempt to change the owner record is given up early at first and tried again: a proposal that was under
// way when etcd's leader died, or that went to a member that hangs, is lost, while the next one finds a new
// leader. arbiterRetry is the pause in between.
const (
	arbiterFirst   = 400 * time.Millisecond
	arbiterTimeout = 3 * time.Second
	arbiterRetry   = 100 * time.Millisecond
)

// attemptTimeout bounds attempt n, counted from 0.
func attemptTimeout(n int) time.Duration { return min(arbiterFirst<<min(n, 8), arbiterTimeout) }

// session is one period of ownership: the engine of one owner epoch with its lock.
type session struct {
	v     *Volume
	epoch uint32
	seal  sealing
	ctx   context.Context // ends with the session
	stop  context.CancelFunc
	ended atomic.Bool

	walking  walking
	settling settling

	mu    sync.Mutex // guards eng, ops, tally and told
	eng   *engine.Engine
	ops   uint64 // of hosts, so far
	tally        // of those that the engine has done

	unsampled uint32          // operations since the last sample
	told      engine.Counters // as they were logged last

	cleared atomic.Bool // no other gateway can be answering hosts any more
	ready   atomic.Bool // the engine serves
	served  atomic.Bool // recorded, or being recorded, in the owner record
	serving atomic.Bool // hosts are let in

	rec struct { // the owner record; held while it is being changed
		sync.Mutex
		owner cluster.Owner
		rev   atomic.Int64
	}
	held struct { // completions that wait for the lease
		sync.Mutex
		first, last *hostIO
	}
}

func (s *session) revision() int64 { return s.rec.rev.Load() }

// owns tells whether a record names this session.
func (s *session) owns(o *cluster.OwnerAt) bool {
	return o.Gateway == s.v.g.o.Self && o.Epoch == s.epoch
}

// submit hands an operation to the engine and carries out what follows.
func (s *session) submit(h *hostIO) {
	op := &h.op
	h.began, h.resumed = s.v.g.now(), 0
	rd := s.v.g.pools.ready.Get().(*engine.Ready)
	s.mu.Lock()
	s.ops++
	if h.asked != 0 {
		s.stages[stats.Limits][direction(op.Kind)].Add(uint64(h.began - h.asked))
		h.asked = 0
	}
	if h.outdated() {
		s.mu.Unlock()
		s.v.g.pools.ready.Put(rd)
		op.Status = engine.PathGone
		s.finish(h)
		return
	}
	s.eng.Submit(op)
	s.drain(rd)
	s.mu.Unlock()
	s.carryOut(rd)
}

// ChunkDone implements chunk.Completer.
func (s *session) ChunkDone(r *chunk.Request) {
	rd := s.v.g.pools.ready.Get().(*engine.Ready)
	s.mu.Lock()
	s.eng.ChunkDone(r)
	s.drain(rd)
	s.mu.Unlock()
	s.carryOut(rd)
}

func (s *session) tick() {
	rd := s.v.g.pools.ready.Get().(*engine.Ready)
	s.mu.Lock()
	s.walking.resting.Store(false) // this rouses nobody
	s.eng.Tick()
	s.drain(rd)
	s.walking.resting.Store(s.eng.Quiet() && s.unasked())
	now, told := s.eng.Counters, s.told
	s.told = now
	s.mu.Unlock()
	s.carryOut(rd)
	s.releaseHeld()
	s.settleSnapshots()
	s.takeGroups()
	s.recallLent()
	s.report(told, now)
}

// rouse has the session ticked: it is not at rest. s.mu is held.
func (s *session) rouse() {
	if s.walking.resting.Load() {
		s.walking.resting.Store(false)
		s.v.g.rouse(s.v)
	}
}

// unasked reports that nobody waits for the session to do anything but what its engine does. s.mu is held.
func (s *session) unasked() bool {
	a := &s.v.asked
	return s.serving.Load() && a.unsettled.Load() == nil && a.sets.Load() == nil && !s.flattens() && !s.cuts() &&
		len(s.settling.group.lent) == 0 && !s.holds()
}

// report logs what was found wrong between two ticks.
func (s *session) report(told, now engine.Counters) {
	if n := now.Repaired - told.Repaired; n > 0 {
		s.log().WithField("blocks", n).Warn("bad blocks of the volume were repaired")
	}
	if n := now.Disagreed - told.Disagreed; n > 0 {
		s.log().WithField("rows", n).Error("parities of the volume were not what its data makes; the rows are " +
			"written anew")
	}
}

// suspect tells the engine that a device holds bad blocks. What it makes of that it does at its next ticks.
func (s *session) suspect(device cluster.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rouse()
	s.eng.Suspect(device)
}

// followNear names the sessions that have to know that devices, or this node, lie elsewhere now. g.mu is
// held.
func (g *Gateway) followNear(m *cluster.Map) (turned []*session) {
	near := m.Near(g.o.Self)
	if was := g.near.Swap(&near); was != nil && maps.Equal(near, *was) {
		return nil
	}
	for _, v := range g.mu.volumes {
		if ses := v.session.Load(); ses != nil {
			turned = append(turned, ses)
		}
	}
	return turned
}

// followNear tells the engine how near devices are.
func (s *session) followNear() {
	s.withEngine(func(e *engine.Engine) { e.SetNear(*s.v.g.near.Load()) })
}

// followTables hands the newest group table of the pool to the engine.
func (s *session) followTables() {
	tables := s.v.g.tables(s.v)
	newest := tables[uint32(len(tables)-1)]
	rd := s.v.g.pools.ready.Get().(*engine.Ready)
	s.mu.Lock()
	s.eng.SetTable(newest)
	s.drain(rd)
	s.mu.Unlock()
	s.carryOut(rd)
}

// carryOut does what the engine wants done. No lock is held: requests to local devices may come back at once.
func (s *session) carryOut(rd *engine.Ready) {
	for i, r := range rd.Sends {
		rd.Sends[i] = nil
		r.Completer = s
		s.v.g.o.Chunks.Submit(r)
	}
	for i, op := range rd.Done {
		rd.Done[i] = nil
		switch t := op.Tag.(type) {
		case *hostIO:
			t.unseal()
			s.finish(t)
		case errand:
			t.returned()
		}
	}
	for i, r := range rd.Parent {
		rd.Parent[i] = nil
		s.inherit(r)
	}
	if rd.Record != nil {
		go s.record(rd.Record)
	}
	fenced, exhausted := rd.Fenced, rd.Exhausted
	if rd.Serving && !s.ready.Swap(true) {
		s.serve()
	}
	s.v.g.pools.ready.Put(rd)
	if fenced {
		s.end("a device or the owner record knows a newer owner")
	} else if exhausted {
		s.end("the sequence numbers of this owner epoch run out")
	}
}

// answerable tells whether hosts may be answered now with what has been read or written before this call. The
// order of the two looks matters: a renewal that takes the volume away ends the session before it counts, so
// a lease that was seen valid is this session's own only if the session is not over even after that.
func (s *session) answerable() (now, ended bool) {
	leased := s.v.g.leased()
	ended = s.ended.Load()
	return leased && !ended, ended
}

// finish answers a host if the lease allows it, else keeps the answer back.
func (s *session) finish(h *hostIO) {
	if h.op.Status == engine.PathGone {
		h.done()
		return
	}
	switch now, ended := s.answerable(); {
	case now:
		h.done()
	case ended:
		h.op.Status = engine.PathGone
		h.done()
	default:
		s.hold(h, h)
		if s.ended.Load() {
			s.releaseHeld()
		}
	}
}

// hold keeps a list of answers back.
func (s *session) hold(first, last *hostIO) {
	s.held.Lock()
	defer s.held.Unlock()
	if s.held.last == nil {
		s.held.first = first
	} else {
		s.held.last.next = first
	}
	s.held.last = last
	s.v.g.rouse(s.v)
}

// holds reports that answers are kept back.
func (s *session) holds() bool {
	s.held.Lock()
	defer s.held.Unlock()
	return s.held.first != nil
}

// releaseHeld answers what was kept back: as it is while the lease is valid, with a path error once the
// session is over. The lease is looked at after the answers have been taken: one that is kept back later,
// when the lease has run out again, must not slip in.
func (s *session) releaseHeld() {
	s.held.Lock()
	h, last := s.held.first, s.held.last
	s.held.first, s.held.last = nil, nil
	s.held.Unlock()
	if h == nil {
		return
	}
	now, ended := s.answerable()
	if !now && !ended {
		s.hold(h, last)
		if s.ended.Load() { // end() may have found nothing
			s.releaseHeld()
		}
		return
	}
	for h != nil {
		next := h.next
		h.next = nil
		if ended {
			h.op.Status = engine.PathGone
		}
		h.done()
		h = next
	}
}

// serve lets hosts in once the engine is ready, no other gateway can be answering, and the owner record says
// so.
func (s *session) serve() {
	if !s.ready.Load() || !s.cleared.Load() || s.served.Swap(true) {
		return
	}
	go func() {
		if s.store(func(o *cluster.Owner) { o.Served = s.epoch }) != nil {
			s.end("the owner record names another owner or is gone")
			return
		}
		s.withEngine((*engine.Engine).Served)
		s.serving.Store(true)
		if s.ended.Load() { // end() may have looked before the line above
			s.serving.Store(false)
			return
		}
		s.log().Info("volume is served here")
		s.v.g.counts.served.Add(1)
		s.v.g.o.Events.AccessChanged(s.v)
		s.settleSnapshots()
		s.takeGroups()
	}()
}

// record stores a change that the engine asked for and tells it the outcome.
func (s *session) record(next *cluster.Owner) {
	ok := s.store(func(o *cluster.Owner) { o.Journal, o.Layout = next.Journal, next.Layout }) == nil
	if s.ctx.Err() != nil {
		return
	}
	if ok {
		s.log().WithFields(logrus.Fields{"journal": next.Journal.Members, "layout": next.Layout}).
			Info("placement of the volume recorded")
	}
	s.withEngine(func(e *engine.Engine) { e.Recorded(ok) })
}

// errUnheard says that no majority of the voters has answered; see Gateway.confirm.
var errUnheard = errors.New("no majority of the voters answers this node: it may be the one that is cut off")

// store changes the owner record of this session, and records of snapshots with it, however long the store is
// away, and tells the engine. change is called again when somebody was faster: the coordinator of a group
// snapshot. errMoved: nothing was changed, because a snapshot's record has moved. Any other error: somebody
// else owns the volume, or the session is over.
func (s *session) store(change func(*cluster.Owner), with ...cluster.SnapshotAt) error {
	err := s.changeRecord(change, with)
	s.noteRecord()
	return err
}

func (s *session) changeRecord(change func(*cluster.Owner), with []cluster.SnapshotAt) error {
	s.rec.Lock()
	defer s.rec.Unlock()
	for n := 0; s.ctx.Err() == nil; n++ {
		next := s.rec.owner.Clone()
		change(&next)
		err := errUnheard
		if next.Journal.Version == s.rec.owner.Journal.Version || s.v.g.confirm(s.ctx) {
			err = s.swap(next, with, attemptTimeout(n))
		}
		switch {
		case err == nil, errors.Is(err, cluster.ErrConflict), errors.Is(err, cluster.ErrNoRecord),
			errors.Is(err, errMoved):
			return err
		case errors.Is(err, errOvertaken):
			continue
		}
		s.log().WithError(err).Warn("owner record cannot be changed now, trying again")
		select {
		case <-s.ctx.Done():
		case <-time.After(arbiterRetry):
		}
	}
	return s.ctx.Err()
}

// swap is one attempt. A conflict may be our own earlier attempt whose answer was lost, or a group snapshot:
// the record tells. Of an epoch nobody else writes it, and a group snapshot is taken of the revision that the
// session knows, so what is there is the one or the other.
func (s *session) swap(next cluster.Owner, with []cluster.SnapshotAt, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	rev, err := s.v.g.o.Arbiter.SwapOwner(ctx, s.v.key, s.revision(), next, with...)
	if err == nil {
		s.adopt(next, rev)
		return nil
	}
	if !errors.Is(err, cluster.ErrConflict) {
		return err
	}
	now, rev, err := s.v.g.o.Arbiter.Owner(ctx, s.v.key)
	switch {
	case err != nil:
		return err
	case now.Gateway != next.Gateway || now.Epoch != next.Epoch || now.Released:
		return cluster.ErrConflict
	case rev == s.revision() && len(with) > 0:
		return errMoved
	}
	s.adopt(now, rev)
	if now.Equal(&next) {
		return nil
	}
	return errOvertaken
}

// adopt takes a record as this session's present one. s.rec is held.
func (s *session) adopt(o cluster.Owner, rev int64) {
	s.rec.owner = o
	s.rec.rev.Store(rev)
}

// end stops the session for good. Operations come back as path errors when none of their requests is
// outstanding.
func (s *session) end(why string) {
	if s.ended.Swap(true) {
		return
	}
	s.log().WithField("reason", why).Info("volume is no longer served here")
	s.v.g.counts.ended.Add(1)
	s.stop()
	was := s.serving.Swap(false)
	rd := s.v.g.pools.ready.Get().(*engine.Ready)
	s.mu.Lock()
	s.eng.Stop()
	s.drain(rd)
	s.mu.Unlock()
	s.carryOut(rd)
	s.releaseHeld()
	if f := s.v.flow.Load(); f != nil {
		f.t.drain(f.f)
	}
	s.v.g.books.leave(s)
	s.v.g.rouse(s.v)
	if was {
		s.v.g.o.Events.AccessChanged(s.v)
	}
}

// release stops serving and, if everything under way has ended in time, says so in the owner record, so that
// the next owner need not wait for the lease.
func (s *session) release(ctx context.Context) {
	wasServing := s.serving.Load()
	next := s.v.g.successor(s.v)
	s.end("the node is stopping") // before the record is looked at: a change of it may be waiting for etcd
	if !wasServing {
		return
	}
	owner, rev := s.snapshot()
	for !s.idle() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	owner.Released, owner.Gateway = true, next
	if _, err := s.v.g.o.Arbiter.SwapOwner(ctx, s.v.key, rev, owner); err != nil {
		s.log().WithError(err).Warn("could not hand the volume over; the next owner waits for the lease")
	}
}

func (s *session) snapshot() (cluster.Owner, int64) {
	s.rec.Lock()
	defer s.rec.Unlock()
	return s.rec.owner.Clone(), s.rec.rev.Load()
}

func (s *session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.Idle()
}

func (s *session) stats() cluster.VolumeStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, c := s.eng.Stats(), s.eng.Counters
	st := cluster.VolumeStats{Key: s.v.key, Epoch: s.epoch, State: "opening", Down: now.Down,
		Away: uint64(now.Away), Stale: uint64(now.Stale), MovingTo: now.MovingTo, MovedGroups: now.Cursor,
		Copied: c.Copied * cluster.BlockSize, RepairedBad: c.Repaired, DegradedRead: c.Degraded,
		Unrepaired: uint64(now.Bad), Disagreed: c.Disagreed, Compared: c.AuditPasses, Packed: packedPercent(&c)}
	if s.serving.Load() {
		st.State = "serving"
	}
	if len(now.Full) > 0 {
		st.Reason = fmt.Sprintf("no room for its metadata on devices %v", now.Full)
	}
	return st
}

var _ chunk.Completer = (*session)(nil)
