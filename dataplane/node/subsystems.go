package node

import (
	"encoding/hex"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/peer"
)

// model is what hosts see in Identify Controller.
const model = "Ashlar"

// subsystems shows the volumes to hosts, each as a subsystem of its own, and the chunk service to nodes. It
// implements gateway.Events.
type subsystems struct {
	n  *Node
	mu struct {
		sync.Mutex
		volumes map[cluster.UUID]*shown
		service *peer.Service
		nodes   []string
	}
}

// shown is a subsystem as it was configured last.
type shown struct {
	hosts   []string
	portals []nvmet.Portal
}

func (s *subsystems) init(n *Node) {
	s.n = n
	s.mu.volumes = make(map[cluster.UUID]*shown)
}

// AccessChanged implements gateway.Events.
func (s *subsystems) AccessChanged(v *gateway.Volume) {
	s.n.hosts.ANAChanged(cluster.VolumeNQN(v.UUID()))
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
	portals := s.portals(st)
	alive := make(map[cluster.UUID]bool, len(st.Volumes))
	for key, rec := range st.Volumes {
		alive[rec.UUID] = true
		have := s.mu.volumes[rec.UUID]
		if have != nil && reflect.DeepEqual(have.hosts, rec.Hosts) && reflect.DeepEqual(have.portals, portals) {
			continue
		}
		v := s.n.gateway.Volume(key)
		if v == nil {
			continue // the gateway has said why
		}
		err := s.n.hosts.Put(nvmet.SubsystemConfig{NQN: cluster.VolumeNQN(rec.UUID), Serial: serial(rec.UUID),
			Model:     model,
			Namespace: v, AllowedHosts: rec.Hosts, Portals: portals})
		if err != nil {
			s.n.log.WithError(err).WithField("volume", rec.UUID.String()).Error("volume cannot be shown to hosts")
			continue
		}
		s.mu.volumes[rec.UUID] = &shown{hosts: rec.Hosts, portals: portals}
	}
	for id := range s.mu.volumes {
		if !alive[id] {
			s.n.hosts.Remove(cluster.VolumeNQN(id))
			delete(s.mu.volumes, id)
		}
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
