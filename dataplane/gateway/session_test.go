package gateway

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// heldSession is a session that serves, of a gateway whose lease the test sets.
func heldSession() *session {
	log := logrus.New()
	log.SetOutput(io.Discard)
	g := &Gateway{start: time.Now(), o: Options{Log: logrus.NewEntry(log)}}
	g.pools.init(g)
	s := &session{v: &Volume{g: g}, epoch: 1}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.serving.Store(true)
	s.v.session.Store(s)
	return s
}

func (s *session) lease(d time.Duration) { s.v.g.validUntil.Store(s.v.g.now() + int64(d)) }

// answer lets the engine's success of one read reach the host, and returns what the host gets; unanswered
// stays nil.
func (s *session) answer() *nvme.Status {
	var got *nvme.Status
	h := &hostIO{s: s}
	h.req = nvmet.NewRequest(nvme.Command{}, nil, func(_ *nvmet.Request, st nvme.Status, _, _ uint32) {
		got = &st
	})
	h.op = engine.Op{Kind: engine.Read, Status: engine.OK, Tag: h}
	s.finish(h)
	if got == nil {
		s.releaseHeld()
	}
	return got
}

// TestAnswersFollowTheLease: an answer goes out while the lease is valid, waits while it is not, and turns
// into a path error when the volume is lost.
func TestAnswersFollowTheLease(t *testing.T) {
	s := heldSession()
	s.lease(time.Hour)
	if st := s.answer(); st == nil || *st != nvme.Success {
		t.Errorf("with a lease: %v", st)
	}
	s.lease(-1)
	var got []nvme.Status
	for range 3 {
		h := &hostIO{s: s}
		h.req = nvmet.NewRequest(nvme.Command{}, nil, func(_ *nvmet.Request, st nvme.Status, _, _ uint32) {
			got = append(got, st)
		})
		h.op.Tag = h
		s.finish(h)
		s.releaseHeld()
	}
	if len(got) != 0 {
		t.Errorf("without a lease: %v", got)
	}
	s.lease(time.Hour)
	s.releaseHeld()
	if len(got) != 3 || got[0] != nvme.Success || got[2] != nvme.Success {
		t.Errorf("with a lease again: %v", got)
	}
}

// TestALostVolumeIsNotAnsweredUnderANewLease: a hung owner goes on. It has read its own device, which nobody
// could fence; the next renewal brings the fence, ends the session and makes the lease valid again, for other
// volumes. The read that was under way must not profit from that.
func TestALostVolumeIsNotAnsweredUnderANewLease(t *testing.T) {
	s := heldSession()
	s.lease(-1)
	s.ended.Store(true) // what session.end does first
	s.lease(time.Hour)  // what the renewal does next
	if st := s.answer(); st == nil || *st != nvme.AsymmetricAccessInaccessible {
		t.Errorf("the old owner answers %v", st)
	}
}

// TestTheOwnerTellsOfANewSizeFirst: a host that heard of it from another node would send what the owner still
// takes for out of range.
func TestTheOwnerTellsOfANewSizeFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		told := func() []cluster.NodeID {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Clone(w.told)
		}
		w.mu.Lock()
		w.size, w.cut[[2]cluster.NodeID{1, 0}] = 2<<20, true // node 2 hears of it first
		w.mu.Unlock()
		w.watch()
		pass(announceLater / 2)
		if got := told(); len(got) > 0 {
			t.Fatalf("hosts were told by %v", got)
		}
		w.set(false, 1, 0)
		if got := told(); !slices.Equal(got, []cluster.NodeID{1}) {
			t.Fatalf("hosts were told by %v, not by the owner", got)
		}
		w.until("node 2 tells", func() bool { return slices.Equal(told(), []cluster.NodeID{1, 2}) })
	})
}
