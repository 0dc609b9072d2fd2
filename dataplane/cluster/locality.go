package cluster

// Serving is how the hosts of a volume are served, and by whom.
type Serving struct {
	// QoS bounds its hosts; nil: as the pool says.
	QoS *QoS `json:"qos,omitempty"`
	// Move is what was asked last about its owner; nil: nothing ever.
	Move *Move `json:"move,omitempty"`
}

// Move asks a node to take a volume over from the owner of one epoch. With the next epoch it is over, whoever
// the owner is then.
type Move struct {
	Node  NodeID `json:"node"`
	Epoch uint32 `json:"epoch"`
}

// Same reports whether two say the same; nil is nothing asked.
func (m *Move) Same(o *Move) bool { return m == o || m != nil && o != nil && *m == *o }

// Pending reports whether the node is still to take the volume over from its present owner.
func (m *Move) Pending(o *Owner) bool { return m != nil && m.Epoch == o.Epoch && m.Node != o.Gateway }
