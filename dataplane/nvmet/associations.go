package nvmet

import (
	"cmp"
	"slices"
	"time"
)

// Association is a host that is connected to a subsystem: a controller that has not ended.
type Association struct {
	SubNQN, HostNQN string
	CNTLID          uint16
	Remote          string // where its admin queue comes from, address:port
	Since           time.Time
	Queues          int // for I/O
}

// Associations lists who is connected, by subsystem and controller; discovery controllers are left out.
func (t *Target) Associations() []Association {
	t.mu.Lock()
	subsystems := make([]*subsystem, 0, len(t.mu.subsystems))
	for _, s := range t.mu.subsystems {
		subsystems = append(subsystems, s)
	}
	t.mu.Unlock()
	var out []Association
	for _, s := range subsystems {
		nqn := s.view.Load().cfg.NQN
		for _, k := range s.all() {
			if a, ok := k.association(); ok {
				a.SubNQN = nqn
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(a, b Association) int {
		return cmp.Or(cmp.Compare(a.SubNQN, b.SubNQN), cmp.Compare(a.CNTLID, b.CNTLID))
	})
	return out
}

// association describes the controller; false when it has ended.
func (k *controller) association() (Association, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Association{HostNQN: k.host.nqn, CNTLID: k.id, Remote: k.admin.peer.remote, Since: k.since,
		Queues: len(k.mu.queues) - 1}, !k.mu.ended
}
