package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

const (
	// rankDelay is how much longer each further candidate waits before it takes a volume over itself.
	rankDelay = time.Second
	// retryDelay is the pause after a take-over that failed.
	retryDelay = 500 * time.Millisecond
	// settleIn is how long after it was first met a node may take to open its devices; an open waits for them.
	settleIn = 5 * time.Second
	// probeTimeout bounds one look whether a node refuses connections.
	probeTimeout = 300 * time.Millisecond
	// fenceTimeout bounds one attempt to store a fence at a voter.
	fenceTimeout = time.Second
)

// consider decides whether this node should take a volume without a session here over, and starts that. True:
// it should now or soon.
func (g *Gateway) consider(v *Volume) (wanted bool) {
	now := time.Now()
	g.mu.Lock()
	if g.mu.closed || g.mu.state == nil {
		g.mu.Unlock()
		return false
	}
	o := g.mu.state.Owners[v.key]
	asked := g.asked(v.key, o) == g.o.Self // though perhaps it cannot be had yet
	rank := -1
	switch {
	case o == nil:
	case o.Gateway == g.o.Self || g.suspected(o.Gateway):
		rank = g.rank(v.key, o)
	case g.called(v.key, o), v == g.attracting.drawn && g.movable(v.key, o):
		rank = 0
	}
	g.mu.Unlock()
	if rank < 0 {
		v.vacant.unowned = time.Time{}
		return asked
	}
	if v.vacant.unowned.IsZero() {
		v.vacant.unowned = now
	}
	turn := v.vacant.unowned.Add(time.Duration(rank) * rankDelay)
	if now.Before(v.vacant.retry) || now.Before(turn) || !g.leased() {
		return true
	}
	if v.opening.Swap(true) {
		return true
	}
	if v.session.Load() != nil { // a take-over has just ended well; while opening is ours no other begins
		v.opening.Store(false)
		return true
	}
	v.vacant.retry = now.Add(retryDelay)
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		defer v.opening.Store(false)
		select {
		case g.opens <- struct{}{}:
		case <-g.ctx.Done():
			return
		}
		defer func() { <-g.opens }()
		if err := g.takeOver(v, o); err != nil && !errors.Is(err, cluster.ErrConflict) &&
			!errors.Is(err, errLocked) {
			g.counts.failed.Add(1)
			g.o.Log.WithError(err).WithField("volume", v.uuid.String()).Warn("take-over failed")
		}
	}()
	return true
}

// suspected reports whether a node seems to be gone: a majority of voters has not heard of it, or it refuses
// connections. g.mu is held.
func (g *Gateway) suspected(n cluster.NodeID) bool {
	if n == g.o.Self {
		return false
	}
	if _, silent := g.mu.silent[n]; silent {
		return true
	}
	return g.mu.holder != nil && g.mu.holder.Suspects(n, g.now())
}

// rank is this node's place among those that could take a volume over: 0 takes it at once. The owner named in
// the record comes first, the others in the volume's order. g.mu is held.
func (g *Gateway) rank(key cluster.VolumeKey, o *cluster.OwnerAt) int {
	if o.Gateway == g.o.Self {
		return 0
	}
	return slices.Index(g.candidates(key, o), g.o.Self)
}

// candidates lists the nodes that seem to be alive in the volume's order: first the one that was asked to
// take it over, then those that are nearest to its home, those that are equally near in an order that differs
// from volume to volume. g.mu is held.
func (g *Gateway) candidates(key cluster.VolumeKey, o *cluster.OwnerAt) []cluster.NodeID {
	var out []cluster.NodeID
	for n := range g.mu.state.Map.Nodes {
		if !g.suspected(n) {
			out = append(out, n)
		}
	}
	asked := g.asked(key, o)
	at := g.home(key)
	turn := func(n cluster.NodeID) int {
		if n == asked {
			return math.MinInt
		}
		near := cluster.Nearness(at, g.mu.state.Map.Nodes[n].Path())
		return placement.Group(key, uint64(n)) - near*cluster.Groups
	}
	slices.SortFunc(out, func(a, b cluster.NodeID) int { return cmp.Compare(turn(a), turn(b)) })
	return out
}

