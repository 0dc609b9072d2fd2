package gateway

import (
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/home"
)

// A node that is well takes over, one after the other, the volumes that package home says it should serve
// although their owners are well, too.

const (
	// wellAfter is how long a node must have been well before volumes are brought to it.
	wellAfter = time.Minute
	// attractPace is the pause after a volume that was found, attractRest that after none was.
	attractPace = time.Second
	attractRest = 5 * time.Second
	// shunFor is how long a volume is left alone that this node could not open.
	shunFor = 10 * time.Minute
)

// attraction is what draws volumes to this node. Of the tick goroutine, but for well, which g.mu guards.
type attraction struct {
	well  map[cluster.NodeID]time.Time // since when a node has been well
	drawn *Volume                      // the one to take over now; nil: none
	next  time.Time                    // when it is looked for the next one
}

// attractTurn looks for a volume to take over, every now and then.
func (g *Gateway) attractTurn(now time.Time) {
	a := &g.attracting
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.state == nil {
		return
	}
	g.noteWell(now)
	if now.Before(a.next) || a.drawn != nil && a.drawn.opening.Load() {
		return
	}
	if v := a.drawn; v != nil && v.locked.Load() != nil {
		v.vacant.shunned = now.Add(shunFor)
	}
	a.drawn, a.next = nil, now.Add(attractRest)
	view := g.homeView(now)
	if !view.Nodes[g.o.Self].Well {
		return
	}
	if key, ok := view.Next(); ok {
		a.drawn, a.next = g.mu.volumes[key], now.Add(attractPace)
	}
}

// noteWell keeps since when nodes have been well: this one when it may serve and reaches all others, another
// one when it is reached. g.mu is held.
func (g *Gateway) noteWell(now time.Time) {
	well := g.attracting.well
	for n := range g.mu.state.Map.Nodes {
		is := n == g.o.Self && g.leased() && g.sound() || n != g.o.Self && g.o.Votes.Connected(n)
		if !is {
			delete(well, n)
		} else if well[n].IsZero() {
			well[n] = now
		}
	}
}

// homeView is the cluster as package home wants it. g.mu is held.
func (g *Gateway) homeView(now time.Time) home.View {
	s := g.mu.state
	v := home.View{Self: g.o.Self, Nodes: make(map[cluster.NodeID]home.Node, len(s.Map.Nodes))}
	for n, rec := range s.Map.Nodes {
		since := g.attracting.well[n]
		v.Nodes[n] = home.Node{Number: n, Path: rec.Path(), Well: !since.IsZero() && now.Sub(since) >= wellAfter}
	}
	for _, d := range s.Map.Devices {
		if n, ok := v.Nodes[d.Node]; ok && d.State != cluster.DeviceRemoved {
			n.Storage = true
			v.Nodes[d.Node] = n
		}
	}
	busy := make(map[cluster.VolumeKey]bool)
	for _, x := range s.Snapshots {
		busy[x.Key] = busy[x.Key] || exacting(x)
	}
	for key, o := range s.Owners {
		vol, rec := g.mu.volumes[key], s.Volumes[key]
		if vol == nil || rec == nil {
			continue
		}
		p := s.Map.Pools[rec.Pool]
		v.Volumes = append(v.Volumes, home.Volume{Key: key, Owner: o.Gateway, Home: p.HomeOf(rec),
			Balance: p.Balances(), Fixed: busy[key] || !g.steady(o) || now.Before(vol.vacant.shunned)})
	}
	return v
}
