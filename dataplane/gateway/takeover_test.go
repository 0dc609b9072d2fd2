package gateway

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// TestTheFirstOwnerWaitsForNobody: a new volume is served as soon as there is a lease.
func TestTheFirstOwnerWaitsForNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		if d := w.until("served", func() bool { return w.serving(1) }); d > time.Second {
			t.Errorf("after %v", d)
		}
		w.write(1, 5)
		w.read(1, 5)
		if w.owner().Served != 1 || w.owner().Epoch != 1 {
			t.Errorf("the record says %+v", w.owner())
		}
	})
}

// TestANewVolumeWaitsForNoTick: its owner hears of it by watch, and begins then.
func TestANewVolumeWaitsForNoTick(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.deleted = true
		w.start(1)
		w.until("there is a lease", func() bool { return w.gateway(1).leased() })
		pass(tickEvery / 10) // the next tick is far
		w.deleted = false
		w.change(func(*cluster.Owner) {})
		w.watch()
		if d := w.until("served", func() bool { return w.serving(1) }); d > tickEvery/2 {
			t.Errorf("after %v", d)
		}
		w.write(1, 5)
	})
}

// started is a world with two gateways, the first one serving, and write 1.
func started(w *world) {
	w.start(1)
	w.start(2)
	w.until("served", func() bool { return w.serving(1) })
	w.write(1, 1)
}

// TestAHungOwnerIsWaitedFor: nothing proves that node 1 is gone, so the new owner answers only when the lease
// of the old one has run out by the old one's own clock. A read that node 1 still had under way, from its own
// device, which nobody could fence, is answered with a path error when it is back.
func TestAHungOwnerIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.set(true, 1, 0, 2, 3)
		w.until("the lease of node 1 has run out", func() bool {
			if w.serving(2) {
				t.Fatal("node 2 serves while node 1 may answer")
			}
			return !w.gateway(1).leased()
		})
		late := w.host(1, nvme.OpRead, 0)
		w.until("served by node 2", func() bool { return w.serving(2) })
		w.write(2, 2)
		if late.answered() {
			t.Fatalf("node 1 answered without a lease: %v", late.status)
		}
		w.set(false, 1, 0, 2, 3)
		w.must(late, nvme.AsymmetricAccessInaccessible)
		if w.serving(1) {
			t.Error("two nodes serve")
		}
		w.read(2, 2)
	})
}

// TestALeaseThatComesBack: the owner loses the voters for a moment. Answers wait, and go out as they are.
func TestALeaseThatComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.write(1, 1)
		w.setDeaf(1, true)
		w.until("the lease has run out", func() bool { return !w.gateway(1).leased() })
		c := w.host(1, nvme.OpWrite, 2)
		pass(lostAfter - time.Duration(lease.RenewEvery) - tickEvery)
		if c.answered() {
			t.Fatalf("answered without a lease: %v", c.status)
		}
		w.setDeaf(1, false)
		w.must(c, nvme.Success)
		w.read(1, 2)
		if w.owner().Epoch != 1 {
			t.Errorf("the record says %+v", w.owner())
		}
	})
}

// TestHostsOfAnOwnerThatIsCutOffGoElsewhere: node 1 is cut off from everything but its hosts. What they have
// under way there comes back as a path error, for node 2 serves; they need not time out first.
func TestHostsOfAnOwnerThatIsCutOffGoElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.set(true, 1, 0, 2, 3)
		w.until("the lease of node 1 has run out", func() bool { return !w.gateway(1).leased() })
		read, write := w.host(1, nvme.OpRead, 0), w.host(1, nvme.OpWrite, 2)
		w.until("served by node 2", func() bool { return w.serving(2) })
		if read.answered() || write.answered() {
			t.Errorf("answered while the lease might come back: %v, %v", read.status, write.status)
		}
		if d := w.until("node 1 lets go", func() bool { return read.answered() }); d > lostAfter+tickEvery {
			t.Errorf("after %v", d)
		}
		w.must(read, nvme.AsymmetricAccessInaccessible)
		w.must(write, nvme.AsymmetricAccessInaccessible)
		if w.serving(1) {
			t.Error("node 1 still invites hosts")
		}
		w.read(2, 1)
	})
}

