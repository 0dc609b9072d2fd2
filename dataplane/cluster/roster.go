package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of a pool's membership. The weights of all members together stay below 2^39, which placement's
// arithmetic relies on.
const (
	MaxWeight  = 1 << 24   // 1 PiB in units of 64 MiB
	MaxMembers = 1<<15 - 1 // devices that ever belonged to one pool
	MaxChanges = 4096      // every node replays them
)

// ErrTooFewDomains tells that no placement exists: fewer failure domains than chunks.
var ErrTooFewDomains = errors.New("too few failure domains for the pool's code")

// Member is a device as placement sees it. It is copied from the map when the device joins the pool, so
// that nothing else that happens to the device or its node can alter where data lies.
type Member struct {
	Device DeviceID `json:"device"`
	Weight uint32   `json:"weight,omitempty"` // share of data, in units of 64 MiB
	Domain string   `json:"domain,omitempty"` // failure domain path "az/rack/node"
}

// Path is the member's failure domain at a level: two members share the domain exactly when the paths are
// equal.
func (m Member) Path(level DomainLevel) string {
	parts := strings.SplitN(m.Domain, "/", 3)
	switch level {
	case DomainAZ:
		return parts[0]
	case DomainRack:
		return strings.Join(parts[:min(2, len(parts))], "/")
	case DomainNode:
		return m.Domain
	default:
		return fmt.Sprintf("%s/%d", m.Domain, m.Device)
	}
}

func (m Member) validate() error {
	parts := strings.Split(m.Domain, "/")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return bad("members", "device %d: domain %q is no path of the form az/rack/node", m.Device, m.Domain)
	}
	return m.validateWeight()
}

func (m Member) validateWeight() error {
	if m.Weight < 1 || m.Weight > MaxWeight {
		return bad("members", "device %d: weight %d is not from 1 to %d", m.Device, m.Weight, MaxWeight)
	}
	return nil
}

// ChangeKind says what a change does to the members it names.
type ChangeKind string

// The kinds of change. Remove and fail mean the same for placement; the difference is whether the device
// can still be read while its data moves.
const (
	ChangeAdd      ChangeKind = "add"
	ChangeRemove   ChangeKind = "remove"
	ChangeFail     ChangeKind = "fail"
	ChangeReweight ChangeKind = "reweight"
)

// Change is one step of a pool's history. All members that one event touches (the devices of a new node)
// are in one change: handed out together, no slot moves twice.
type Change struct {
	Kind ChangeKind `json:"kind"`
	// Members: the weight is given for add and reweight, the domain for add.
	Members []Member `json:"members"`
}

// Roster is who belongs to a pool at one point of its history. It is append-only: who left stays as a
// tombstone, so a position means the same device for ever.
type Roster struct {
	// Members are all that ever belonged, in the order they came; those that left have weight 0.
	Members []Member
	at      map[DeviceID]int
}

// NewRoster is the roster of a new pool.
func NewRoster(members []Member) (*Roster, error) {
	r := &Roster{at: make(map[DeviceID]int, len(members))}
	if err := r.Apply(Change{Kind: ChangeAdd, Members: members}); err != nil {
		return nil, err
	}
	return r, nil
}

// At is the position of a device that belongs or ever belonged.
func (r *Roster) At(d DeviceID) (int, bool) {
	i, ok := r.at[d]
	return i, ok
}

// Clone is a deep copy.
func (r *Roster) Clone() *Roster {
	c := &Roster{Members: slices.Clone(r.Members), at: make(map[DeviceID]int, len(r.at))}
	for i, m := range r.Members {
		c.at[m.Device] = i
	}
	return c
}

// Present lists who belongs now.
func (r *Roster) Present() []Member {
	return slices.DeleteFunc(slices.Clone(r.Members), func(m Member) bool { return m.Weight == 0 })
}

