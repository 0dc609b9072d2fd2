//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/memns"
	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// volumeNQN and volumeUUID name the one subsystem of these tests.
const (
	volumeNQN  = "nqn.2026-11.io.ashlar:vol:" + volumeUUID
	volumeUUID = "5a5a5a5a-0001-4002-8003-0123456789ab"
)

// path is one way to a namespace in memory, with an ANA state of its own.
type path struct {
	*memns.Namespace
	state atomic.Uint32
}

func (p *path) ANAState() nvme.ANAState { return nvme.ANAState(p.state.Load()) }

// served is a volume in memory behind one target per portal, as the nodes of a cluster serve one volume.
type served struct {
	t       *testing.T
	memory  *memns.Namespace
	paths   []*path
	targets []*nvmet.Target
	portals []guest.Portal
	hosts   []string
	mdts    int // bytes, 0 for the target's default
}

// growth is how far a volume can be resized, as a multiple of its first size.
const growth = 2

// serve starts portals for a volume of size bytes that only the guest's host NQN may use. The first portal is
// optimized, the others are inaccessible.
func serve(t *testing.T, portals int, size uint64) *served {
	t.Helper()
	return serveMDTS(t, portals, size, 0)
}

// serveMDTS is serve with targets that take up to mdts bytes in one command.
func serveMDTS(t *testing.T, portals int, size uint64, mdts int) *served {
	t.Helper()
	id, err := uuid.Parse(volumeUUID)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := memns.New(id, size/nvmet.BlockSize, growth*size/nvmet.BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	s := &served{t: t, memory: memory, hosts: []string{guest.HostNQN}, mdts: mdts}
	for i := range portals {
		p := &path{Namespace: memory}
		p.state.Store(uint32(nvme.ANAInaccessible))
		if i == 0 {
			p.state.Store(uint32(nvme.ANAOptimized))
		}
		target, port := s.start(i, 0)
		s.targets, s.paths = append(s.targets, target), append(s.paths, p)
		s.portals = append(s.portals, guest.Portal{Addr: guest.HostAddr, Port: port})
	}
	s.put()
	return s
}

// start starts the target of a portal; port 0 takes a free one.
func (s *served) start(portal, port int) (*nvmet.Target, int) {
	s.t.Helper()
	first := uint16(1 + 1000*portal)
	target, err := nvmet.New(nvmet.Options{MinCNTLID: first, MaxCNTLID: first + 999, MDTS: s.mdts,
		Firmware: "e2e"})
	if err != nil {
		s.t.Fatal(err)
	}
	ln, err := nvmet.Listen(s.t.Context(), fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- target.Serve(ln) }()
	s.t.Cleanup(func() {
		if err := errors.Join(target.Close(), <-ended); err != nil {
			s.t.Errorf("close target: %v", err)
		}
	})
	return target, ln.Addr().(*net.TCPAddr).Port
}

// restart replaces the target of a portal, which was closed, by a new one at the same port.
func (s *served) restart(portal int) {
	s.t.Helper()
	s.targets[portal], _ = s.start(portal, s.portals[portal].Port)
	s.put()
}

// put gives the targets the subsystem as s describes it now.
func (s *served) put() {
	s.t.Helper()
	var all []nvmet.Portal
	for i, p := range s.portals {
		all = append(all, nvmet.Portal{Addr: p.Addr, Port: uint16(p.Port), PortID: uint16(i + 1)})
	}
	for i, target := range s.targets {
		err := target.Put(nvmet.SubsystemConfig{NQN: volumeNQN, Serial: "e2e", Model: "Ashlar",
			Namespace: s.paths[i], AllowedHosts: s.hosts, Portals: all})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// optimize moves the optimized state to one portal, as a hand-over does: first nobody has it.
func (s *served) optimize(portal int) {
	for i, p := range s.paths {
		if i != portal {
			p.state.Store(uint32(nvme.ANAInaccessible))
			s.targets[i].ANAChanged(volumeNQN)
		}
	}
	s.paths[portal].state.Store(uint32(nvme.ANAOptimized))
	s.targets[portal].ANAChanged(volumeNQN)
}

// resize changes the size seen on all portals.
func (s *served) resize(size uint64) {
	s.t.Helper()
	if err := s.memory.Resize(size / nvmet.BlockSize); err != nil {
		s.t.Fatal(err)
	}
	for _, target := range s.targets {
		target.NamespaceChanged(volumeNQN)
	}
}

// attach connects the guest to all portals and returns the block device.
func (s *served) attach(g *guest.Guest, flags ...string) string {
	s.t.Helper()
	for _, p := range s.portals {
		if r := g.Connect(volumeNQN, p, flags...); r.Code != 0 {
			s.t.Fatalf("connect %v: exit %d\n%s\n%s", p, r.Code, r.Output, g.Must("dmesg | tail -20"))
		}
	}
	return g.Device(volumeNQN)
}

// detach disconnects and expects that nothing of the volume stays and nothing went wrong on the way.
func detach(g *guest.Guest, t *testing.T) {
	t.Helper()
	g.Must("sync; nvme disconnect -n " + volumeNQN)
	if paths := g.Paths(volumeNQN); len(paths) > 0 {
		t.Errorf("after disconnect there still is %+v", paths)
	}
	if bad := g.IOErrors(); len(bad) > 0 {
		t.Errorf("the kernel says:\n%s", strings.Join(bad, "\n"))
	}
}

// established counts the TCP connections that are open at a local port.
func established(t *testing.T, port int) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == "01" {
			n++
		}
	}
	return n
}
