package node

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// Figures is what a node has counted, and how it is now: for the collector of metrics and for the history
// that people look at. Taking them costs the data path a moment of each volume's lock, and nothing between.
type Figures struct {
	Gateway gateway.Figures
	Devices []DeviceFigures // by number
	Hosts   nvmet.Figures   // the target for hosts
	Nodes   nvmet.Figures   // the target for nodes
	Peers   map[cluster.NodeID]bool
	Names   map[cluster.VolumeKey]string // of the volumes that this node owns
}

// DeviceFigures is a device of this node. A device that is not open has no figures.
type DeviceFigures struct {
	Device cluster.DeviceID
	Open   bool
	Disk   blockdev.Figures
	Store  pagestore.Stats
	Scrub  cluster.ScrubStats
}

// metered is a device that counts what it does: a file or a disk.
type metered interface{ Figures() blockdev.Figures }

// Figures looks at everything. Any time, from any goroutine.
func (n *Node) Figures() Figures {
	f := Figures{Gateway: n.gateway.Figures(), Devices: n.disks.figures(), Hosts: n.hosts.Figures(),
		Nodes: n.nodes.Figures(), Peers: make(map[cluster.NodeID]bool)}
	f.Names = make(map[cluster.VolumeKey]string, len(f.Gateway.Volumes))
	s := n.state.Load()
	if s == nil {
		return f
	}
	for id := range s.Map.Nodes {
		if id != n.o.Self {
			f.Peers[id] = n.peers.Connected(id)
		}
	}
	for _, v := range f.Gateway.Volumes {
		if rec := s.Volumes[v.Key]; rec != nil {
			f.Names[v.Key] = rec.Name
		}
	}
	return f
}

func (d *disks) figures() []DeviceFigures {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []DeviceFigures
	for id, k := range d.mu.open {
		f := DeviceFigures{Device: id, Open: k.store != nil}
		if f.Open {
			f.Store = k.store.Stats()
			if s := k.scrub.stats(); s != nil {
				f.Scrub = *s
			}
			if m, ok := k.dev.(metered); ok {
				f.Disk = m.Figures()
			}
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b DeviceFigures) int { return int(a.Device) - int(b.Device) })
	return out
}