// Apply makes a change, or refuses it as a whole and leaves the roster as it is.
func (r *Roster) Apply(c Change) error {
	if len(c.Members) == 0 {
		return bad("members", "must name a device")
	}
	seen := make(map[DeviceID]bool, len(c.Members))
	for _, m := range c.Members {
		if seen[m.Device] {
			return bad("members", "names device %d twice", m.Device)
		}
		seen[m.Device] = true
		if err := r.check(c.Kind, m); err != nil {
			return err
		}
	}
	if c.Kind == ChangeAdd && len(r.Members)+len(c.Members) > MaxMembers {
		return bad("members", "more than %d devices would have belonged to the pool", MaxMembers)
	}
	for _, m := range c.Members {
		if c.Kind == ChangeAdd {
			r.at[m.Device] = len(r.Members)
			r.Members = append(r.Members, m)
		} else {
			r.Members[r.at[m.Device]].Weight = m.Weight // 0 for those that leave
		}
	}
	return nil
}

func (r *Roster) check(kind ChangeKind, m Member) error {
	i, known := r.at[m.Device]
	present := known && r.Members[i].Weight > 0
	switch kind {
	case ChangeAdd:
		if m.Device == 0 {
			return bad("members", "device numbers start at 1")
		}
		if known {
			return bad("members", "device %d belongs or once belonged to the pool", m.Device)
		}
		return m.validate()
	case ChangeRemove, ChangeFail, ChangeReweight:
		if !present {
			return bad("members", "device %d does not belong to the pool", m.Device)
		}
		if m.Domain != "" {
			return bad("members", "device %d: a domain is given only for %s", m.Device, ChangeAdd)
		}
		if kind == ChangeReweight {
			return m.validateWeight()
		}
		if m.Weight != 0 {
			return bad("members", "device %d: %s takes no weight", m.Device, kind)
		}
		return nil
	default:
		return bad("kind", "%q is none of add, remove, fail, reweight", kind)
	}
}

// Roster replays the pool's history.
func (p *Pool) Roster() (*Roster, error) {
	if len(p.Changes) > MaxChanges {
		return nil, bad("changes", "%d changes, at most %d are allowed", len(p.Changes), MaxChanges)
	}
	r, err := NewRoster(p.Members)
	if err != nil {
		return nil, err
	}
	for i, c := range p.Changes {
		if err := r.Apply(c); err != nil {
			return nil, fmt.Errorf("change %d: %w", i+1, err)
		}
	}
	return r, nil
}

// Present lists who belongs to the pool now; nobody if its history is malformed.
func (p *Pool) Present() []Member {
	r, err := p.Roster()
	if err != nil {
		return nil
	}
	return r.Present()
}

// Devices lists the devices that belong to the pool now.
func (p *Pool) Devices() []DeviceID { return devicesOf(p.Present()) }

// FirstDevices lists the devices that the pool was made on.
func (p *Pool) FirstDevices() []DeviceID { return devicesOf(p.Members) }

func devicesOf(members []Member) []DeviceID {
	out := make([]DeviceID, len(members))
	for i, m := range members {
		out[i] = m.Device
	}
	return out
}

// Below is the next narrower level; device is the last.
func (l DomainLevel) Below() DomainLevel {
	switch l {
	case DomainAZ:
		return DomainRack
	case DomainRack:
		return DomainNode
	default:
		return DomainDevice
	}
}

// ChunksPerDomain says how many chunks of one page may meet in one failure domain of the pool's level
// when the pool is on these members: one, or, if the pool relaxes its rule, the fewest with which a page
// finds room in different domains of the level below.
func (p *Pool) ChunksPerDomain(members []Member) (int, error) {
	below := make(map[string]map[string]bool) // domain -> its domains of the level below
	for _, m := range members {
		d := m.Path(p.Domain)
		if below[d] == nil {
			below[d] = make(map[string]bool)
		}
		below[d][m.Path(p.Domain.Below())] = true
	}
	limit := 1
	for p.Relax && limit < p.Width() && room(below, limit) < p.Width() {
		limit++
	}
	if room(below, limit) < p.Width() {
		relaxed := ""
		if p.Relax {
			relaxed = fmt.Sprintf(", and relaxing to level %q does not help", p.Domain.Below())
		}
		return 0, fmt.Errorf("%w: %w", ErrTooFewDomains, bad("domain",
			"%d chunks need %d different failure domains of level %q, there are %d%s",
			p.Width(), p.Width(), p.Domain, len(below), relaxed))
	}
	return limit, nil
}

func room(below map[string]map[string]bool, limit int) int {
	sum := 0
	for _, b := range below {
		sum += min(limit, len(b))
	}
	return sum
}
