package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// A revert makes the volume what one of its snapshots shows. Hosts wait from the moment when nothing new
// begins until every device that serves has the view list which hides what was written since.

const (
	// holdLimit is how long hosts are kept waiting for the volume to be quiet; then the revert is put off.
	holdLimit = time.Second
	// holdAgain is the pause after a revert was put off for the first time, doubled up to holdAgainMost.
	holdAgain     = 2 * time.Second
	holdAgainMost = time.Minute
)

// putOff is when a revert that could not be done is tried again. Of the settling worker alone.
type putOff struct {
	times int
	until time.Time
}

func (p *putOff) again() {
	p.until = time.Now().Add(min(holdAgain<<min(p.times, 8), holdAgainMost))
	p.times++
}

// revert carries out the first revert of a list; false as for settle. No pin may be on its way to the record.
func (s *session) revert(list []cluster.SnapshotAt) bool {
	i := slices.IndexFunc(list, func(x cluster.SnapshotAt) bool {
		return x.State == cluster.SnapshotReverting && s.settling.done[x.UUID] < x.Revision
	})
	if i < 0 || len(s.settling.pins) > 0 || time.Now().Before(s.settling.later.until) {
		return false
	}
	x := list[i]
	owner, _ := s.snapshot()
	if !slices.Contains(owner.View.Pins, x.Pin) || len(owner.View.Hidden) >= cluster.MaxHidden {
		s.settling.done[x.UUID] = x.Revision
		s.log().WithField("snapshot", x.UUID.String()).Error("the volume cannot be reverted: the snapshot is not " +
			"in its view list, or that hides as much as it can")
		return false
	}
	if !s.arbiterAnswers() || !s.quiet() {
		s.settling.later.again()
		return false
	}
	s.settling.later = putOff{}
	return s.recordRevert(x)
}

// arbiterAnswers tells whether a change of the record is likely to succeed soon. Once one was sent whose
// outcome is unknown, hosts wait until it is known.
func (s *session) arbiterAnswers() bool {
	ctx, cancel := context.WithTimeout(s.ctx, arbiterFirst)
	defer cancel()
	_, _, err := s.v.g.o.Arbiter.Owner(ctx, s.v.key)
	return err == nil
}

// quiet waits until nothing is under way, and keeps it so; false: it took too long, and all goes on.
func (s *session) quiet() bool {
	held := make(chan struct{})
	s.withEngine(func(e *engine.Engine) {
		s.settling.held = held
		e.Hold()
	})
	limit := time.NewTimer(holdLimit)
	defer limit.Stop()
	select {
	case <-held:
		return true
	case <-limit.C:
		s.log().Warn("the volume does not get quiet; its revert is put off")
	case <-s.ctx.Done():
	}
	s.withEngine(func(e *engine.Engine) {
		s.settling.held = nil
		e.Resume()
	})
	return false
}

// noteHeld wakes who waits for a quiet volume. s.mu is held.
func (s *session) noteHeld() {
	if s.settling.held != nil {
		close(s.settling.held)
		s.settling.held = nil
	}
}

// recordRevert hides what was written since a snapshot, in the record and then on the devices. The volume is
// quiet.
func (s *session) recordRevert(x cluster.SnapshotAt) bool {
	var now cluster.Seq
	s.withEngine(func(e *engine.Engine) { now = e.Pin() })
	done := x
	done.State = cluster.SnapshotAvailable
	err := s.store(func(o *cluster.Owner) { // what a flatten has copied since is hidden, too
		o.View, o.Flattened = o.View.Reverted(x.Pin, now), cluster.Flattened{}
	}, done)
	switch {
	case errors.Is(err, errMoved): // its new record is on the way
		s.withEngine(func(e *engine.Engine) {
			e.Unpin(now)
			e.Resume()
		})
		return false
	case err != nil:
		s.end("the owner record names another owner or is gone")
		return false
	}
	s.settling.done[x.UUID] = x.Revision
	s.log().WithField("snapshot", x.UUID.String()).Info("the volume is reverted")
	return true
}
