package nvmet

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// quiesceTimeout is how long the Connect of a host waits for the commands of its last association. Linux
// gives a Connect 60 s.
const quiesceTimeout = 15 * time.Second

// stopTimeout bounds the wait for readers that were told to stop; they need microseconds.
const stopTimeout = 5 * time.Second

// SubsystemConfig describes a subsystem: one volume.
type SubsystemConfig struct {
	NQN string
	// Serial (20 bytes) and Model (40 bytes) are ASCII and the same on every node; longer ones are cut.
	Serial, Model string
	Namespace     Namespace
	// ReadOnly: hosts are told that the namespace is write protected, at once when that changes, and no command
	// that writes reaches Submit from then on. What was submitted before still completes.
	ReadOnly bool
	// AllowedHosts lists the NQNs of hosts that may connect. AllowAny lets everyone in: for tests and
	// development.
	AllowedHosts []string
	AllowAny     bool
	// Portals are what discovery answers: all portals of all nodes that show this subsystem.
	Portals []Portal
	// Vendor passes vendor I/O opcodes (80h and up) to the namespace. Only a target with a Secret takes it. A
	// host has one association with such a subsystem: a new one ends the old one and waits until nothing of it
	// can execute.
	Vendor bool
}

// Portal is an address that a subsystem can be reached at.
type Portal struct {
	Addr   string // IPv4 or IPv6 address
	Port   uint16
	PortID uint16 // the same for all portals of one port of a node
}

// subsystemView is a configuration as the data path sees it: replaced as a whole, never changed.
type subsystemView struct {
	cfg     SubsystemConfig
	allowed map[string]struct{}
	attrs   uint8 // NSATTR of the namespace
}

func (v *subsystemView) allows(host string) bool {
	_, ok := v.allowed[host]
	return ok || v.cfg.AllowAny
}

// subsystem is an NQN with its controllers.
type subsystem struct {
	target     *Target
	discovery  bool
	view       atomic.Pointer[subsystemView]
	anaChanges atomic.Uint64

	mu struct {
		sync.Mutex
		controllers map[uint16]*controller // ended ones too, until they are drained
		lastID      uint16
		removed     bool
		retired     ioTotals // of connections that are gone
	}
}

// ioTotals are sums of ioCounters.
type ioTotals struct{ commands, reads, writes, blocksRead, blocksWritten uint64 }

func (t *ioTotals) add(c *ioCounters) {
	t.commands += c.commands.Load()
	t.reads += c.reads.Load()
	t.writes += c.writes.Load()
	t.blocksRead += c.blocksRead.Load()
	t.blocksWritten += c.blocksWritten.Load()
}

func (t *ioTotals) merge(o ioTotals) {
	t.commands += o.commands
	t.reads += o.reads
	t.writes += o.writes
	t.blocksRead += o.blocksRead
	t.blocksWritten += o.blocksWritten
}

func newSubsystem(t *Target, cfg SubsystemConfig) *subsystem {
	s := &subsystem{target: t}
	s.mu.controllers = map[uint16]*controller{}
	s.mu.lastID = t.options.MaxCNTLID
	s.anaChanges.Store(1)
	s.setView(cfg)
	return s
}

func (s *subsystem) setView(cfg SubsystemConfig) {
	v := &subsystemView{cfg: cfg, allowed: map[string]struct{}{}}
	for _, h := range cfg.AllowedHosts {
		v.allowed[h] = struct{}{}
	}
	if cfg.ReadOnly || cfg.Namespace != nil && cfg.Namespace.Identity().ReadOnly {
		v.attrs = nvme.NSATTRReadOnly
	}
	s.view.Store(v)
}

func (s *subsystem) allows(host string) bool { return s.view.Load().allows(host) }

// replace takes over a new configuration, of a removed subsystem too, and returns the associations whose
// hosts lost access with it.
func (s *subsystem) replace(cfg SubsystemConfig) (lost []*controller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setView(cfg)
	s.mu.removed = false
	view := s.view.Load()
	for _, k := range s.mu.controllers {
		if !view.allows(k.host.nqn) {
			lost = append(lost, k)
		}
	}
	return lost
}

// anaChanged tells the hosts that the namespace's state is another one.
func (s *subsystem) anaChanged() {
	s.anaChanges.Add(1)
	s.raise(eventANA)
}

