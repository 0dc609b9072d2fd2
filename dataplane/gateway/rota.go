package gateway

import (
	"cmp"
	"reflect"
	"slices"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// A gateway may have very many volumes, and nearly all of them are left alone nearly all the time. So the
// tick looks at those that have something to do, and comes by the others, part after part, every rotaTurns
// turns only: nothing depends on that but what nobody has thought of. Whatever gives a volume something to do
// rouses it, and it stays awake until a look finds that nothing is left.

// rotaTurns is how many turns of the tick a round of all volumes takes.
const rotaTurns = 100

// rota is which volumes are to be looked at next.
type rota struct {
	sync.Mutex           // the last that is locked: who holds it takes no other
	roused     []*Volume // since the last turn
	// touched were roused since they were told of (Gateway.Stats).
	touched map[*Volume]struct{}
}

// place is where a volume is in the rota.
type place struct {
	at     int    // its place in Gateway.mu.order, which guards it
	roused bool   // it is in rota.roused, which guards it
	turn   uint32 // of the last look; of the tick goroutine
}

// rouse has the tick look at a volume.
func (g *Gateway) rouse(v *Volume) {
	r := &g.rota
	r.Lock()
	defer r.Unlock()
	if v.place.roused {
		return
	}
	if r.touched == nil {
		r.touched = make(map[*Volume]struct{})
	}
	v.place.roused = true
	r.roused = append(r.roused, v)
	r.touched[v] = struct{}{}
}

// turnOf lists the volumes to look at in a turn, some of them twice: those that were roused, a part of the
// others, and, while a node seems to be gone, all that are not served here: its volumes are not to wait.
func (g *Gateway) turnOf(turn uint32, all bool) []*Volume {
	r := &g.rota
	r.Lock()
	out := r.roused
	r.roused = nil
	for _, v := range out {
		v.place.roused = false
	}
	r.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if all {
		return append(out, g.mu.order...)
	}
	for i := int(turn % rotaTurns); i < len(g.mu.order); i += rotaTurns {
		out = append(out, g.mu.order[i])
	}
	if g.doubts() {
		for _, v := range g.mu.order {
			if v.session.Load() == nil {
				out = append(out, v)
			}
		}
	}
	return out
}

// doubts reports that a node seems to be gone. g.mu is held.
func (g *Gateway) doubts() bool {
	if g.mu.state == nil {
		return false
	}
	for n := range g.mu.state.Map.Nodes {
		if g.suspected(n) {
			return true
		}
	}
	return false
}

// add takes a volume in. g.mu is held.
func (g *Gateway) add(v *Volume) {
	g.mu.volumes[v.key] = v
	v.place.at = len(g.mu.order)
	g.mu.order = append(g.mu.order, v)
	g.rouse(v)
}

// remove forgets a volume. g.mu is held.
func (g *Gateway) remove(v *Volume) {
	delete(g.mu.volumes, v.key)
	last := len(g.mu.order) - 1
	moved := g.mu.order[last]
	g.mu.order[v.place.at], moved.place.at = moved, v.place.at
	g.mu.order[last] = nil
	g.mu.order = g.mu.order[:last]
	g.rouse(v)
}

// told is what was told of the volumes last.
type told struct {
	sync.Mutex
	volumes []cluster.VolumeStats // by key; replaced, not changed
}

// Stats tells how the owned volumes are doing, by key: while nothing has changed it is the same list. Nobody
// may change it.
func (g *Gateway) Stats() []cluster.VolumeStats {
	t := &g.told
	t.Lock()
	defer t.Unlock()
	var news []cluster.VolumeStats
	changed := make(map[cluster.VolumeKey]bool)
	for v := range g.rota.take() {
		st, is := g.statsOf(v)
		i, was := slices.BinarySearchFunc(t.volumes, v.key.Serial(), func(x cluster.VolumeStats, at uint64) int {
			return cmp.Compare(x.Key.Serial(), at)
		})
		if was == is && (!is || reflect.DeepEqual(st, t.volumes[i])) {
			continue
		}
		if changed[v.key] = true; is {
			news = append(news, st)
		}
	}
	if len(changed) == 0 {
		return t.volumes
	}
	for _, st := range t.volumes {
		if !changed[st.Key] {
			news = append(news, st)
		}
	}
	slices.SortFunc(news, func(a, b cluster.VolumeStats) int {
		return cmp.Compare(a.Key.Serial(), b.Key.Serial())
	})
	t.volumes = news
	return news
}

// statsOf tells of one volume, if it is owned here, or should be.
func (g *Gateway) statsOf(v *Volume) (cluster.VolumeStats, bool) {
	if g.Volume(v.key) != v {
		return cluster.VolumeStats{}, false
	}
	if s := v.session.Load(); s != nil {
		return s.stats(), true
	}
	return g.refusal(v)
}

// take lists what is to be told anew.
func (r *rota) take() map[*Volume]struct{} {
	r.Lock()
	defer r.Unlock()
	out := r.touched
	r.touched = make(map[*Volume]struct{}, len(r.roused))
	for _, v := range r.roused { // they may change until they are looked at
		r.touched[v] = struct{}{}
	}
	return out
}
