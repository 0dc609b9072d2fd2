package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// settleAt makes a failure domain the home of the pool's volumes.
func (w *world) settleAt(home string) {
	w.mu.Lock()
	w.locality = &cluster.Locality{Home: home}
	w.mu.Unlock()
	w.watch()
}

// stays lets time pass in which one node has to serve.
func (w *world) stays(n cluster.NodeID, d time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); pass(50 * time.Millisecond) {
		if w.serves() != n {
			w.t.Fatalf("node %d serves", w.serves())
		}
	}
}

// TestAVolumeIsServedAtHome: its home takes it when it has been well for a while, also when it was away, and
// not before. Hosts notice nothing.
func TestAVolumeIsServedAtHome(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		w.start(3)
		h := w.hosting()
		w.settleAt("default/default/2")
		h.slowly(func() { w.stays(1, wellAfter-2*time.Second) })
		w.until("home", func() bool { return w.serves() == 2 })
		w.kill(2)
		w.until("served elsewhere", func() bool { return w.serves() != 0 })
		away := w.serves()
		w.start(2)
		w.set(false, 2, 0, 1, 2, 3)
		h.slowly(func() { w.stays(away, wellAfter/2) })
		w.set(true, 2, 4-away) // it is not well all the time
		w.stays(away, time.Second)
		w.set(false, 2, 4-away)
		h.slowly(func() { w.stays(away, wellAfter-2*time.Second) })
		w.until("home again", func() bool { return w.serves() == 2 })
		h.slowly(func() { w.stays(2, wellAfter) })
		h.end()
	})
}

// TestHomeComesFirst among those that could take a volume over, and that it is handed to.
func TestHomeComesFirst(t *testing.T) {
	for home := cluster.NodeID(2); home <= 3; home++ {
		for name, end := range map[string]func(w *world){
			"killed":  func(w *world) { w.kill(1) },
			"stopped": func(w *world) { w.stop(1) },
		} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					started(w)
					w.start(3)
					w.settleAt("default/default/" + string('0'+rune(home)))
					pass(3 * time.Second)
					end(w)
					w.until("served", func() bool { return w.serves() != 0 })
					if n := w.serves(); n != home {
						t.Errorf("node %d serves, home is node %d", n, home)
					}
					w.read(home, 1)
				})
			})
		}
	}
}

// TestAHomeThatCannotOpenIt leaves a volume where it is, and looks at it again later.
func TestAHomeThatCannotOpenIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.encrypt()
		started(w)
		w.start(3)
		w.gateway(2).o.Keys = ring{}
		w.settleAt("default/default/2")
		w.stays(1, 2*wellAfter)
		if w.owner().Epoch != 1 {
			t.Errorf("the record says %+v", w.owner())
		}
		w.gateway(2).o.Keys = w.keys
		w.stays(1, shunFor-wellAfter-10*time.Second)
		w.until("home", func() bool { return w.serves() == 2 })
		w.read(2, 1)
	})
}
