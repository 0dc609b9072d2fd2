package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Map is the description of the cluster at one epoch. It is immutable once built: share it freely.
type Map struct {
	Epoch   Epoch
	Cluster ClusterInfo
	Voters  VoterList
	Nodes   map[NodeID]*Node
	Devices map[DeviceID]*Device
	Pools   map[string]*Pool
}

// State is the map plus the records of the volumes, all as of one etcd revision. Immutable once built.
type State struct {
	Revision int64
	Map      *Map
	Volumes  map[VolumeKey]*Volume
	Owners   map[VolumeKey]*OwnerAt
	// LastVUID is the VUID counter at the same revision: a VUID up to it without a record was deleted.
	LastVUID uint32
	// Unreadable tells that there are volume records that could not be read: then a missing one proves nothing.
	Unreadable bool
}

// Deleted reports whether a volume certainly existed and does not any more.
func (s *State) Deleted(v VolumeKey) bool {
	return !s.Unreadable && v.VUID <= s.LastVUID && s.Volumes[v] == nil
}

// OwnerAt is an owner record with the etcd revision that wrote it, the base of the next compare-and-swap.
type OwnerAt struct {
	Owner
	Revision int64
}

// SortedNodes lists the nodes by number.
func (m *Map) SortedNodes() []*Node {
	out := make([]*Node, 0, len(m.Nodes))
	for _, n := range m.Nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *Node) int { return int(a.Number) - int(b.Number) })
	return out
}

// SortedDevices lists the devices by number, tombstones included.
func (m *Map) SortedDevices() []*Device {
	out := make([]*Device, 0, len(m.Devices))
	for _, d := range m.Devices {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *Device) int { return int(a.Number) - int(b.Number) })
	return out
}

// DomainPath is the failure domain of a device at a level: two devices share the domain exactly when the
// paths are equal.
func (m *Map) DomainPath(d *Device, level DomainLevel) string {
	path := "default/default"
	if n := m.Nodes[d.Node]; n != nil && n.Domain != "" {
		path = n.Domain
	}
	az, _, _ := strings.Cut(path, "/")
	switch level {
	case DomainAZ:
		return az
	case DomainRack:
		return path
	case DomainNode:
		return fmt.Sprintf("%s/%d", path, d.Node)
	default:
		return fmt.Sprintf("%s/%d/%d", path, d.Node, d.Number)
	}
}

// CountDomains is the number of different failure domains at a level among devices that are online.
func (m *Map) CountDomains(devices []DeviceID, level DomainLevel) int {
	seen := make(map[string]bool)
	for _, id := range devices {
		if d := m.Devices[id]; d != nil && d.State == DeviceOnline {
			seen[m.DomainPath(d, level)] = true
		}
	}
	return len(seen)
}