// newController admits a host. Access is checked again under the lock, so that a host that lost it meanwhile
// cannot slip in behind replace.
func (s *subsystem) newController(c *conn, host hostKey, kato uint32) (*controller, nvme.Status) {
	if s.discovery && kato == 0 {
		kato = uint32(discoveryKeepAlive / time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.removed || !s.allows(host.nqn) {
		return nil, nvme.ConnectInvalidHost.NoRetry()
	}
	id, ok := s.freeID()
	if !ok {
		return nil, nvme.ConnectControllerBusy
	}
	k := newController(c, s, id, host, kato)
	s.mu.controllers[id] = k
	return k, nvme.Success
}

// freeID goes round the node's range, so that an identifier is not used again soon. The caller holds mu.
func (s *subsystem) freeID() (uint16, bool) {
	lo, hi := s.target.options.MinCNTLID, s.target.options.MaxCNTLID
	for range int(hi-lo) + 1 {
		if s.mu.lastID == hi {
			s.mu.lastID = lo
		} else {
			s.mu.lastID++
		}
		if _, taken := s.mu.controllers[s.mu.lastID]; !taken {
			return s.mu.lastID, true
		}
	}
	return 0, false
}

// controller finds an association that has not ended.
func (s *subsystem) controller(id uint16) *controller {
	s.mu.Lock()
	k := s.mu.controllers[id]
	s.mu.Unlock()
	if k == nil || k.isEnded() {
		return nil
	}
	return k
}

func (s *subsystem) all() []*controller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.mu.controllers))
}

// controllerIDs lists the controllers of this node from an identifier on, ascending.
func (s *subsystem) controllerIDs(from uint16) []uint16 {
	var ids []uint16
	for _, k := range s.all() {
		if k.id >= from && !k.isEnded() {
			ids = append(ids, k.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// quiesced waits until no request of an ended association of host is with the namespace any more, so that a
// late write of the old association cannot land on top of a write of the new one, self if it exists already.
// False: it took too long.
func (s *subsystem) quiesced(host hostKey, self *controller) bool {
	timeout := time.NewTimer(quiesceTimeout)
	defer timeout.Stop()
	for _, k := range s.all() {
		if k.host != host || k == self {
			continue
		}
		if !k.admin.established() {
			k.end(errAssociation) // its reader is about to notice
		}
		if !k.isEnded() {
			if !s.view.Load().cfg.Vendor {
				continue // another path of the host to this node
			}
			k.end(errReplaced) // between nodes an association is a session: the new one replaces the old
		}
		select {
		case <-k.drained:
		case <-timeout.C:
			return false
		case <-s.target.closing:
			return false
		}
	}
	return true
}

// forget drops a drained controller.
func (s *subsystem) forget(k *controller) {
	s.mu.Lock()
	delete(s.mu.controllers, k.id)
	s.mu.Unlock()
	s.target.reap(s)
}

// gone reports a removed subsystem, and whether nothing of it is left.
func (s *subsystem) gone() (removed, empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.removed, len(s.mu.controllers) == 0
}

// retire takes a queue from its controller and keeps its counts, so that the totals neither miss nor double
// them at any moment. It reports whether that was the last queue of an association that has ended.
func (s *subsystem) retire(k *controller, c *conn) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.retired.add(&c.count)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.queues = slices.DeleteFunc(k.mu.queues, func(q *conn) bool { return q == c })
	return k.mu.ended && len(k.mu.queues) == 0
}

// totals counts what all connections did, those gone included.
func (s *subsystem) totals() ioTotals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.mu.retired
	for _, k := range s.mu.controllers {
		k.mu.Lock()
		for _, c := range k.mu.queues {
			t.add(&c.count)
		}
		k.mu.Unlock()
	}
	return t
}

// raise reports an event to every host.
func (s *subsystem) raise(e event) {
	for _, k := range s.all() {
		k.raise(e)
	}
}

// remove ends all associations for good.
func (s *subsystem) remove(cause error) {
	s.mu.Lock()
	s.mu.removed = true
	s.mu.Unlock()
	endAll(s.all(), cause)
}

// endAll ends associations and waits until no command of theirs can start any more. The wait is bounded, lest
// a namespace whose Submit waits for our caller stop both for ever.
func endAll(list []*controller, cause error) {
	var stopping []*conn
	for _, k := range list {
		stopping = append(stopping, k.end(cause)...)
	}
	timeout := time.After(stopTimeout)
	for _, c := range stopping {
		select {
		case <-c.stopped:
		case <-timeout:
			return
		}
	}
}

// check refuses configurations that could not work or would open a hole.
func (cfg *SubsystemConfig) check(secret bool) error {
	switch {
	case nvme.CheckNQN(cfg.NQN) != nil || cfg.NQN == nvme.DiscoveryNQN:
		return fmt.Errorf("nvmet: %q is no NQN for a subsystem", cfg.NQN)
	case cfg.Namespace == nil || !reflect.TypeOf(cfg.Namespace).Comparable():
		return fmt.Errorf("nvmet: %s has no namespace, or one that is no pointer", cfg.NQN)
	case cfg.Vendor && !secret:
		return fmt.Errorf("nvmet: %s wants vendor commands on a target without a secret", cfg.NQN)
	}
	for _, h := range cfg.AllowedHosts {
		if nvme.CheckNQN(h) != nil {
			return fmt.Errorf("nvmet: %s: %q is no host NQN", cfg.NQN, h)
		}
	}
	for _, p := range cfg.Portals {
		if _, err := p.entry(cfg.NQN); err != nil {
			return err
		}
	}
	return nil
}
