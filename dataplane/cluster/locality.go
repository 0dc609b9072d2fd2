package cluster

import (
	"cmp"
	"fmt"
	"strings"
)

// Serving is how the hosts of a volume are served, and by whom.
type Serving struct {
	// QoS bounds its hosts; nil: as the pool says.
	QoS *QoS `json:"qos,omitempty"`
	// Home is the failure domain whose nodes serve it; nil: as the pool says, empty: none.
	Home *string `json:"home,omitempty"`
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

// Locality is who serves the volumes of a pool as long as all is well.
type Locality struct {
	// Home is the failure domain whose nodes serve them: az, az/rack or az/rack/node; empty: none.
	Home string `json:"home,omitempty"`
	// Balance: they are spread evenly over the nodes that are equally near to their homes.
	Balance bool `json:"balance,omitempty"`
}

// homeLevels of a failure domain can be a home: az/rack/node.
const homeLevels = 3

// ValidateHome checks the form of a home.
func ValidateHome(field, home string) error {
	if home == "" {
		return nil
	}
	parts := strings.Split(home, "/")
	if len(parts) > homeLevels {
		return bad(field, "%q is none of az, az/rack and az/rack/node", home)
	}
	for _, p := range parts {
		if err := ValidateName(field, p); err != nil {
			return err
		}
	}
	return nil
}

// HomeOf is the home of a volume of the pool: its own, else the pool's; empty: none.
func (p *Pool) HomeOf(v *Volume) string {
	switch {
	case v.Home != nil:
		return *v.Home
	case p != nil && p.Locality != nil:
		return p.Locality.Home
	}
	return ""
}

// Balances reports whether volumes of the pool may move for the sake of others.
func (p *Pool) Balances() bool { return p != nil && p.Locality != nil && p.Locality.Balance }

// Nearness is how many levels of a home a node's path shares with it, from the top: 0 without a home, 3 if it
// is that node.
func Nearness(home, path string) (n int) {
	for home != "" && path != "" {
		var a, b string
		a, home, _ = strings.Cut(home, "/")
		b, path, _ = strings.Cut(path, "/")
		if a != b {
			break
		}
		n++
	}
	return n
}

// Path is the failure domain of a node, az/rack/number.
func (n *Node) Path() string {
	return fmt.Sprintf("%s/%d", cmp.Or(n.Domain, "default/default"), n.Number)
}
