package gateway

import (
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ward is a gateway with so many volumes that cannot be opened, and a reason for each.
func ward(count uint32) (g *Gateway, all []*Volume) {
	g = new(Gateway)
	why := "locked"
	g.mu.volumes = make(map[cluster.VolumeKey]*Volume)
	g.mu.state = &cluster.State{Owners: make(map[cluster.VolumeKey]*cluster.OwnerAt),
		Map: &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{2: {Number: 2}}}}
	for n := range count {
		v := &Volume{g: g, key: cluster.VolumeKey{VUID: n + 1, Generation: 1}}
		v.locked.Store(&why)
		g.mu.state.Owners[v.key] = new(cluster.OwnerAt)
		g.add(v)
		all = append(all, v)
	}
	return g, all
}

// TestTheRotaMissesNoVolume, whichever come and go: of those that nobody rouses each is looked at in a round,
// and those that are roused in the next turn, once.
func TestTheRotaMissesNoVolume(t *testing.T) {
	g, all := ward(3 * rotaTurns)
	looks := map[*Volume]int{}
	turn := uint32(0)
	round := func() {
		clear(looks)
		for range rotaTurns {
			for _, v := range g.turnOf(turn, false) {
				looks[v]++
			}
			turn++
		}
	}
	if round(); looks[all[7]] != 2 {
		t.Errorf("a new volume was looked at %d times, want its turn and that after it came", looks[all[7]])
	}
	for _, v := range all[:rotaTurns] {
		g.remove(v)
	}
	g.turnOf(turn, false)
	g.rouse(all[rotaTurns])
	g.rouse(all[rotaTurns])
	if round(); len(looks) != 2*rotaTurns || looks[all[rotaTurns]] != 2 || looks[all[rotaTurns+1]] != 1 {
		t.Errorf("%d volumes were looked at, one that was roused %d times, another one %d times", len(looks),
			looks[all[rotaTurns]], looks[all[rotaTurns+1]])
	}
	g.mu.silent = map[cluster.NodeID]time.Time{2: {}}
	if n := len(g.turnOf(turn, false)); n < 2*rotaTurns {
		t.Errorf("when a node has gone, %d volumes are looked at", n)
	}
}

// TestStatsFollowWhatIsRoused: the same list while nothing has changed, and another one without what is gone.
func TestStatsFollowWhatIsRoused(t *testing.T) {
	g, all := ward(5)
	first := g.Stats()
	g.rouse(all[2])
	if same := g.Stats(); len(first) != 5 || &same[0] != &first[0] {
		t.Errorf("%+v, then %+v, and nothing had changed", first, same)
	}
	other := "another reason"
	all[2].locked.Store(&other)
	g.remove(all[4])
	if st := g.Stats(); len(st) != 4 || st[2].Reason != other || first[2].Reason == other {
		t.Errorf("first %+v, then %+v", first, st)
	}
	for _, v := range all[:4] {
		v.locked.Store(nil)
		g.turnOf(0, false)
		g.rouse(v)
	}
	if st := g.Stats(); len(st) != 0 {
		t.Errorf("all can be opened: %+v", st)
	}
}

// TestAVolumeAtRestIsLeftAlone until a host does anything.
func TestAVolumeAtRestIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		started(w)
		awake := func() bool {
			g, v := w.gateway(1), w.volume(1) // before the lock, which comes after that of the gateway
			g.rota.Lock()
			defer g.rota.Unlock()
			return v.place.roused
		}
		w.until("at rest", func() bool { return !awake() })
		pass(rotaTurns * tickEvery)
		if awake() {
			t.Error("it does not stay at rest")
		}
		w.write(1, 2)
		if !awake() {
			t.Error("after a write it is still left alone")
		}
		w.until("at rest again", func() bool { return !awake() })
		if st := w.gateway(1).Stats(); len(st) != 1 || st[0].State != "serving" {
			t.Errorf("%+v", st)
		}
	})
}