// TestAllVotersAreGone: no majority grants anybody a lease. Hosts are told that the volume is inaccessible,
// on every path, and wait; with the voters it comes back, under a new epoch.
func TestAllVotersAreGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.setDeaf(1, true)
		w.setDeaf(2, true)
		w.until("the lease has run out", func() bool { return !w.gateway(1).leased() })
		c := w.host(1, nvme.OpWrite, 2)
		w.must(c, nvme.AsymmetricAccessInaccessible)
		for range 30 {
			pass(time.Second)
			if w.serving(1) || w.serving(2) {
				t.Fatal("served without a lease")
			}
		}
		w.setDeaf(1, false)
		w.setDeaf(2, false)
		w.until("served", func() bool { return w.serving(1) || w.serving(2) })
		if e := w.owner().Epoch; e < 2 || e > 3 { // both may think that the other is gone, once
			t.Errorf("the record says %+v", w.owner())
		}
	})
}

// TestAKilledOwnerIsNotWaitedFor: its host refuses connections, so its process is gone.
func TestAKilledOwnerIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		pass(time.Second)
		w.kill(1)
		if d := w.until("served by node 2", func() bool { return w.serving(2) }); d > time.Second {
			t.Errorf("after %v", d)
		}
		w.read(2, 1)
	})
}

// TestOnlyAServingOwnerCanVouch: node 2 had taken the volume over from node 1, which hangs, and was killed
// before it served. That node 2 is gone says nothing of node 1.
func TestOnlyAServingOwnerCanVouch(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.start(3)
		w.until("served", func() bool { return w.serving(1) })
		w.write(1, 1)
		w.set(true, 1, 0, 2, 3)
		w.mu.Lock()
		w.refusing[2] = true
		w.mu.Unlock()
		w.change(func(o *cluster.Owner) { o.Gateway, o.Epoch = 2, o.Epoch+1 })
		w.watch()
		w.until("served by node 3", func() bool { return w.serving(3) })
		w.read(3, 1)
	})
}

// TestAnOwnerThatOnlyLostEtcd does not hear of the new record, and voters still renew its lease: they bring
// the fence (schedule B3 of the protocol's counterexamples). For a moment the voters had not heard of it, or
// nobody would have taken the volume over.
func TestAnOwnerThatOnlyLostEtcd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		pass(time.Second)
		w.set(true, 1, 0, 2)
		w.setDeaf(1, true)
		w.swapped = func(cluster.Owner) { w.setDeaf(1, false) }
		w.until("served by node 2", func() bool { return w.serving(2) })
		if w.serving(1) {
			t.Error("node 1 has not given up")
		}
	})
}

// TestAFormerOwnerThatIsThereIsAsked: node 1 was only slow. It gives the volume up when it is asked to, and
// nobody waits for its lease.
func TestAFormerOwnerThatIsThereIsAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		pass(time.Second)
		w.setDeaf(1, true)
		w.set(true, 1, 0)
		w.until("served by node 2", func() bool { return w.serving(2) })
		if !w.gateway(1).leased() {
			t.Error("the lease of node 1 has run out: node 2 has waited for it")
		}
		w.must(w.host(1, nvme.OpRead, 0), nvme.AsymmetricAccessInaccessible)
	})
}

// TestHostsAreLetInWhenTheRecordSaysSo: without "served" in the record the next owner would believe that it
// has only the one before this one to wait for.
func TestHostsAreLetInWhenTheRecordSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.swapped = func(o cluster.Owner) {
			if o.Epoch == 1 && o.Served == 0 && len(o.Journal.Members) > 0 {
				w.set(true, 1, 0)
			}
		}
		w.start(1)
		w.until("the take-over", func() bool { return w.owner().Epoch == 1 })
		pass(5 * time.Second)
		if w.serving(1) {
			t.Fatal("served, and the record does not say so")
		}
		w.set(false, 1, 0)
		w.until("served", func() bool { return w.serving(1) })
	})
}

