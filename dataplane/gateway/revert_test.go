package gateway

import (
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// reverted asks for a revert and waits for it.
func (w *world) reverted(n byte) {
	w.t.Helper()
	w.ask(n, cluster.SnapshotReverting)
	w.untilSnap(n, cluster.SnapshotAvailable)
}

// TestARevertBringsBackWhatWas, under the next owner too, and snapshots go on showing what they have shown.
func TestARevertBringsBackWhatWas(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.write(1, 20)
		w.take(2)
		w.write(1, 30)
		w.reverted(1)
		w.read(1, 10)
		w.shows(1, 1, 10)
		w.shows(1, 2, 20)
		w.write(1, 40)
		w.read(1, 40)
		w.start(2)
		w.stop(1)
		w.until("serving", func() bool { return w.serving(2) })
		w.read(2, 40)
		w.reverted(2) // it was taken in the time that the first revert has hidden
		w.read(2, 20)
		w.reverted(1)
		w.read(2, 10)
		w.shows(2, 2, 20)
	})
}

// TestOnlyOneOfTheOldAndTheNew: an owner that dies at any step of a revert leaves the volume as it was, with
// the revert for the next one to do, or reverted.
func TestOnlyOneOfTheOldAndTheNew(t *testing.T) {
	for name, dies := range map[string]func(w *world){
		"before it reaches etcd": func(w *world) {
			w.set(true, 1, 0)
			w.ask(1, cluster.SnapshotReverting)
			w.read(1, 20)
			w.kill(1)
		},
		"before it is quiet": func(w *world) {
			w.stall(true)
			w.host(1, nvme.OpWrite, 30)
			w.ask(1, cluster.SnapshotReverting)
			pass(holdLimit / 2)
			w.kill(1)
			w.stall(false)
		},
		"before it hears that it is recorded": func(w *world) {
			dead := make(chan struct{})
			w.onSwap(func(cluster.Owner) {
				w.kill(1)
				close(dead)
			})
			w.ask(1, cluster.SnapshotReverting)
			<-dead
		},
		"before the devices have the list": func(w *world) {
			w.onSwap(func(cluster.Owner) { w.set(true, 1, 1, 2, 3) })
			w.ask(1, cluster.SnapshotReverting)
			w.untilSnap(1, cluster.SnapshotAvailable)
			w.kill(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.start(1)
				w.until("serving", func() bool { return w.serving(1) })
				w.write(1, 10)
				w.take(1)
				w.write(1, 20)
				w.start(2)
				dies(w)
				w.until("the next owner serves", func() bool { return w.serving(2) })
				w.untilSnap(1, cluster.SnapshotAvailable)
				w.read(2, 10)
				w.write(2, 50)
				w.read(2, 50)
				w.shows(2, 1, 10)
			})
		})
	}
}

// onSwap calls f at the next change of the owner record, before its answer.
func (w *world) onSwap(f func(cluster.Owner)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.swapped = func(o cluster.Owner) {
		w.mu.Lock()
		w.swapped = nil
		w.mu.Unlock()
		f(o)
	}
}

// TestHostsWaitWhileARevertIsRecorded: what they send then comes after it.
func TestHostsWaitWhileARevertIsRecorded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.write(1, 20)
		var read, write *command
		w.onSwap(func(cluster.Owner) {
			read = w.host(1, nvme.OpRead, 0)
			write = w.host(1, nvme.OpWrite, 30)
			pass(time.Second)
			select {
			case <-read.done:
				t.Error("a read was answered while the revert was being recorded")
			default:
			}
		})
		w.reverted(1)
		if got := w.must(read, nvme.Success); got != 10 {
			t.Errorf("the read that waited for the revert got %d", got)
		}
		w.must(write, nvme.Success)
		w.read(1, 30)
	})
}

// TestALostAnswerRevertsOnce: what was written after the revert is not hidden by a second one.
func TestALostAnswerRevertsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.write(1, 20)
		w.mu.Lock()
		w.lost = true
		w.mu.Unlock()
		w.reverted(1)
		w.write(1, 30)
		pass(2 * tickEvery)
		w.read(1, 30)
		if v := w.owner().View; v.Version != 2 || len(v.Hidden) != 1 {
			t.Errorf("the view list is %+v", v)
		}
	})
}

// TestARevertIsPutOff while the volume does not get quiet, and hosts are not kept waiting for it.
func TestARevertIsPutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.stall(true)
		stuck := w.host(1, nvme.OpWrite, 20)
		w.ask(1, cluster.SnapshotReverting)
		pass(holdLimit + holdAgain/2)
		w.stall(false)
		w.must(stuck, nvme.Success)
		w.read(1, 20)
		if s := w.snap(1).State; s != cluster.SnapshotReverting {
			t.Errorf("the snapshot is %s", s)
		}
		w.untilSnap(1, cluster.SnapshotAvailable)
		w.read(1, 10)
	})
}

// TestWithoutEtcdNobodyWaitsForARevert.
func TestWithoutEtcdNobodyWaitsForARevert(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.write(1, 20)
		w.set(true, 1, 0)
		w.ask(1, cluster.SnapshotReverting)
		w.mu.Lock()
		s := w.state()
		w.mu.Unlock()
		if err := w.gateway(1).Apply(s); err != nil { // the last that it hears
			t.Fatal(err)
		}
		for range 3 {
			pass(holdAgain)
			began := time.Now()
			w.read(1, 20)
			if took := time.Since(began); took > 0 {
				t.Errorf("a read took %v", took)
			}
		}
		w.set(false, 1, 0)
		w.untilSnap(1, cluster.SnapshotAvailable)
		w.read(1, 10)
	})
}

// TestASnapshotOfTheLastMoment: what is asked for together with a revert is taken before it, and kept by it,
// also when its record changes at that moment.
func TestASnapshotOfTheLastMoment(t *testing.T) {
	for name, renamed := range map[string]bool{"alone": false, "renamed meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.start(1)
				w.until("serving", func() bool { return w.serving(1) })
				w.write(1, 10)
				w.take(1)
				w.write(1, 20)
				w.set(true, 1, 0)
				w.ask(1, cluster.SnapshotReverting)
				w.ask(2, cluster.SnapshotCreating)
				w.mu.Lock()
				s := w.state()
				if x := w.snaps[snapID(2)]; renamed {
					x.Revision++
					w.snaps[snapID(2)] = x
				}
				w.cut[[2]cluster.NodeID{1, 0}] = false
				w.mu.Unlock()
				if err := w.gateway(1).Apply(s); err != nil {
					t.Fatal(err)
				}
				pass(10 * tickEvery)
				if s := w.snap(1).State; (s == cluster.SnapshotReverting) != renamed {
					t.Errorf("the volume is reverted while a pin is not recorded: %s", s)
				}
				w.watch()
				w.untilSnap(1, cluster.SnapshotAvailable)
				w.read(1, 10)
				w.write(1, 30)
				w.untilSnap(2, cluster.SnapshotAvailable)
				w.shows(1, 2, 20)
			})
		})
	}
}

// TestNoRevertToWhatIsNotPinned: the record names no such pin, so nothing is hidden.
func TestNoRevertToWhatIsNotPinned(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.ask(1, cluster.SnapshotReverting)
		pass(10 * tickEvery)
		w.read(1, 10)
		if v := w.owner().View; len(v.Hidden) > 0 {
			t.Errorf("the view list is %+v", v)
		}
		w.take(2)
		if v := w.owner().View; !slices.Contains(v.Pins, w.snap(2).Pin) {
			t.Errorf("the view list is %+v", v)
		}
	})
}