// successor names the node that a volume is handed to when this one stops.
func (g *Gateway) successor(v *Volume) cluster.NodeID {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.candidates(v.key, g.mu.state.Owners[v.key]) {
		if n != g.o.Self && g.o.Votes.Connected(n) {
			return n
		}
	}
	return g.o.Self
}

// probeSilent looks whether nodes that are not connected refuse connections: then their process is gone, and
// nobody needs to wait until the voters notice.
func (g *Gateway) probeSilent() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.state == nil {
		return
	}
	for n := range g.mu.state.Map.Nodes {
		if n == g.o.Self || g.o.Votes.Connected(n) {
			delete(g.mu.silent, n)
			if g.mu.met[n].IsZero() {
				g.mu.met[n] = time.Now()
			}
			continue
		}
		if g.mu.probing[n] {
			continue
		}
		g.mu.probing[n] = true
		go func() {
			ctx, cancel := context.WithTimeout(g.ctx, probeTimeout)
			defer cancel()
			refused := g.o.Votes.Refused(ctx, n)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.mu.probing[n] = false
			if !refused {
				delete(g.mu.silent, n)
			} else if _, ok := g.mu.silent[n]; !ok {
				g.mu.silent[n] = time.Now()
			}
		}()
	}
}

// takeOver makes this gateway the owner and opens the volume.
func (g *Gateway) takeOver(v *Volume, prev *cluster.OwnerAt) error {
	if v.geoErr != nil {
		return v.geoErr
	}
	cipher, err := g.unlock(v)
	if err != nil {
		return err
	}
	if prev.Epoch >= cluster.MaxOwnerEpoch {
		return fmt.Errorf("volume %v: owner epochs are used up", v.key)
	}
	next := prev.Owner.Clone()
	next.Gateway, next.Epoch, next.Released = g.o.Self, prev.Epoch+1, false
	if parent := v.parent.Load(); parent != nil {
		next.View = next.View.OfClone()
	}
	ctx, cancel := context.WithTimeout(g.ctx, attemptTimeout(v.attempts))
	rev, err := g.o.Arbiter.SwapOwner(ctx, v.key, prev.Revision, next)
	cancel()
	v.attempts++
	if err != nil {
		return fmt.Errorf("become owner of volume %v: %w", v.key, err)
	}
	v.attempts = 0
	s := &session{v: v, epoch: next.Epoch}
	packer := s.protect(cipher)
	s.settling.pins, s.settling.done = make(map[cluster.UUID]cluster.Seq), make(map[cluster.UUID]int64)
	s.ctx, s.stop = context.WithCancel(g.ctx)
	s.walking.audit.due = time.Now().Add(g.o.Audit.Interval / auditFirst)
	s.walking.flatten.recorded, s.walking.cut.recorded = next.Flattened, next.Cleared
	s.rec.owner = next
	s.rec.rev.Store(rev)
	awaited, doubted, patience := g.outlook()
	s.eng, err = engine.New(engine.Config{Vol: v.key, Owner: next, Geometry: v.geometry, Code: v.code,
		Tables: g.tables(v), View: next.View, Parent: v.inherits(), Flattened: next.Flattened,
		Cut: s.cut(), MinColumns: v.minColumns, Near: *g.near.Load(), Patience: int(patience / tickEvery),
		Awaited: awaited, Doubted: doubted, Packer: packer})
	if err != nil {
		s.stop()
		return err
	}
	if !g.enter(s) {
		s.stop()
		return fmt.Errorf("open volume %v: %w: it was deleted, has a newer owner, or this node stops", v.key,
			cluster.ErrConflict)
	}
	s.followNear() // what came between
	s.followTables()
	s.followShape()
	s.log().WithFields(logrus.Fields{"from": prev.Gateway}).Info("taking the volume over")
	g.counts.taken.Add(1)
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		s.awaitPredecessors(prev)
	}()
	s.tick()
	return nil
}

// enter makes s the session of its volume, unless that came to nothing while the owner record was changed:
// whoever deletes the volume or its key, names a newer owner or closes the gateway after this finds the
// session.
func (g *Gateway) enter(s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.mu.state.Owners[s.v.key]
	if g.mu.closed || g.mu.volumes[s.v.key] != s.v || s.v.keyDestroyed() ||
		o != nil && o.Revision > s.revision() {
		return false
	}
	if !s.v.session.CompareAndSwap(nil, s) {
		panic("gateway: a second session for one volume")
	}
	g.books.enter(s)
	g.rouse(s.v)
	return true
}

