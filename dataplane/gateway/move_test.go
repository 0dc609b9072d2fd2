package gateway

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// call has the record of the volume ask a node to take it over, as the control plane does.
func (w *world) call(to cluster.NodeID) {
	w.mu.Lock()
	w.order = &cluster.Move{Node: to, Epoch: w.record.Epoch}
	w.mu.Unlock()
	w.watch()
}

// pending tells whether a move is still to be done.
func (w *world) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.order.Pending(&w.record.Owner)
}

// TestAVolumeMovesWhenItIsAskedTo: nobody waits for a lease, or for a tick.
func TestAVolumeMovesWhenItIsAskedTo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.start(3)
		pass(time.Second + tickEvery/10) // the next tick is far
		w.call(2)
		if d := w.until("served by node 2", func() bool { return w.serving(2) }); d > tickEvery/2 {
			t.Errorf("after %v", d)
		}
		if w.serving(1) || w.pending() || w.owner().Epoch != 2 {
			t.Errorf("node 1 serves: %v, to be moved: %v, record %+v", w.serving(1), w.pending(), w.owner())
		}
		w.read(2, 1)
		pass(5 * time.Second)
		if !w.serving(2) {
			t.Error("it did not stay there")
		}
	})
}

// TestHostsGoOnWhileItMoves: a host writes and reads all the time, to and fro between two nodes. What it was
// told is written is there, and no command fails but for its path.
func TestHostsGoOnWhileItMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		h := w.hosting()
		for i := range 20 {
			to := cluster.NodeID(2 - i%2)
			pass(700 * time.Millisecond)
			w.call(to)
			w.until("moved", func() bool { return w.serving(to) })
		}
		if n := h.end(); n < 1000 {
			t.Errorf("the host has done %d writes only", n)
		}
		if e := w.owner().Epoch; e != 21 {
			t.Errorf("the owner's epoch is %d", e)
		}
	})
}

// hosting is a host that works without a pause, until end.
type hosting struct {
	w    *world
	quit chan struct{}
	done chan uint64
	// slowest is what the slowest command took, tries on other paths included; read it after end.
	slowest time.Duration
	pace    atomic.Int64 // nanoseconds from one read to the next write
}

func (w *world) hosting() *hosting {
	h := &hosting{w: w, quit: make(chan struct{}), done: make(chan uint64)}
	h.pace.Store(int64(time.Millisecond))
	go h.run()
	return h
}

// end tells how many writes were done.
func (h *hosting) end() uint64 {
	close(h.quit)
	return <-h.done
}

// slowly has the host write now and then only while long nothing is to happen: of a minute at its usual pace
// there are 60,000 writes.
func (h *hosting) slowly(do func()) {
	h.pace.Store(int64(50 * time.Millisecond))
	do()
	h.pace.Store(int64(time.Millisecond))
}

// run writes one stamp after the other and reads each back, on whatever path takes it.
func (h *hosting) run() {
	for stamp := uint64(100); ; stamp++ {
		h.do(nvme.OpWrite, stamp)
		if got := h.do(nvme.OpRead, 0); got != stamp {
			h.w.t.Errorf("read %d after %d was written", got, stamp)
		}
		select {
		case <-h.quit:
			h.done <- stamp - 100
			return
		case <-time.After(time.Duration(h.pace.Load())):
		}
	}
}

// hostPatience is how long a host waits for an answer.
const hostPatience = 10 * time.Second

func (h *hosting) do(opcode uint8, stamp uint64) uint64 {
	began := time.Now()
	defer func() { h.slowest = max(h.slowest, time.Since(began)) }()
	for {
		for n := cluster.NodeID(1); n <= nodes; n++ {
			g := h.w.gateway(n)
			if g == nil {
				continue
			}
			v := g.Volume(key())
			if v == nil {
				continue
			}
			c := hand(v, opcode, 0, stamp)
			select {
			case <-c.done:
			case <-time.After(hostPatience): // the node is dead, and so is the connection
				continue
			}
			switch c.status {
			case nvme.Success:
				return c.stamp()
			case nvme.AsymmetricAccessInaccessible:
			default:
				h.w.t.Errorf("status %v", c.status)
			}
		}
		<-time.After(time.Millisecond)
	}
}

