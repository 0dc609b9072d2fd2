package cluster

import "slices"

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
	// Snapshots are those that nodes have to do with: on their way to another state, or shown to hosts.
	Snapshots   map[UUID]*SnapshotAt
	ClusterKeys ClusterKeys
	Authority   AuthorityMark
	// LastSerial is the counter of volume keys at the same revision: a key up to it without a record was
	// deleted.
	LastSerial uint64
	// Unreadable tells that there are volume records that could not be read: then a missing one proves nothing.
	Unreadable bool
	// News is what differs from the state before; nil: that is not known. Package delta looks at it.
	News *News
}

// News names the volumes of which a state has another record, or none any more, than the one before, whose
// revision is Since; and those whose owner's record differs so.
type News struct {
	Since           int64
	Volumes, Owners []VolumeKey
}

// Deleted reports whether a volume certainly existed and does not any more.
func (s *State) Deleted(v VolumeKey) bool {
	return !s.Unreadable && v.Serial() <= s.LastSerial && s.Volumes[v] == nil
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

// Members describes devices as members of a pool, in this order.
func (m *Map) Members(devices []DeviceID) ([]Member, error) {
	out := make([]Member, 0, len(devices))
	for _, id := range devices {
		d := m.Devices[id]
		if d == nil {
			return nil, bad("devices", "device %d does not exist", id)
		}
		out = append(out, m.member(d))
	}
	return out, nil
}

func (m *Map) member(d *Device) Member {
	n := m.Nodes[d.Node]
	if n == nil {
		n = &Node{Number: d.Node}
	}
	return Member{Device: d.Number, Weight: min(max(d.Weight, 1), MaxWeight), Domain: n.Path()}
}

// DomainPath is the failure domain of a device at a level: two devices share the domain exactly when the
// paths are equal.
func (m *Map) DomainPath(d *Device, level DomainLevel) string { return m.member(d).Path(level) }

// Near is how many levels of its failure domain a node shares with that of each device: 3 with its own ones.
func (m *Map) Near(node NodeID) map[DeviceID]int {
	levels := make(map[NodeID]int, len(m.Nodes))
	if self := m.Nodes[node]; self != nil {
		for id, n := range m.Nodes {
			levels[id] = Nearness(self.Path(), n.Path())
		}
	}
	near := make(map[DeviceID]int, len(m.Devices))
	for id, d := range m.Devices {
		near[id] = levels[d.Node]
	}
	return near
}
