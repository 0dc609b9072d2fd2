package nvmet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// adminQueueSize is ASQSZ: the admin queue that discovery tells hosts to ask for at most.
const adminQueueSize = 128

// entry is the discovery log page entry of a portal.
func (p Portal) entry(nqn string) (nvme.DiscoveryEntry, error) {
	addr, err := netip.ParseAddr(p.Addr)
	if err != nil {
		return nvme.DiscoveryEntry{}, fmt.Errorf("nvmet: portal of %s: %w", nqn, err)
	}
	family := nvme.ADRFAMIPv4
	if addr.Is6() {
		family = nvme.ADRFAMIPv6
	}
	return nvme.DiscoveryEntry{
		TRTYPE: nvme.TRTYPETCP, ADRFAM: family, SUBTYPE: nvme.SUBTYPENVM,
		TREQ: nvme.TREQNotRequired | nvme.TREQDisableSQFlow, PORTID: p.PortID, CNTLID: nvme.AnyController,
		ASQSZ: adminQueueSize, TRSVCID: strconv.Itoa(int(p.Port)), SUBNQN: nqn, TRADDR: p.Addr,
		SECTYPE: nvme.SECTYPENone,
	}, nil
}

// entriesFor lists what a host may see: the portals of the subsystems that let it connect, in a stable order.
func (t *Target) entriesFor(host string) (generation uint64, entries []nvme.DiscoveryEntry) {
	t.mu.Lock()
	generation = t.mu.generation
	var views []*subsystemView
	for _, s := range t.mu.subsystems {
		removed, _ := s.gone()
		if v := s.view.Load(); !removed && v.allows(host) {
			views = append(views, v)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(views, func(a, b *subsystemView) int { return cmp.Compare(a.cfg.NQN, b.cfg.NQN) })
	for _, v := range views {
		for _, p := range v.cfg.Portals {
			if e, err := p.entry(v.cfg.NQN); err == nil { // check has refused others
				entries = append(entries, e)
			}
		}
	}
	return generation, entries
}

// discoveryPage writes the part of the discovery log page that g asks for. A host reads the header, then the
// entries, then the header again to see whether GENCTR is still the same.
func (k *controller) discoveryPage(out []byte, g nvme.GetLogPage) nvme.Status {
	if !g.RAE {
		k.mu.Lock()
		k.mu.events.read(eventDiscovery)
		k.mu.Unlock()
	}
	log := nvme.DiscoveryLog{}
	log.GENCTR, log.Entries = k.target.entriesFor(k.host.nqn)
	if g.Offset > uint64(log.Size()) {
		return nvme.InvalidField.NoRetry()
	}
	page := make([]byte, log.Size())
	log.Encode(page)
	copy(out, page[g.Offset:])
	return nvme.Success
}

// discoveryChanged tells the discovery controllers of the hosts whose log page is another one now. before and
// after are the configurations of a subsystem; nil: it was or is not there.
func (t *Target) discoveryChanged(before, after *subsystemView) {
	for _, k := range t.discovery.all() {
		saw := before != nil && before.allows(k.host.nqn)
		sees := after != nil && after.allows(k.host.nqn)
		if saw != sees || saw && !slices.Equal(before.cfg.Portals, after.cfg.Portals) {
			k.raise(eventDiscovery)
		}
	}
}
