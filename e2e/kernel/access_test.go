//go:build e2e

package kernel

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/guest"
)

const strangerNQN = "nqn.2014-08.org.nvmexpress:uuid:" + strangerID
const strangerID = "99999999-8888-7777-6666-555555555555"

// TestAccess has two hosts, of which the allow-list first names one. The other is refused and shown nothing
// by discovery; put on the list it connects; taken off again it loses its connections and stays out, while
// the first goes on.
func TestAccess(t *testing.T) {
	s := serve(t, 2, 64<<20)
	g := guest.Start(t, guest.Options{})
	stranger := guest.Start(t, guest.Options{HostNQN: strangerNQN, HostID: strangerID})
	dev := s.attach(g)
	steady := g.Go("exec iotest steady -dev " + dev + " -size 1M")

	r := stranger.Connect(volumeNQN, s.portals[0])
	said := stranger.Must("dmesg")
	if r.Code == 0 || !strings.Contains(said, "is not allowed") || len(stranger.Paths(volumeNQN)) != 0 {
		t.Errorf("a stranger connects: %+v\n%s", r, said)
	}
	out := stranger.Must(fmt.Sprintf("nvme discover -t tcp -a %s -s %d", guest.HostAddr, s.portals[0].Port))
	if strings.Contains(out, volumeNQN) {
		t.Errorf("discovery shows a stranger:\n%s", out)
	}

	s.hosts = append(s.hosts, strangerNQN)
	s.put()
	for _, p := range s.portals {
		if r := stranger.Connect(volumeNQN, p); r.Code != 0 {
			t.Fatalf("a host just allowed is refused: %+v", r)
		}
	}
	stranger.Device(volumeNQN)
	s.hosts = s.hosts[:1]
	s.put()
	// Refused with a status that says "do not retry", a host gives the controller up; it does not try for a
	// minute.
	stranger.Until("[ -z \"$(ls /sys/class/nvme)\" ]")
	steady.Interrupt()
	t.Logf("steady: %+v", steady.Wait().Clean(g))
	live(t, g)
	detach(g, t)
}
