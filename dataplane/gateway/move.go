package gateway

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// A volume whose owner is well moves when another node takes it over: that one knows best whether it can
// serve it, and until its name is in the owner record nothing has changed for hosts. The former owner gives
// the volume up as soon as it hears of the new record, by watch or because it is asked (Yield), so hosts wait
// for about as long as an open takes.

// asked names the node that a volume's record asks to take it over from its present owner; 0: none. g.mu is
// held.
func (g *Gateway) asked(key cluster.VolumeKey, o *cluster.OwnerAt) cluster.NodeID {
	if rec := g.mu.state.Volumes[key]; rec != nil && o != nil && rec.Move.Pending(&o.Owner) {
		return rec.Move.Node
	}
	return 0
}

// home is the home of a volume; empty: none. g.mu is held.
func (g *Gateway) home(key cluster.VolumeKey) string {
	rec := g.mu.state.Volumes[key]
	if rec == nil {
		return ""
	}
	return g.mu.state.Map.Pools[rec.Pool].HomeOf(rec)
}

// called reports whether this node should take a volume over from an owner that is well. g.mu is held.
func (g *Gateway) called(key cluster.VolumeKey, o *cluster.OwnerAt) bool {
	return g.asked(key, o) == g.o.Self && g.movable(key, o) && g.sound()
}

// movable reports whether a volume could be taken from its owner now: that one serves, would hear of it, and
// nothing is under way that hosts wait for or that would have to begin anew. g.mu is held.
func (g *Gateway) movable(key cluster.VolumeKey, o *cluster.OwnerAt) bool {
	if !g.steady(o) {
		return false
	}
	for _, x := range g.mu.state.Snapshots {
		if x.Key == key && exacting(x) {
			return false
		}
	}
	return true
}

// steady reports whether an owner serves its volume and would hear of another one. g.mu is held.
func (g *Gateway) steady(o *cluster.OwnerAt) bool {
	return o.Epoch > 0 && o.Served == o.Epoch && !o.Released && g.o.Votes.Connected(o.Gateway)
}

// exacting reports whether the volume's owner is at work on a snapshot that somebody waits for.
func exacting(x *cluster.SnapshotAt) bool {
	return x.State == cluster.SnapshotCreating || x.State == cluster.SnapshotReverting
}

// sound reports whether this node reaches all others but those that seem to be gone: else it might take a
// volume to where the devices are farther away. g.mu is held.
func (g *Gateway) sound() bool {
	for n := range g.mu.state.Map.Nodes {
		if n != g.o.Self && !g.o.Votes.Connected(n) && !g.suspected(n) {
			return false
		}
	}
	return true
}