// TestANodeThatStopsHandsOver: everything under way ends, the record says so, and the successor waits for
// nothing.
func TestANodeThatStopsHandsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		pass(time.Second + tickEvery/10) // the next tick is far
		var handed cluster.Owner
		w.swapped = func(o cluster.Owner) {
			if o.Released {
				handed = o
			}
		}
		w.stop(1)
		if handed.Gateway != 2 {
			t.Fatalf("the record says %+v, and was given away as %+v", w.owner(), handed)
		}
		if d := w.until("served by node 2", func() bool { return w.serving(2) }); d > tickEvery/2 {
			t.Errorf("after %v", d)
		}
		w.read(2, 1)
		if w.owner().Released {
			t.Error("a new owner must not look released")
		}
	})
}

// TestNothingIsReleasedWhileAWriteIsUnderWay: the devices do not answer in time, so the record must not say
// that the former owner has stopped for good.
func TestNothingIsReleasedWhileAWriteIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.stall(true)
		c := w.host(1, nvme.OpWrite, 2)
		w.stop(1)
		if w.owner().Released {
			t.Error("released")
		}
		w.stall(false)
		w.must(c, nvme.AsymmetricAccessInaccessible)
		w.until("served by node 2", func() bool { return w.serving(2) })
	})
}

// TestADeviceIsLostWithoutEtcd: a device fails, and the owner record cannot be changed. The placement journal
// covers the write; the node stops all the same, and the next owner has what was acknowledged.
func TestADeviceIsLostWithoutEtcd(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.set(true, 1, 0, w.other(1))
		w.must(w.host(1, nvme.OpWrite, 2), nvme.Success)
		begin := time.Now()
		w.stop(1)
		if d := time.Since(begin); d > 6*time.Second {
			t.Errorf("it took %v to stop", d)
		}
		w.until("served by node 2", func() bool { return w.serving(2) })
		w.read(2, 2)
	})
}

// TestADeafOwnerCarriesNobodyOut: an owner that hears no other node finds all devices missing but its own,
// and etcd still hears it. It must not make that the record, or the next owner would need the device of this
// one.
func TestADeafOwnerCarriesNobodyOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.start(3)
		w.onSwap(func(o cluster.Owner) {
			if o.Epoch == 1 {
				t.Errorf("the owner that is cut off records %+v", o)
			}
		})
		w.set(true, 1, 2, 3)
		c := w.host(1, nvme.OpWrite, 2)
		next := cluster.NodeID(0)
		w.until("served by another node", func() bool {
			for _, n := range []cluster.NodeID{2, 3} {
				if w.serving(n) {
					next = n
				}
			}
			return next != 0
		})
		w.write(next, 3)
		w.must(c, nvme.AsymmetricAccessInaccessible)
		w.read(next, 3)
	})
}

// TestComesToNothing: between the change of the owner record and the beginning of the session the
// volume is deleted, or gets a newer owner, or the node stops. No session may be left behind.
func TestComesToNothing(t *testing.T) {
	events := map[string]func(w *world){
		"deleted": func(w *world) {
			w.mu.Lock()
			w.deleted = true
			w.mu.Unlock()
			w.watch()
		},
		"newer owner": func(w *world) {
			w.change(func(o *cluster.Owner) { o.Gateway, o.Epoch = 2, o.Epoch+1 })
			w.watch()
		},
		"closed": func(w *world) {
			g := w.gateway(1)
			g.mu.Lock()
			g.mu.closed = true
			g.mu.Unlock()
		},
	}
	for name, event := range events {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				var v atomic.Pointer[Volume]
				w.swapped = func(cluster.Owner) {
					if v.CompareAndSwap(nil, w.volume(1)) {
						event(w)
					}
				}
				w.start(1)
				w.until("take-over", func() bool { return v.Load() != nil })
				pass(time.Second)
				if s := v.Load().session.Load(); s != nil {
					t.Errorf("a session of epoch %d is left", s.epoch)
				}
			})
		})
	}
}

// TestAFenceOfAVoterEndsTheSession: the owner has lost etcd and does not see the new record. It reaches a
// voter, and that is enough.
func TestAFenceOfAVoterEndsTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.set(true, 1, 0)
		epoch := w.owner().Epoch + 1
		w.mu.Lock()
		w.voters[3].Stored(lease.Fence{Vol: key(), Epoch: epoch})
		w.mu.Unlock()
		w.until("given up", func() bool { return !w.serving(1) })
		w.must(w.host(1, nvme.OpRead, 0), nvme.AsymmetricAccessInaccessible)
	})
}
