//go:build e2e && full

package brick

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// TestAshlarConnector attaches with our connector in a current os-brick, by all portals though Nova's flag is
// off.
func TestAshlarConnector(t *testing.T) { connectorLives(t, Current, Ashlar, false) }

// TestAshlarConnectorOnDebian attaches with our connector in Debian's os-brick.
func TestAshlarConnectorOnDebian(t *testing.T) { connectorLives(t, Debian, Ashlar, false) }

// TestDebianStockConnector keeps true what the documentation warns of: Debian's os-brick cannot attach by
// itself, for its kernel says more of an address than it expects.
func TestDebianStockConnector(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr})
	h := Start(t, guest.Options{}, Debian)
	v := export(t, c, h, c.CreateVolume("unseen", 64<<20), Stock, true)
	if err := h.Connect(v); err == nil || !strings.HasPrefix(err.Error(), "VolumeDeviceNotFound") {
		t.Errorf("os-brick 6.1 attaches after all (%v): say so in docs/openstack.md", err)
	}
}

// TestAttachWhileANodeIsDown attaches by the portals that answer, with either connector. Asked again when the
// node is back, as Nova does for a server that restarts, each adds the missing path.
func TestAttachWhileANodeIsDown(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr})
	h := Start(t, guest.Options{}, Current)
	c.Nodes[0].Kill()
	lives := map[string]*life{}
	for _, connector := range []string{Stock, Ashlar} {
		l := &life{t: t, c: c, h: h, made: c.CreateVolume("lost-"+connector, 64<<20)}
		c.Owner(l.made.ID)
		l.at = export(t, c, h, l.made, connector, true)
		if err := h.Connect(l.at); err != nil {
			t.Fatalf("%s: %v", connector, err)
		}
		l.expectPaths(len(c.Nodes) - 1)
		l.run("write", 1)
		lives[connector] = l
	}
	c.Nodes[0].Restart()
	c.Back(c.Nodes[0])
	for connector, l := range lives {
		c.WholeAgain(l.made.ID)
		if err := h.Connect(l.at); err != nil {
			t.Fatalf("%s: %v", connector, err)
		}
		l.expectPaths(len(c.Nodes))
		l.run("check", 1)
	}
}
