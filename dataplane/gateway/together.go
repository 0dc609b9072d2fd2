package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// The owner of the first volume of a group snapshot takes it for all of them (group.go). It keeps nothing
// that lasts: whoever owns that volume next finds the same records.

const (
	// togetherAgain is the pause after an attempt has failed, doubled up to togetherAgainMost.
	togetherAgain     = 100 * time.Millisecond
	togetherAgainMost = 15 * time.Second
	// atOnce is how often an attempt is repeated at once that met another change of one of the records.
	atOnce = 3
	// recordAttempts bounds how often the transaction is tried while nobody says what has become of it.
	recordAttempts = 3
)

// parts are the snapshots of one group snapshot, none of which is taken yet.
type parts []cluster.SnapshotAt

// coordinating is what a session does for the group snapshots that it takes. Of its worker alone, but busy.
type coordinating struct {
	busy  atomic.Bool
	done  map[cluster.UUID]int64 // the revisions of what was taken, for news of that may be late
	times int
	until time.Time
}

// grouping is what a session has to do with group snapshots.
type grouping struct {
	lending
	coordinating
}

// gatherSets finds the group snapshots to take, each with the volume whose owner does it. A set that is not
// complete, for a record cannot be read, is left alone.
func gatherSets(s *cluster.State) map[cluster.VolumeKey][]parts {
	sets := make(map[cluster.UUID]parts)
	for _, x := range s.Snapshots {
		if x.State == cluster.SnapshotCreating && x.Set != nil {
			sets[x.Set.UUID] = append(sets[x.Set.UUID], *x)
		}
	}
	out := make(map[cluster.VolumeKey][]parts)
	for _, p := range sets {
		if len(p) == int(p[0].Set.Volumes) {
			first := p[0].Key
			for _, x := range p {
				if x.Key.VUID < first.VUID {
					first = x.Key
				}
			}
			out[first] = append(out[first], p)
		}
	}
	return out
}

// takeGroups takes the group snapshots that are this session's to take, in the background.
func (s *session) takeGroups() {
	if s.v.asked.sets.Load() == nil || !s.serving.Load() || s.settling.group.busy.Swap(true) {
		return
	}
	go func() {
		defer s.settling.group.busy.Store(false)
		c := &s.settling.group.coordinating
		list := s.v.asked.sets.Load()
		if list == nil || time.Now().Before(c.until) {
			return
		}
		done := make(map[cluster.UUID]int64)
		for _, p := range *list {
			id := p[0].Set.UUID
			if done[id] = c.done[id]; done[id] >= p[0].Revision {
				continue
			}
			err := s.v.g.takeTogether(p)
			for n := 0; n < atOnce && errors.Is(err, cluster.ErrConflict); n++ {
				err = s.v.g.takeTogether(p)
			}
			if err != nil {
				s.log().WithError(err).WithField("group_snapshot", id.String()).Warn("a group snapshot is put off")
				pause := min(togetherAgain<<min(c.times, 8), togetherAgainMost)
				c.until = time.Now().Add(pause + rand.N(pause)) // two that share volumes must not meet again
				c.times++
				continue
			}
			c.times, done[id] = 0, p[0].Revision
		}
		c.done = done
	}()
}

// round is one attempt to take a group snapshot.
type round struct {
	g     *Gateway
	id    uint64
	parts parts
	at    []cluster.NodeID // of the owners
}

// takeTogether makes one attempt. nil: it is taken. Else it is not, or nobody knows.
func (g *Gateway) takeTogether(p parts) error {
	r := &round{g: g, id: rand.Uint64() | 1, parts: p, at: make([]cluster.NodeID, len(p))}
	state := g.newest()
	for i := range p {
		o := state.Owners[p[i].Key]
		if o == nil || o.Gateway == 0 {
			return fmt.Errorf("volume %v has no owner", p[i].Key)
		}
		r.at[i] = o.Gateway
	}
	ctx, cancel := context.WithTimeout(g.ctx, writesHeld)
	defer cancel()
	_, err := r.ask(ctx, cluster.GroupHold)
	var pins []cluster.Pinned
	if err == nil {
		pins, err = r.ask(ctx, cluster.GroupPin)
	}
	var swaps []cluster.OwnerSwap
	if err == nil {
		swaps, err = r.name(pins, state)
	}
	maybe := false
	if err == nil {
		maybe, err = r.record(swaps, pins)
	}
	if err != nil && !maybe {
		later, cancel := context.WithTimeout(g.ctx, writesHeld)
		defer cancel()
		_, _ = r.ask(later, cluster.GroupRelease) // who does not hear of it finds out by itself
	}
	return err
}

func (g *Gateway) newest() *cluster.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.state
}

// ask has all owners do a step, at the same time.
func (r *round) ask(ctx context.Context, step cluster.GroupStep) ([]cluster.Pinned, error) {
	out, errs := make([]cluster.Pinned, len(r.parts)), make([]error, len(r.parts))
	var wg sync.WaitGroup
	for i, n := range r.at {
		vol := r.parts[i].Key
		wg.Go(func() {
			if n == r.g.o.Self {
				out[i], errs[i] = r.g.GroupStep(vol, r.id, step)
			} else {
				out[i], errs[i] = r.g.o.Peers.GroupStep(ctx, n, vol, r.id, step)
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// name makes the owner records whose view lists name the pins.
func (r *round) name(pins []cluster.Pinned, state *cluster.State) ([]cluster.OwnerSwap, error) {
	out := make([]cluster.OwnerSwap, len(pins))
	for i, p := range pins {
		vol := r.parts[i].Key
		at := state.Owners[vol]
		if at.Revision != p.Revision {
			ctx, cancel := context.WithTimeout(r.g.ctx, arbiterTimeout)
			o, rev, err := r.g.o.Arbiter.Owner(ctx, vol)
			cancel()
			if err != nil {
				return nil, fmt.Errorf("owner record of volume %v: %w", vol, err)
			}
			at = &cluster.OwnerAt{Owner: o, Revision: rev}
		}
		switch {
		case at.Revision != p.Revision:
			return nil, fmt.Errorf("owner record of volume %v: %w", vol, cluster.ErrConflict)
		case len(at.View.Pins) >= cluster.MaxPins:
			return nil, fmt.Errorf("volume %v has %d snapshots, more are not possible", vol, len(at.View.Pins))
		}
		next := at.Owner.Clone()
		next.View = next.View.WithPins([]cluster.Seq{p.Pin}, nil)
		out[i] = cluster.OwnerSwap{Volume: vol, Revision: p.Revision, Next: next}
	}
	return out, nil
}

// record makes the transaction; maybe: it failed, and may have been, or be, made all the same.
func (r *round) record(swaps []cluster.OwnerSwap, pins []cluster.Pinned) (maybe bool, err error) {
	taken := make([]cluster.SnapshotAt, len(r.parts))
	for i, x := range r.parts {
		x.State, x.Pin = cluster.SnapshotAvailable, pins[i].Pin
		taken[i] = x
	}
	for n := range recordAttempts {
		ctx, cancel := context.WithTimeout(r.g.ctx, attemptTimeout(n))
		err = r.g.o.Arbiter.SwapOwners(ctx, swaps, taken...)
		cancel()
		if err == nil || errors.Is(err, cluster.ErrConflict) || errors.Is(err, cluster.ErrNoRecord) {
			return n > 0, err
		}
	}
	return true, err
}
