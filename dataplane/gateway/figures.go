package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// Figures is what a gateway has counted since its start, and how it is now.
type Figures struct {
	Lease     time.Duration // how long hosts may still be answered; below 0: they may not
	Renewed   uint64        // lease renewals that a voter answered
	Unrenewed uint64        // those that failed
	Taken     uint64        // volumes taken over
	Failed    uint64        // take-overs that failed
	Served    uint64        // take-overs that went on to let hosts in
	Ended     uint64        // times that a volume was given up
	Volumes   []VolumeFigures
	Pools     []PoolFigures
}

// PoolFigures sums up what was done for the volumes of a pool, those that are gone from here included: it
// only ever grows.
type PoolFigures struct {
	ID     cluster.PoolID
	Name   string
	IO     stats.IO
	Stages stats.StageTimes
}

// VolumeFigures is what the present session of an owned volume has counted, and how it is now.
type VolumeFigures struct {
	Key      cluster.VolumeKey
	UUID     cluster.UUID
	Pool     string
	Epoch    uint32
	Serving  bool
	Size     uint64 // bytes
	InFlight uint64 // operations of hosts, or pieces of them, that the engine has
	// Nobody may change these: volumes that no host has used share them.
	IO       *stats.IO
	Stages   *stats.StageTimes
	Counters engine.Counters
	State    engine.Stats
}

// counts are counted by many goroutines, a few times a second at most.
type counts struct {
	renewed, unrenewed, taken, failed, served, ended atomic.Uint64
}

// Figures looks at everything. It takes the lock of one session after the other, each for a moment.
func (g *Gateway) Figures() Figures {
	c := &g.counts
	f := Figures{Lease: time.Duration(g.validUntil.Load() - g.now()), Renewed: c.renewed.Load(),
		Unrenewed: c.unrenewed.Load(), Taken: c.taken.Load(), Failed: c.failed.Load(), Served: c.served.Load(),
		Ended: c.ended.Load()}
	known := g.known()
	b := &g.books
	b.Lock()
	defer b.Unlock()
	sums := make(map[*pool]*PoolFigures, len(known))
	for _, p := range known {
		f.Pools = append(f.Pools, PoolFigures{ID: p.id, Name: p.name, IO: p.past.io, Stages: p.past.stages})
	}
	for i, p := range f.Pools {
		sums[known[p.ID]] = &f.Pools[i]
	}
	f.Volumes = make([]VolumeFigures, 0, len(b.open))
	unused := new(tally)
	for s := range b.open {
		f.Volumes = append(f.Volumes, s.figures(unused))
		if sum := sums[s.v.pool]; sum != nil { // else the volume goes, and its pool has gone
			v := &f.Volumes[len(f.Volumes)-1]
			if v.IO != &unused.io {
				sum.IO.Merge(v.IO)
				sum.Stages.Merge(v.Stages)
			}
		}
	}
	return f
}

// tally is what operations of hosts add up to.
type tally struct {
	io     stats.IO
	stages stats.StageTimes // where these were meanwhile
}

func (t *tally) merge(o *tally) {
	t.io.Merge(&o.io)
	t.stages.Merge(&o.stages)
}

// books keep account of what sessions count. They know the open sessions by themselves: the session of a
// volume that was deleted is still to be counted when nobody finds the volume any more.
type books struct {
	sync.Mutex
	open map[*session]struct{}
}

func (b *books) enter(s *session) {
	b.Lock()
	defer b.Unlock()
	if b.open == nil {
		b.open = make(map[*session]struct{})
	}
	b.open[s] = struct{}{}
}

// leave takes leave of a session. Its counts are either those of a session or those of the past, never both
// and never neither.
func (b *books) leave(s *session) {
	b.Lock()
	defer b.Unlock()
	delete(b.open, s)
	s.mu.Lock()
	s.v.pool.past.merge(&s.tally)
	s.mu.Unlock()
	s.v.session.CompareAndSwap(s, nil)
}

// figures are those of a session, of one that has done nothing for hosts with the tally of all these.
func (s *session) figures(unused *tally) VolumeFigures {
	v, t := s.v, unused
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ops > 0 {
		own := s.tally // it is large
		t = &own
	}
	return VolumeFigures{Key: v.key, UUID: v.uuid, Pool: v.pool.name, Epoch: s.epoch, Serving: s.serving.Load(),
		Size: v.blocks.Load() * cluster.LBASize, InFlight: s.ops - s.io.Ops(), IO: &t.io, Stages: &t.stages,
		Counters: s.eng.Counters, State: s.eng.Stats()}
}

// drain takes what the engine wants done, and counts what it has done: the session is not at rest.
// s.mu is held.
func (s *session) drain(rd *engine.Ready) {
	s.eng.Drain(rd)
	s.rouse()
	if len(rd.Done)+len(rd.Resumed) > 0 {
		s.count(rd.Resumed, rd.Done)
	}
	if rd.Held {
		s.noteHeld()
	}
}

// count counts operations that are done, and notes since when others do not wait any more; the clock is read
// once for all of them. s.mu is held.
func (s *session) count(resumed, done []*engine.Op) {
	now := s.v.g.now()
	for i, op := range resumed {
		resumed[i] = nil
		if h, ok := op.Tag.(*hostIO); ok {
			h.resumed = now
		}
	}
	for _, op := range done {
		h, ok := op.Tag.(*hostIO)
		if !ok {
			continue // not a host's
		}
		took, waited, d := uint64(now-h.began), uint64(0), direction(op.Kind)
		if h.resumed != 0 {
			waited = uint64(h.resumed - h.began)
		}
		s.stages[stats.Waiting][d].Add(waited)
		s.stages[stats.Devices][d].Add(took - waited)
		if every := s.v.g.o.Sampling.Every; every > 0 {
			if s.unsampled++; s.unsampled >= every {
				s.unsampled = 0
				s.sample(op, took)
			}
		}
		s.io[d].Count(uint64(op.Sectors)*cluster.LBASize, took, op.Status == engine.OK)
	}
}

func direction(k engine.Kind) stats.Direction {
	switch k {
	case engine.Read:
		return stats.Read
	case engine.Write:
		return stats.Write
	default:
		return stats.Discard
	}
}

// Sampling takes one of so many operations of each session for a closer look.
type Sampling struct {
	Every uint32 // 0: none
	// To gets samples; those that it has no room for are dropped.
	To chan<- Sample
}

// Sample is one operation of a host.
type Sample struct {
	Volume    cluster.UUID
	Direction stats.Direction
	Offset    uint64 // bytes
	Bytes     uint64
	Began     time.Time
	Took      time.Duration
	OK        bool
}

func (s *session) sample(op *engine.Op, took uint64) {
	g := s.v.g
	select {
	case g.o.Sampling.To <- Sample{Volume: s.v.uuid, Direction: direction(op.Kind),
		Offset: op.LBA * cluster.LBASize, Bytes: uint64(op.Sectors) * cluster.LBASize,
		Began: g.start.Add(time.Duration(op.Tag.(*hostIO).began)), Took: time.Duration(took),
		OK: op.Status == engine.OK}:
	default:
	}
}
