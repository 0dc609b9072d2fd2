// Package home decides which gateway a volume should be served by while its present one is well: the one
// nearest to the volume's home, and, among those that are equally near, not one that serves many more volumes
// than another.
//
// A home is a failure domain as the map names it: "az", "az/rack" or "az/rack/node", the node by its number.
// Nearness is how many of these levels a node shares with it. So a volume whose home is a node goes to
// another one of the same rack when that node is gone, then to another one of the same zone, and comes back.
//
// Every node asks for itself which volume it should take over next ([View.Next]), by the same rules on what
// is, a moment apart, the same picture; the compare-and-swap of the owner record settles what two of them
// want. Each move brings a volume nearer to its home, or takes it, equally near, from a node that has at
// least two volumes more to the node that has fewest. So moves come to an end, and nothing goes to and fro.
//
// It is pure: who is well, and since when, and how often a node asks, is the gateway's to say.
package home

import (
	"cmp"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Node is a gateway.
type Node struct {
	Number cluster.NodeID
	Path   string // az/rack/number
	Well   bool   // it could serve any volume now, and has been able to for a while
	// Storage: it has devices. Others, on the machines of hosts, are given the volumes whose home they are.
	Storage bool
}

// Volume is a volume with an owner.
type Volume struct {
	Key     cluster.VolumeKey
	Owner   cluster.NodeID
	Home    string // empty: none
	Balance bool   // it may move for the sake of others
	Fixed   bool   // it cannot move now
}

// View is the cluster as one node sees it.
type View struct {
	Self    cluster.NodeID
	Nodes   map[cluster.NodeID]Node
	Volumes []Volume
}

// levels of a path; a home that has all of them is one node.
const levels = 3

// Next is the volume that Self should take over now; false: none.
func (v *View) Next() (best cluster.VolumeKey, ok bool) {
	counts := make(map[cluster.NodeID]int, len(v.Nodes))
	for i := range v.Volumes {
		counts[v.Volumes[i].Owner]++
	}
	sites := make(map[string]site)
	var first candidate
	for i := range v.Volumes {
		vol := &v.Volumes[i]
		at, known := sites[vol.Home]
		if !known {
			at = v.site(vol.Home, counts)
			sites[vol.Home] = at
		}
		if c := v.judge(vol, at, counts); c.gain != nothing && (first.gain == nothing || c.before(&first)) {
			first = c
		}
	}
	return first.key, first.gain != nothing
}

// site is where the volumes of one home belong.
type site struct {
	near int            // of the well nodes that are nearest
	node cluster.NodeID // of these the one with fewest volumes, then the lowest number; 0: no node is well
}

func (v *View) site(home string, counts map[cluster.NodeID]int) (s site) {
	for _, n := range v.Nodes {
		near := cluster.Nearness(home, n.Path)
		if !n.Well || !n.Storage && near < levels {
			continue
		}
		if s.node == 0 || cmp.Or(cmp.Compare(s.near, near), cmp.Compare(counts[n.Number], counts[s.node]),
			cmp.Compare(n.Number, s.node)) < 0 {
			s = site{near, n.Number}
		}
	}
	return s
}

// What a move is good for, the better the more urgent.
const (
	nothing = iota
	balance
	homeward
)

// candidate is a volume that could be taken over.
type candidate struct {
	key  cluster.VolumeKey
	gain int
	from int // volumes of its owner
}

// before reports whether a is to be taken over before b.
func (a *candidate) before(b *candidate) bool {
	return cmp.Or(cmp.Compare(b.gain, a.gain), cmp.Compare(b.from, a.from),
		cmp.Compare(a.key.Serial(), b.key.Serial())) < 0
}

// judge says what it is good for that Self takes a volume over.
func (v *View) judge(vol *Volume, at site, counts map[cluster.NodeID]int) candidate {
	c := candidate{key: vol.Key, from: counts[vol.Owner]}
	if vol.Fixed || at.node != v.Self || vol.Owner == v.Self {
		return c
	}
	owner := cluster.Nearness(vol.Home, v.Nodes[vol.Owner].Path)
	switch {
	case at.near > owner:
		c.gain = homeward
	case at.near == owner && vol.Balance && c.from >= counts[v.Self]+2:
		c.gain = balance
	}
	return c
}