// TestWhoeverDiesWhileItMoves: the owner, or the node that was asked, dies at each change of the owner record
// on the way. The volume is served afterwards, with all that was acknowledged.
func TestWhoeverDiesWhileItMoves(t *testing.T) {
	for _, victim := range []cluster.NodeID{1, 2} {
		for step := range 4 {
			t.Run(fmt.Sprintf("node %d at step %d", victim, step), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					started(w)
					w.start(3)
					pass(time.Second)
					h := w.hosting()
					dead := make(chan struct{})
					die := func() {
						w.kill(victim)
						close(dead)
					}
					var changes atomic.Int32
					w.mu.Lock()
					w.swapped = func(cluster.Owner) {
						if int(changes.Add(1)) == step {
							go die()
						}
					}
					w.mu.Unlock()
					w.call(2)
					if step == 0 {
						die()
					}
					w.until("killed", func() bool {
						select {
						case <-dead:
							return true
						default:
							return int(changes.Load()) < step && w.serves() == 2 // there are fewer steps
						}
					})
					w.mu.Lock()
					w.swapped = nil // the end of the test is no step
					w.mu.Unlock()
					w.until("served", func() bool { return w.serves() != 0 })
					h.end()
					if n := w.serves(); victim == 1 && n != 2 {
						t.Errorf("node %d serves, node 2 was asked to", n)
					}
				})
			})
		}
	}
}

// serves names the node that serves the volume; 0: none.
func (w *world) serves() cluster.NodeID {
	for n := cluster.NodeID(1); n <= nodes; n++ {
		if w.gateway(n) != nil && w.serving(n) {
			return n
		}
	}
	return 0
}

// TestItDoesNotMove while the node that was asked could not serve it as well as its owner does. Hosts notice
// nothing; when what is in the way has gone, it moves.
func TestItDoesNotMove(t *testing.T) {
	for name, c := range map[string]struct{ before, after func(w *world) }{
		"to a node that does not reach the owner": {
			func(w *world) { w.set(true, 2, 1) },
			func(w *world) { w.set(false, 2, 1) },
		},
		"to a node that does not reach another one": {
			func(w *world) { w.set(true, 2, 3) },
			func(w *world) { w.set(false, 2, 3) },
		},
		"to a node that does not have its key": {
			func(w *world) { w.gateway(2).o.Keys = ring{} },
			func(w *world) { w.gateway(2).o.Keys = w.keys },
		},
		"while it is to be reverted": {
			func(w *world) {
				w.take(1)
				w.set(true, 1, 0)
				w.ask(1, cluster.SnapshotReverting)
			},
			func(w *world) { w.set(false, 1, 0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.encrypt()
				started(w)
				w.start(3)
				pass(time.Second)
				c.before(w)
				h := w.hosting()
				w.call(2)
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); pass(10 * time.Millisecond) {
					if !w.serving(1) || w.owner().Epoch != 1 {
						t.Fatalf("the record says %+v", w.owner())
					}
				}
				c.after(w)
				w.until("moved", func() bool { return w.serving(2) })
				h.end()
			})
		})
	}
}

// TestAMoveIsOverWithTheOwner: it speaks of one owner, so it does not come back on a later one.
func TestAMoveIsOverWithTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.start(3)
		pass(time.Second)
		w.kill(2)
		w.call(2)
		w.kill(1)
		w.until("taken over", func() bool { return w.serving(3) })
		w.start(2)
		w.set(false, 2, 0, 2, 3)
		w.stays(3, 10*time.Second)
	})
}

// TestAnOwnerThatOpensIsLeftAlone: it moves when it is served, or each would make the other begin anew.
func TestAnOwnerThatOpensIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.stall(true)
		for n := cluster.NodeID(1); n <= nodes; n++ {
			w.start(n)
		}
		w.until("an owner", func() bool { return w.owner().Epoch == 1 })
		w.call(2)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); pass(50 * time.Millisecond) {
			if w.owner().Epoch != 1 {
				t.Fatalf("the record says %+v", w.owner())
			}
		}
		w.stall(false)
		w.until("moved", func() bool { return w.serving(2) && w.owner().Epoch == 2 })
	})
}