// outlook tells for each device whether it may come up any moment, and whether it seems to be gone: a node
// that was met and is not heard of any more did not take long to start, it died.
// Patience is how long to wait for those that may come up: for the devices of a node that was met until
// settleIn after that, for others until Options.Patience after the start of this process.
func (g *Gateway) outlook() (awaited, doubted map[cluster.DeviceID]bool, patience time.Duration) {
	awaited, doubted = make(map[cluster.DeviceID]bool), make(map[cluster.DeviceID]bool)
	starting := g.o.Patience - time.Since(g.start)
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, d := range g.mu.state.Map.Devices {
		left := starting
		if met := g.mu.met[d.Node]; !met.IsZero() {
			left = min(left, settleIn-time.Since(met))
			doubted[id] = g.suspected(d.Node)
		}
		if awaited[id] = left > 0 && !doubted[id]; awaited[id] {
			patience = max(patience, left)
		}
	}
	return awaited, doubted, patience
}

// awaitPredecessors returns when no earlier owner can be answering hosts any more, or when the session is
// over. When the one before has served, all before that one had stopped: it is the only one to wait for.
func (s *session) awaitPredecessors(prev *cluster.OwnerAt) {
	heard, ok := s.fenceVoters(prev.Gateway)
	if !ok {
		return
	}
	sole := prev.Served == prev.Epoch
	wait := lease.Duration
	switch {
	case prev.Epoch == 0, // nobody ever answered for this volume
		sole && prev.Released,
		sole && prev.Gateway == s.v.g.o.Self: // an earlier process or an ended session of this very node
		wait = 0
	case sole:
		wait = lease.Clear(heard) - s.v.g.now()
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Duration(wait))
	defer cancel()
	for ctx.Err() == nil && !(sole && s.silenced(ctx, prev.Gateway)) {
		select {
		case <-ctx.Done():
		case <-time.After(arbiterRetry):
		}
	}
	if s.ctx.Err() == nil {
		s.cleared.Store(true)
		s.serve()
	}
}

// silenced reports whether a node has proved that it answers no host for this volume any more: it says so
// itself, or a connection begun after our record replaced its is refused, for its process has ended.
func (s *session) silenced(ctx context.Context, n cluster.NodeID) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	votes := s.v.g.o.Votes
	return votes.Refused(ctx, n) || votes.Yield(ctx, n, lease.Fence{Vol: s.v.key, Epoch: s.epoch}) == nil
}

// fenceVoters has a majority of voters store the fence, however long that takes, and tells when each of them
// had last heard of a gateway, on this one's clock and not too early. False: the session is over.
func (s *session) fenceVoters(about cluster.NodeID) (heard []int64, ok bool) {
	g := s.v.g
	stored := make(map[cluster.NodeID]int64)
	for s.ctx.Err() == nil {
		g.mu.Lock()
		voters := g.mu.state.Map.Voters
		g.mu.Unlock()
		type answer struct {
			node cluster.NodeID
			lease.Fenced
			at  int64
			err error
		}
		answers := make(chan answer, len(voters.Nodes))
		ctx, cancel := context.WithTimeout(s.ctx, fenceTimeout)
		asked := 0
		for _, n := range voters.Nodes {
			if _, done := stored[n]; done {
				continue
			}
			asked++
			go func() {
				f, err := g.o.Votes.Fence(ctx, n, lease.Fence{Vol: s.v.key, Epoch: s.epoch}, about)
				answers <- answer{n, f, g.now(), err}
			}()
		}
		for ; asked > 0 && len(stored) < voters.Majority(); asked-- {
			a := <-answers
			if a.err == nil && a.Known > s.epoch {
				cancel()
				s.end("a voter knows a newer owner")
				return nil, false
			}
			if a.err == nil {
				stored[a.node] = a.at - a.Silent
			}
		}
		cancel()
		if len(voters.Nodes) > 0 && len(stored) >= voters.Majority() {
			return slices.Collect(maps.Values(stored)), true
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(arbiterRetry):
		}
	}
	return nil, false
}

func (s *session) log() *logrus.Entry {
	return s.v.g.o.Log.WithFields(logrus.Fields{"volume": s.v.uuid.String(), "epoch": s.epoch})
}
