package gateway

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// A group snapshot is snapshots of several volumes that no host can tell from one moment: if it shows a
// write, it shows all that were acknowledged before that write was submitted, to whichever of the volumes.
// The owner of the first volume (together.go) asks the owners of all:
//
//	hold     no write of a host begins any more; once all have said so,
//	pin      the pin is taken, and writes go on; once all have one,
//	         one transaction of etcd puts the pins into all view lists
//
// A write with a number below the pin began before its volume was held; what was acknowledged before it was
// submitted ended before the last volume was held, so before any pin was taken. Nothing waits for etcd, and
// nothing has to drain.
//
// Until the transaction is made or can be made no more a pin is lent. The transaction compares the revision
// that the owner record had when the pin was taken; so a pin that the record of a later revision does not
// name will never be named, and is given up. Whoever has lent one for long makes such a revision.

const (
	// writesHeld is how long hosts' writes wait for a group snapshot; then it comes to nothing.
	writesHeld = 250 * time.Millisecond
	// lentLimit is how long a pin is lent before its owner makes sure that it will not be recorded.
	lentLimit = 2 * time.Second
	// maxLentPins bounds the pins of a volume that are lent at the same time.
	maxLentPins = 8
)

var (
	errNotOwned = errors.New("the volume is not served here")
	errHeld     = errors.New("another group snapshot holds the volume's writes, or its pins are not settled")
	errNotHeld  = errors.New("the volume's writes are not held any more")
)

// lending is what a session does for group snapshots.
type lending struct {
	// Guarded by session.mu:
	round uint64      // of the group snapshot that hosts' writes wait for; 0: they do not
	limit *time.Timer // ends that
	lent  []lentPin

	recalling atomic.Bool
}

type lentPin struct {
	cluster.Pinned
	round uint64
	since time.Time
}

// GroupStep does what the coordinator of a group snapshot asks of the owner of a volume. A round is one
// attempt to take one.
func (g *Gateway) GroupStep(vol cluster.VolumeKey, round uint64, step cluster.GroupStep) (p cluster.Pinned,
	err error) {
	s, _ := g.ownerOf(vol)
	if s == nil {
		return p, errNotOwned
	}
	s.withEngine(func(e *engine.Engine) {
		switch step {
		case cluster.GroupHold:
			err = s.holdWrites(e, round)
		case cluster.GroupPin:
			p, err = s.lend(e, round)
		case cluster.GroupRelease:
			s.resumeWrites(e, round)
			s.takeBack(e, func(l *lentPin) bool { return l.round == round })
		default:
			err = errors.New("no step of a group snapshot")
		}
	})
	return p, err
}

// holdWrites lets no write of a host begin, but not for long. s.mu is held, as for the following.
func (s *session) holdWrites(e *engine.Engine, round uint64) error {
	switch l := &s.settling.group.lending; {
	case s.ended.Load():
		return errNotOwned
	case l.round == round:
	case l.round != 0 || len(l.lent) >= maxLentPins:
		return errHeld
	default:
		e.HoldWrites()
		l.round = round
		l.limit = time.AfterFunc(writesHeld, func() {
			s.withEngine(func(e *engine.Engine) { s.resumeWrites(e, round) })
		})
	}
	return nil
}

func (s *session) resumeWrites(e *engine.Engine, round uint64) {
	if s.settling.group.round == round {
		s.settling.group.limit.Stop()
		s.settling.group.round = 0
		e.ResumeWrites()
	}
}

// lend takes the pin for a group snapshot, and lets writes go on.
func (s *session) lend(e *engine.Engine, round uint64) (cluster.Pinned, error) {
	if s.settling.group.round != round || s.ended.Load() {
		return cluster.Pinned{}, errNotHeld
	}
	p := cluster.Pinned{Pin: e.Pin(), Revision: s.rec.rev.Load()}
	s.settling.group.lent = append(s.settling.group.lent, lentPin{Pinned: p, round: round, since: time.Now()})
	s.resumeWrites(e, round)
	return p, nil
}

// takeBack gives up lent pins that no view list will name; of those that the engine's list names nothing
// changes.
func (s *session) takeBack(e *engine.Engine, which func(*lentPin) bool) {
	s.settling.group.lent = slices.DeleteFunc(s.settling.group.lent, func(l lentPin) bool {
		if !which(&l) {
			return false
		}
		e.Unpin(l.Pin)
		return true
	})
}

// noteRecord brings the view list of the record to the engine, and settles what was lent before it.
func (s *session) noteRecord() {
	owner, rev := s.snapshot()
	s.withEngine(func(e *engine.Engine) {
		e.SetView(owner.View)
		s.takeBack(e, func(l *lentPin) bool { return l.Revision < rev })
	})
}

// followRecord takes a record that the coordinator of a group snapshot has changed. While this session
// changes it, it finds out by itself.
func (s *session) followRecord(o *cluster.OwnerAt) {
	if !s.rec.TryLock() {
		return
	}
	if o.Revision > s.revision() {
		s.adopt(o.Owner.Clone(), o.Revision)
	}
	s.rec.Unlock()
	s.noteRecord()
}

// recallLent settles pins of whose coordinator nothing was heard: it writes the record, so that no
// transaction of before can be made any more, or finds that it was.
func (s *session) recallLent() {
	s.mu.Lock()
	late := len(s.settling.group.lent) > 0 && time.Since(s.settling.group.lent[0].since) > lentLimit
	s.mu.Unlock()
	if !late || s.settling.group.recalling.Swap(true) {
		return
	}
	go func() {
		defer s.settling.group.recalling.Store(false)
		if s.store(func(*cluster.Owner) {}) != nil {
			s.end("the owner record names another owner or is gone")
		}
	}()
}
