package gateway

import (
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// A shrink cuts off the end of a volume (package engine, cut.go). The record of the volume says what; how far
// it is goes into the owner record, as with a flatten, and who manages the volume draws the conclusions.
//
// Nothing that a host sent before the shrink may be written there after it, however long it was held up on
// the way: not on its way to the engine, for such a command is older than the last shrink, and not in the
// engine, for that waits. An owner that takes over knows of the shrink if its predecessor had recorded any
// progress, for it has read the owner record; else it begins from the beginning, when it knows.

const (
	// cutRate is the bytes of volumes that a gateway looks at or clears in a second.
	cutRate = 256 << 20
	// cutNoted is how often the progress is recorded.
	cutNoted = 10 * time.Second
)

// cutting is a cut as the record of its volume tells it.
type cutting struct {
	cluster.Cut
	look bool
}

func cuttingOf(rec *cluster.Volume) *cutting {
	if rec.Cut == nil {
		return nil
	}
	return &cutting{Cut: *rec.Cut, look: rec.Looking()}
}

func (c *cutting) same(d *cutting) bool {
	return c == d || c != nil && d != nil && c.ID == d.ID && c.look == d.look
}

// shrinking is what is being cut off a volume.
type shrinking struct {
	cut   atomic.Pointer[cutting] // nil: nothing
	times atomic.Uint32           // how often it began to
}

// clearing is what a session knows of a cut. Of the tick goroutine, where nothing else is said.
type clearing struct {
	blocks   float64
	ops      uint64 // of hosts, as of the last tick
	noted    time.Time
	noting   atomic.Bool
	recorded cluster.Cleared // in the owner record; guarded by session.mu
}

// reshapes reports that a volume has another size, shows another part of its parent, or that another part of
// it is cut off.
func (v *Volume) reshapes(rec *cluster.Volume) bool {
	was, is := v.inherits(), uint64(0)
	if rec.Parent != nil {
		is = rec.Parent.Size / cluster.BlockSize
	}
	v.parent.Store(rec.Parent)
	return is != was || v.blocks.Load() != rec.Size/cluster.LBASize ||
		!v.shrinking.cut.Load().same(cuttingOf(rec))
}

// reshape takes the record over; resized: hosts see another size. What is cut off is out of range before
// it is cleared, and what is new is in range only when nothing is cut off any more.
func (v *Volume) reshape(rec *cluster.Volume) (resized bool) {
	was, is := v.blocks.Load(), rec.Size/cluster.LBASize
	if is < was {
		v.blocks.Store(is)
	}
	cut := cuttingOf(rec)
	before := v.shrinking.cut.Swap(cut)
	if is < was || cut != nil && (before == nil || before.ID != cut.ID) {
		v.shrinking.times.Add(1)
	}
	if s := v.session.Load(); s != nil {
		s.followShape()
	}
	v.blocks.Store(is)
	return is != was
}

// outdated reports that a command came before the last shrink, and would change something.
func (h *hostIO) outdated() bool {
	return h.op.Kind != engine.Read && h.shrinks != h.s.v.shrinking.times.Load()
}

// followShape tells the engine what shows of the parent, and what is cut off.
func (s *session) followShape() {
	s.withEngine(func(e *engine.Engine) {
		e.SetParent(s.v.inherits())
		e.SetCut(s.cut())
	})
}

// cut is what is cut off, for the engine, which goes on where the owner record says. s.mu is held, or nobody
// else knows the session yet.
func (s *session) cut() engine.Cut {
	c := s.v.shrinking.cut.Load()
	if c == nil {
		return engine.Cut{}
	}
	out := engine.Cut{ID: c.ID, From: c.From / cluster.BlockSize, To: c.To / cluster.BlockSize, Look: c.look}
	if done := &s.walking.cut.recorded; done.Cut == c.ID && done.Look == c.look {
		out.Done = done.Until / cluster.BlockSize
	}
	return out
}

// cutTurn lets the cuts of volumes that are served here go on. Of the tick goroutine.
func (g *Gateway) cutTurn(now time.Time, sessions []*session) {
	count := 0
	for _, s := range sessions {
		if s.cuts() {
			count++
		}
	}
	for _, s := range sessions {
		if s.cuts() {
			s.cutSome(now, cutRate*tickEvery.Seconds()/float64(count))
		}
	}
}

func (s *session) cuts() bool { return s.v.shrinking.cut.Load() != nil && s.serving.Load() }

// cutSome allows so many bytes, less while hosts are busy, and has the progress recorded.
func (s *session) cutSome(now time.Time, bytes float64) {
	f := &s.walking.cut
	var is, was cluster.Cleared
	s.withEngine(func(e *engine.Engine) {
		if s.ops-f.ops > auditBusy {
			bytes /= auditYield
		}
		f.ops = s.ops
		f.blocks += bytes / cluster.BlockSize
		blocks := int(f.blocks)
		f.blocks -= float64(blocks)
		e.AllowCut(blocks)
		is, was = cleared(e), f.recorded
	})
	if f.noted.IsZero() {
		f.noted = now
	}
	under := !is.End && !is.Found
	if is == was || is.Cut.IsZero() || under && now.Before(f.noted.Add(cutNoted)) || f.noting.Swap(true) {
		return
	}
	f.noted = now
	go func() {
		defer f.noting.Store(false)
		if s.store(func(o *cluster.Owner) { o.Cleared = is }) != nil {
			s.end("the owner record names another owner or is gone")
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		f.recorded = is
	}()
}

// cleared is how far the engine is, as it is recorded.
func cleared(e *engine.Engine) cluster.Cleared {
	c, st := e.Cut(), e.CutState()
	return cluster.Cleared{Cut: c.ID, Look: c.Look, Until: st.Until * cluster.BlockSize, Found: st.Found,
		End: st.End}
}
