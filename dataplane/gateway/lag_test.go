package gateway

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
)

// mostLag is how long a message takes at most in a world that lags, and the answer to it.
const mostLag = time.Millisecond

// lag is a network in which every message takes a while of its own, so that they come in every order.
type lag struct {
	mu     sync.Mutex
	chance *rand.Rand
	turns  map[cluster.NodeID]chan bool // a node hears of one state after the other
}

func newLag(seed uint64) *lag {
	l := &lag{chance: rand.New(rand.NewPCG(seed, 0)), turns: map[cluster.NodeID]chan bool{}}
	for n := cluster.NodeID(1); n <= nodes; n++ {
		l.turns[n] = make(chan bool, 1)
	}
	return l
}

func (l *lag) travel() {
	l.mu.Lock()
	d := time.Duration(l.chance.Int64N(int64(mostLag)))
	l.mu.Unlock()
	<-time.After(d)
}

// deliver tells gateways of the present state, each after a while of its own.
func (l *lag) deliver(w *world) {
	for n, turn := range l.turns {
		go func() {
			turn <- true
			defer func() { <-turn }()
			l.travel()
			w.mu.Lock()
			s, g := w.state(), w.gateways[n]
			w.mu.Unlock()
			if g == nil {
				return
			}
			if err := g.Apply(s); err != nil {
				w.t.Error(err)
			}
		}()
	}
}

// slowLinks are links on which messages lag.
type slowLinks struct {
	links
	lag *lag
}

func (l slowLinks) Submit(r *chunk.Request) {
	go func() {
		l.lag.travel()
		l.links.Submit(r)
	}()
}

func (l slowLinks) SwapOwner(ctx context.Context, vol cluster.VolumeKey, rev int64, next cluster.Owner,
	with ...cluster.SnapshotAt) (int64, error) {
	l.lag.travel()
	defer l.lag.travel()
	return l.links.SwapOwner(ctx, vol, rev, next, with...)
}

func (l slowLinks) Renew(ctx context.Context, n cluster.NodeID, since lease.Position) (lease.Reply, error) {
	l.lag.travel()
	defer l.lag.travel()
	return l.links.Renew(ctx, n, since)
}

func (l slowLinks) Fence(ctx context.Context, n cluster.NodeID, f lease.Fence,
	about cluster.NodeID) (lease.Fenced, error) {
	l.lag.travel()
	defer l.lag.travel()
	return l.links.Fence(ctx, n, f, about)
}

func (l slowLinks) Yield(ctx context.Context, n cluster.NodeID, f lease.Fence) error {
	l.lag.travel()
	defer l.lag.travel()
	return l.links.Yield(ctx, n, f)
}

// TestAMoveWaitsForNoTimer whatever the order in which its messages come: time passes for nothing but
// messages here, and the pause of the host that works meanwhile is far below a tick.
func TestAMoveWaitsForNoTimer(t *testing.T) {
	seeds, moves := uint64(10), 100
	if testing.Short() {
		seeds, moves = 2, 60
	}
	for seed := range seeds {
		inBubble(t, func(t *testing.T, w *world) {
			w.lag = newLag(seed)
			started(w)
			w.start(3)
			pass(10 * time.Second) // nobody is new any more
			h := w.hosting()
			for i := range moves {
				to := cluster.NodeID(2+i)%nodes + 1
				pass(37 * time.Millisecond) // ticks are met in every phase
				w.call(to)
				w.until("moved", func() bool { return w.serving(to) })
			}
			h.end()
			if h.slowest > tickEvery/3 {
				t.Errorf("seed %d: a command took %v", seed, h.slowest)
			}
			for n := cluster.NodeID(1); n <= nodes; n++ {
				w.stop(n)
			}
			pass(time.Second) // what is on its way arrives
		})
	}
}
