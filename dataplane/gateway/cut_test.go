package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// The volume of these tests has 256 blocks; a page has 16.

// shape changes size and cut in the volume's record, as etcd's watch would tell.
func (w *world) shape(blocks uint64, cut *cluster.Cut) {
	w.mu.Lock()
	w.size, w.shrink = blocks*cluster.BlockSize, cut
	w.mu.Unlock()
	w.watch()
}

// cutFrom is a cut of all blocks from one on.
func cutFrom(id byte, block uint64) *cluster.Cut {
	return &cluster.Cut{ID: cluster.UUID{id}, From: block * cluster.BlockSize, To: 256 * cluster.BlockSize}
}

// ended waits for the owner to be done with a cut.
func (w *world) ended(id byte) cluster.Cleared {
	w.t.Helper()
	w.until("the cut is done", func() bool {
		c := w.owner().Cleared
		return c.Cut == cluster.UUID{id} && (c.End || c.Found)
	})
	return w.owner().Cleared
}

func (w *world) writeAt(n cluster.NodeID, block, stamp uint64) {
	w.t.Helper()
	w.must(w.hostAt(n, nvme.OpWrite, block, stamp), nvme.Success)
}

func (w *world) readAt(n cluster.NodeID, block, want uint64) {
	w.t.Helper()
	if got := w.must(w.hostAt(n, nvme.OpRead, block, 0), nvme.Success); got != want {
		w.t.Fatalf("block %d has %d, want %d", block, got, want)
	}
}

// TestWhatIsCutOffIsGone: the volume grows again, and has zeroes there; what it has kept is as it was.
func TestWhatIsCutOffIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		for _, block := range []uint64{99, 100, 255} {
			w.writeAt(1, block, block)
		}
		w.shape(100, cutFrom(1, 100))
		w.must(w.hostAt(1, nvme.OpWrite, 100, 7), nvme.LBAOutOfRange.NoRetry())
		w.must(w.hostAt(1, nvme.OpWrite, 99, 98), nvme.Success)
		if c := w.ended(1); c.Found || c.Look || c.Until != w.shrink.To {
			t.Fatalf("%+v", c)
		}
		w.shape(256, nil)
		for block, want := range map[uint64]uint64{0: 1, 99: 98, 100: 0, 255: 0} {
			w.readAt(1, block, want)
		}
		w.writeAt(1, 100, 5)
		w.readAt(1, 100, 5)
	})
}

// TestItLooksFirst: before the volume shrinks its owner finds what is there, and nothing changes; once
// that is gone it finds nothing, and then the same cut is carried out.
func TestItLooksFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.writeAt(1, 200, 2)
		w.shape(256, cutFrom(1, 100))
		if c := w.ended(1); !c.Found || c.End || !c.Look {
			t.Fatalf("%+v", c)
		}
		w.must(w.hostAt(1, nvme.OpWrite, 200, 3), nvme.LBAOutOfRange.NoRetry())
		w.shape(256, nil)
		w.readAt(1, 200, 2)
		w.must(w.hostAt(1, nvme.OpWriteZeroes, 200, 0), nvme.Success)
		w.shape(256, cutFrom(2, 100))
		if c := w.ended(2); c.Found || !c.End || !c.Look {
			t.Fatalf("%+v", c)
		}
		w.shape(100, cutFrom(2, 100))
		w.until("the cut is carried out", func() bool { return w.owner().Cleared.End && !w.owner().Cleared.Look })
	})
}

// TestACommandFromBeforeComesTooLate: a limit holds a write up until the volume has shrunk and grown again.
// Nothing of it shows.
func TestACommandFromBeforeComesTooLate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.bounds(&cluster.QoS{IOPS: 1}, nil)
		var late []*command
		for range 30 {
			late = append(late, w.hostAt(1, nvme.OpWrite, 200, 9))
		}
		w.shape(100, cutFrom(1, 100))
		w.ended(1)
		w.shape(256, nil)
		w.bounds(nil, nil)
		refused := 0
		for _, c := range late {
			if <-c.done; c.status == nvme.AsymmetricAccessInaccessible {
				refused++
			}
		}
		if refused == 0 {
			t.Error("no write was held up")
		}
		w.readAt(1, 200, 0)
	})
}

// TestACutChangesOwners: the next owner goes on where the record says, or begins; it knows what is cut off
// before it lets hosts in.
func TestACutChangesOwners(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.writeAt(1, 100, 1)
		w.writeAt(1, 255, 2)
		w.stall(true)
		w.shape(100, cutFrom(1, 100))
		pass(time.Second)
		w.kill(1)
		w.stall(false)
		w.until("served by node 2", func() bool { return w.serving(2) })
		w.must(w.hostAt(2, nvme.OpWrite, 200, 3), nvme.LBAOutOfRange.NoRetry())
		w.ended(1)
		w.shape(256, nil)
		w.readAt(2, 100, 0)
		w.readAt(2, 255, 0)
		w.read(2, 1)
	})
}

// TestACutThatIsCancelled: looking ends, and hosts may use all of the volume again.
func TestACutThatIsCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.stall(true)
		w.shape(256, cutFrom(1, 100))
		pass(time.Second)
		w.shape(256, nil)
		w.stall(false)
		w.until("a write goes through", func() bool {
			c := w.hostAt(1, nvme.OpWrite, 200, 3)
			<-c.done
			return c.status == nvme.Success
		})
		w.readAt(1, 200, 3)
		if w.owner().Cleared != (cluster.Cleared{}) {
			t.Errorf("%+v", w.owner().Cleared)
		}
	})
}
