package node

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/delta"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/peer"
)

// model is what hosts see in Identify Controller.
const model = "Ashlar"

// subsystems shows volumes and snapshots to hosts, each as a subsystem of its own, and the chunk service to
// nodes. It implements gateway.Events.
type subsystems struct {
	n *Node
	// snapshots are the names of the snapshots shown, by volume: their access is the volume's.
	snapshots atomic.Pointer[map[cluster.UUID][]string]
	mu        struct {
		sync.Mutex
		was       *cluster.State      // the last one
		portals   []nvmet.Portal      // as of it
		again     []cluster.VolumeKey // could not be shown then
		volumes   map[string]*shown   // by NQN
		snapshots map[string]*shown   // by NQN
		service   *peer.Service
		nodes     []string
	}
}

// shown is a subsystem as it was configured last.
type shown struct {
	hosts    []string
	portals  []nvmet.Portal
	readOnly bool
}

func (s *subsystems) init(n *Node) {
	s.n = n
	s.mu.was = new(cluster.State)
	s.mu.volumes, s.mu.snapshots = make(map[string]*shown), make(map[string]*shown)
	s.snapshots.Store(new(map[cluster.UUID][]string))
}

// AccessChanged implements gateway.Events.
func (s *subsystems) AccessChanged(v *gateway.Volume) {
	s.n.hosts.ANAChanged(cluster.VolumeNQN(v.UUID()))
	for _, nqn := range (*s.snapshots.Load())[v.UUID()] {
		s.n.hosts.ANAChanged(nqn)
	}
}

// SizeChanged implements gateway.Events.
func (s *subsystems) SizeChanged(v *gateway.Volume) {
	s.n.hosts.NamespaceChanged(cluster.VolumeNQN(v.UUID()))
}

// follow configures what changed since the last state.
func (s *subsystems) follow(st *cluster.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followNodes(st)
	was, portals := s.mu.was, s.portals(st)
	changed := slices.Concat(delta.Volumes(was, st), s.mu.again)
	if !reflect.DeepEqual(portals, s.mu.portals) {
		changed = slices.AppendSeq(changed, maps.Keys(st.Volumes))
	}
	s.mu.was, s.mu.portals, s.mu.again = st, portals, nil
	for _, key := range changed {
		s.followVolume(key, was, st)
	}
	s.followSnapshots(st)
}

// followVolume shows a volume, or hides one that is gone. What cannot be shown is tried again with the next
// state. s.mu is held.
func (s *subsystems) followVolume(key cluster.VolumeKey, was, st *cluster.State) {
	rec := st.Volumes[key]
	if rec == nil {
		if old := was.Volumes[key]; old != nil {
			s.hide(s.mu.volumes, cluster.VolumeNQN(old.UUID))
		}
		return
	}
	v := s.n.gateway.Volume(key)
	if v == nil || !s.show(s.mu.volumes, cluster.VolumeNQN(rec.UUID), rec.UUID,
		shown{hosts: rec.Hosts, portals: s.mu.portals, readOnly: rec.ReadOnly}, v) {
		s.mu.again = append(s.mu.again, key) // of nil the gateway has said why
	}
}

// followSnapshots shows the snapshots that hosts may read, and hides those that none may. s.mu is held.
func (s *subsystems) followSnapshots(st *cluster.State) {
	names := make(map[cluster.UUID][]string) // before they are shown: no change of their access is missed
	for _, rec := range st.Snapshots {
		names[rec.Volume] = append(names[rec.Volume], cluster.SnapshotNQN(rec.UUID))
	}
	s.snapshots.Store(&names)
	wanted := make(map[string]bool)
	for _, rec := range st.Snapshots {
		if ns, ok := s.n.gateway.Snapshot(&rec.Snapshot); ok && len(rec.Hosts) > 0 {
			nqn := cluster.SnapshotNQN(rec.UUID)
			wanted[nqn] = true
			s.show(s.mu.snapshots, nqn, rec.UUID, shown{hosts: rec.Hosts, portals: s.mu.portals}, ns)
		}
	}
	for nqn := range s.mu.snapshots {
		if !wanted[nqn] {
			s.hide(s.mu.snapshots, nqn)
		}
	}
}

// show configures a subsystem if that is news; false: it cannot. s.mu is held.
func (s *subsystems) show(among map[string]*shown, nqn string, id cluster.UUID, want shown,
	ns nvmet.Namespace) bool {
	if have := among[nqn]; have != nil && reflect.DeepEqual(*have, want) {
		return true
	}
	err := s.n.hosts.Put(nvmet.SubsystemConfig{NQN: nqn, Serial: serial(id), Model: model, Namespace: ns,
		ReadOnly: want.readOnly, AllowedHosts: want.hosts, Portals: want.portals})
	if err != nil {
		s.n.log.WithError(err).WithField("subsystem", nqn).Error("volume or snapshot cannot be shown to hosts")
		return false
	}
	among[nqn] = &want
	return true
}

// hide removes a subsystem, if there is one. s.mu is held.
func (s *subsystems) hide(among map[string]*shown, nqn string) {
	if among[nqn] != nil {
		s.n.hosts.Remove(nqn)
		delete(among, nqn)
	}
}

// followNodes admits the nodes of the map to the chunk service.
func (s *subsystems) followNodes(st *cluster.State) {
	var names []string
	for _, node := range st.Map.SortedNodes() {
		names = append(names, cluster.NodeNQN(s.n.o.ClusterID, node.Number))
	}
	if reflect.DeepEqual(names, s.mu.nodes) {
		return
	}
	self := s.n.o.Self
	if s.mu.service == nil {
		id := nvmet.Identity{UUID: s.n.o.ClusterID}
		id.UUID[15] ^= byte(self) // only has to differ from node to node
		id.UUID[14] ^= byte(self >> 8)
		id.NGUID = id.UUID
		s.mu.service = peer.NewService(s.n.chunks, s.n.voter, s.n.gateway, id)
	}
	nqn := cluster.NodeNQN(s.n.o.ClusterID, self)
	err := s.n.nodes.Put(nvmet.SubsystemConfig{NQN: nqn, Serial: fmt.Sprintf("node%d", self), Model: model,
		Namespace: s.mu.service, AllowedHosts: names, Vendor: true})
	if err != nil {
		s.n.log.WithError(err).Error("chunk service cannot be offered to other nodes")
		return
	}
	s.mu.nodes = names
}

// portals lists where hosts reach a volume: at every node.
func (s *subsystems) portals(st *cluster.State) []nvmet.Portal {
	var out []nvmet.Portal
	for _, node := range st.Map.SortedNodes() {
		host, port, err := net.SplitHostPort(node.Addresses.Host)
		p, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || net.ParseIP(host) == nil {
			s.n.log.WithField("address", node.Addresses.Host).
				Warn("discovery leaves a node out: its host address is no IP address and port")
			continue
		}
		out = append(out, nvmet.Portal{Addr: host, Port: uint16(p), PortID: uint16(node.Number)})
	}
	return out
}

// serial is a volume's serial number: the first 20 digits of its UUID, the same on every node.
func serial(u cluster.UUID) string { return hex.EncodeToString(u[:])[:20] }
