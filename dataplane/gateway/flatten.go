package gateway

import (
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// The clones of a gateway that are being flattened (package engine, flatten.go) share a rate. How far each is
// goes into its owner record now and then: what is not recorded the next owner looks at again, and does not
// copy again.

const (
	// flattenRate is the bytes of clones that a gateway looks at in a second, and copies where they are the
	// parent's.
	flattenRate = 64 << 20
	// flattenNoted is how often the progress is recorded.
	flattenNoted = 10 * time.Second
)

// flattening is what a session knows of its flatten. Of the tick goroutine, where nothing else is said.
type flattening struct {
	rows     float64
	ops      uint64 // of hosts, as of the last tick
	noted    time.Time
	noting   atomic.Bool
	recorded cluster.Flattened // in the owner record; guarded by session.mu
}

// walking is what a session does in the background at the pace of the gateway's tick.
type walking struct {
	audit   audit
	flatten flattening
	cut     clearing
	resting atomic.Bool // few ticks are enough: set by the tick, until anything happens
}

// flattenTurn lets the clones that are to be flattened go on. Of the tick goroutine.
func (g *Gateway) flattenTurn(now time.Time, sessions []*session) {
	count := 0
	for _, s := range sessions {
		if s.flattens() {
			count++
		}
	}
	for _, s := range sessions {
		if s.flattens() {
			s.flattenSome(now, flattenRate*tickEvery.Seconds()/float64(count))
		}
	}
}

func (s *session) flattens() bool {
	p := s.v.parent.Load()
	return p != nil && p.Flatten && s.serving.Load()
}

// flattenSome allows rows worth so many bytes, less while hosts are busy, and has the progress recorded.
func (s *session) flattenSome(now time.Time, bytes float64) {
	f := &s.walking.flatten
	s.mu.Lock()
	if s.ops-f.ops > auditBusy {
		bytes /= auditYield
	}
	f.ops = s.ops
	f.rows += bytes / float64(s.v.geometry.Data*cluster.BlockSize)
	rows := int(f.rows)
	f.rows -= float64(rows)
	s.eng.Flatten(rows)
	done, view := s.eng.Flattened()
	recorded := f.recorded
	s.mu.Unlock()
	if done == recorded || done.At == 0 && now.Before(f.noted.Add(flattenNoted)) || f.noting.Swap(true) {
		return
	}
	f.noted = now
	go func() {
		defer f.noting.Store(false)
		s.noteFlattened(done, view)
	}()
}

// noteFlattened records how far the flatten is, unless there is a newer view list: a revert sets it back.
func (s *session) noteFlattened(done cluster.Flattened, view uint32) {
	stored := false
	err := s.store(func(o *cluster.Owner) {
		if stored = o.View.Version == view; stored {
			o.Flattened = done
		}
	})
	if err != nil {
		s.end("the owner record names another owner or is gone")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored {
		s.walking.flatten.recorded = done
	}
}
