//go:build e2e

package kernel

import (
	"strconv"
	"testing"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/guest"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestFirstLight is the whole path: a volume made by a real Cinder in a pool of Reed-Solomon 4+2 on six disks
// of three nodes, attached by a real kernel over all portals, with ext4 on it. It is extended online. Its
// owner is killed with -9, which takes two disks away; when all is resynced, so is another node. Then two
// disks die for good, one after the other. All that under verified I/O; then the volume is detached and
// deleted. No I/O error anywhere, and no byte differs.
func TestFirstLight(t *testing.T) {
	const gib = 1 << 30
	parity := 2
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr, DiskSize: 2 * gib, Disks: 2,
		Pools: []wire.PoolCreate{{Name: cluster.PoolName, Code: model.CodeRS, Data: 4, Parity: &parity,
			Domain: model.DomainDevice}}})
	var endpoints []string
	for _, n := range c.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	cinder := openstack.Start(t, openstack.Options{Endpoints: endpoints, Token: c.Token, Pool: cluster.PoolName})
	v, err := cinder.CreateVolume(t.Context(), "first-light", 1)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cinder.Attach(t.Context(), v.ID, openstack.Connector{Host: "guest", IP: "127.0.0.1",
		NQN: guest.HostNQN})
	if err != nil {
		t.Fatal(err)
	}
	h := attach(t, c, fromCinder(t, a))
	if _, err := cinder.Extend(t.Context(), v.ID, 2); err != nil {
		t.Fatal(err)
	}
	h.grown(2 * gib)
	h.survive("kill -9 of the owner and its two disks", h.killOwner)
	c.WholeAgain(h.at.volume)
	h.survive("kill -9 of another node and its two disks", h.killOther)
	c.WholeAgain(h.at.volume)
	h.survive("the death of a disk of the owner", func() { h.loseDisk(c.Owner(h.at.volume)) })
	h.survive("the death of a disk of another node", func() { h.loseDisk(h.other()) })
	h.detach()

	if err := cinder.Detach(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if r := h.g.Connect(h.at.nqn, h.at.portals[0]); r.Code == 0 {
		t.Error("a host connects after Cinder detached it")
	}
	if err := cinder.Delete(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
}

// fromCinder reads what Cinder told the host.
func fromCinder(t *testing.T, a openstack.Attachment) attachment {
	t.Helper()
	id, err := model.ParseUUID(a.VolumeID)
	if err != nil {
		t.Fatal(err)
	}
	at := attachment{volume: id, nqn: a.Info.TargetNQN}
	for _, p := range a.Info.Portals {
		port, err := strconv.Atoi(p.Port)
		if err != nil {
			t.Fatal(err)
		}
		at.portals = append(at.portals, guest.Portal{Addr: p.Address, Port: port})
	}
	return at
}

// TestVolumeOfACluster is a harder life of a volume, made by REST: its owner hangs and comes back as a former
// owner, then all nodes are killed at once. The host waits, without an error.
func TestVolumeOfACluster(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr})
	v := c.CreateVolume("life", 192<<20)
	export, err := c.API.PutExport(t.Context(), v.ID, guest.HostNQN)
	if err != nil {
		t.Fatal(err)
	}
	at := attachment{volume: v.ID, nqn: export.NQN}
	for _, p := range export.Portals {
		at.portals = append(at.portals, guest.Portal{Addr: p.Address, Port: p.Port})
	}
	h := attach(t, c, at)
	if _, err := c.API.ResizeVolume(t.Context(), v.ID, 256<<20, ""); err != nil {
		t.Fatal(err)
	}
	h.grown(256 << 20)
	h.survive("a hang of the owner", h.hangOwner)
	c.WholeAgain(v.ID)
	h.survive("kill -9 of all nodes at once", h.killAll)
	c.WholeAgain(v.ID)
	h.survive("kill -9 of the owner", h.killOwner)
	h.detach()
	if err := c.API.DeleteExport(t.Context(), v.ID, guest.HostNQN); err != nil {
		t.Error(err)
	}
}
