package gateway

import (
	"errors"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// askTogether asks for a group snapshot of the volume alone.
func (w *world) askTogether(n byte) {
	w.mu.Lock()
	w.snaps[snapID(n)] = cluster.SnapshotAt{Snapshot: cluster.Snapshot{UUID: snapID(n), Name: "g",
		Volume: cluster.UUID{7}, Key: key(), Size: 1 << 20,
		Set: &cluster.SnapshotSet{UUID: cluster.UUID{0xbb, n}, Volumes: 1}}}
	w.mu.Unlock()
	w.ask(n, cluster.SnapshotCreating)
}

func (w *world) takeTogether(n byte) {
	w.t.Helper()
	w.askTogether(n)
	w.untilSnap(n, cluster.SnapshotAvailable)
}

// step is what a coordinator elsewhere asks of the owner at a node.
func (w *world) step(n cluster.NodeID, round uint64, step cluster.GroupStep) (cluster.Pinned, error) {
	return w.gateway(n).GroupStep(key(), round, step)
}

func (c *command) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// TestAGroupSnapshotShowsWhatWas, as others do, and is finished by the next owner.
func TestAGroupSnapshotShowsWhatWas(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.takeTogether(1)
		w.write(1, 20)
		w.take(2) // of the volume alone: the owner has to notice that its record was changed
		w.write(1, 30)
		w.reverted(1)
		w.read(1, 10)
		w.set(true, 1, 0) // the owner reaches etcd no more
		w.askTogether(3)
		w.write(1, 40)
		w.start(2)
		w.kill(1)
		w.untilSnap(3, cluster.SnapshotAvailable)
		w.write(2, 50)
		for n, want := range map[byte]uint64{1: 10, 2: 20, 3: 40} {
			w.shows(2, n, want)
		}
		if v := w.owner().View; len(v.Pins) != 3 {
			t.Errorf("the view list is %+v", v)
		}
	})
}

// TestALostAnswerTakesOneGroupSnapshot: the transaction was made, and its coordinator did not hear of it.
func TestALostAnswerTakesOneGroupSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.mu.Lock()
		w.lost = true
		w.mu.Unlock()
		w.takeTogether(1)
		w.watch()
		w.write(1, 20)
		pass(5 * time.Second)
		w.take(2)
		w.write(1, 30)
		w.shows(1, 1, 10)
		w.shows(1, 2, 20)
		if v := w.owner().View; len(v.Pins) != 2 || !w.serving(1) {
			t.Errorf("the view list is %+v", v)
		}
	})
}

// TestWritesAreNotHeldForLong: reads go on, and without a coordinator so do writes soon; then no pin is
// given.
func TestWritesAreNotHeldForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		if _, err := w.step(1, 7, cluster.GroupHold); err != nil {
			t.Fatal(err)
		}
		if _, err := w.step(1, 8, cluster.GroupHold); err == nil {
			t.Error("two coordinators hold the writes")
		}
		if _, err := w.step(1, 8, cluster.GroupPin); err == nil {
			t.Error("a pin for a round that holds nothing")
		}
		began := time.Now()
		w.read(1, 10)
		held := w.host(1, nvme.OpWrite, 20)
		pass(writesHeld / 2)
		if held.over() {
			t.Fatal("a write was not held")
		}
		w.must(held, nvme.Success)
		if d := time.Since(began); d > 2*writesHeld {
			t.Errorf("writes were held for %v", d)
		}
		if _, err := w.step(1, 7, cluster.GroupPin); !errors.Is(err, errNotHeld) {
			t.Errorf("a pin after that: %v", err)
		}
		if _, err := w.step(1, 9, cluster.GroupStep(9)); err == nil {
			t.Error("no step at all was done")
		}
		if _, err := w.gateway(1).GroupStep(cluster.VolumeKey{VUID: 9, Generation: 1}, 7,
			cluster.GroupHold); err == nil {
			t.Error("a volume that is not here was held")
		}
	})
}

// TestAPinIsNotLentForEver: a coordinator that died after it has the pin can record it no more once the owner
// has given it up, and one that is given back holds nothing up.
func TestAPinIsNotLentForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		lend := func(round uint64) cluster.Pinned {
			t.Helper()
			if _, err := w.step(1, round, cluster.GroupHold); err != nil {
				t.Fatal(err)
			}
			p, err := w.step(1, round, cluster.GroupPin)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		lent := func() int {
			s := w.volume(1).session.Load()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.settling.group.lent)
		}
		record := func(p cluster.Pinned) error {
			next := w.owner()
			next.View = next.View.WithPins([]cluster.Seq{p.Pin}, nil)
			return links{w, 3}.SwapOwners(t.Context(), []cluster.OwnerSwap{{Volume: key(), Revision: p.Revision,
				Next: next}})
		}
		w.write(1, 10)
		p := lend(7)
		w.write(1, 20)
		w.until("the owner gives it up", func() bool { return lent() == 0 })
		if err := record(p); !errors.Is(err, cluster.ErrConflict) {
			t.Fatalf("a pin was recorded that is not kept: %v", err)
		}
		lend(8)
		if _, err := w.step(1, 8, cluster.GroupRelease); err != nil || lent() != 0 {
			t.Fatalf("%d pins are lent, %v", lent(), err)
		}
		p = lend(9)
		w.write(1, 30)
		if err := record(p); err != nil {
			t.Fatal(err)
		}
		w.until("the owner hears of it", func() bool { return lent() == 0 })
		w.take(1)
		if v := w.owner().View; len(v.Pins) != 2 || v.Pins[0] != p.Pin {
			t.Errorf("the view list is %+v, and %v was recorded", v, p.Pin)
		}
	})
}
