//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

const gib = 1 << 30

// hostA is a compute host that has NVMe over fabrics, as os-brick would describe it.
func hostA() openstack.Connector {
	return openstack.Connector{
		Host: "compute-a", IP: "127.0.0.1",
		NQN: "nqn.2014-08.org.nvmexpress:uuid:0a0a0a0a-0000-4000-8000-00000000000a",
	}
}

// cloud is a Cinder and the cluster behind it.
type cloud struct {
	*openstack.Cinder
	cluster *cluster.Cluster
	plan    *openstack.Plan
}

// TestCinder is the life of volumes through the API of a real Cinder, looked at from both sides. One cloud
// serves all parts: bringing it up is what costs.
func TestCinder(t *testing.T) {
	plan := openstack.NewPlan(t)
	storage := cluster.Start(t, cluster.Options{DiskSize: 2 * gib, Settings: []string{
		"--keystone", plan.Clouds(), "--keystone-roles", "service=operator", "--keystone-cache-seconds", "0"}})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c := cloud{cluster: storage, plan: plan, Cinder: openstack.Start(t, openstack.Options{
		Plan: plan, Endpoints: endpoints, Pool: cluster.PoolName,
	})}
	t.Run("the scheduler knows the pool", c.poolIsKnown)
	t.Run("a volume lives", c.volumeLives)
	t.Run("a host uses it", c.hostUsesVolume)
	t.Run("a host without an NQN gets nothing", c.hostWithoutNQN)
	t.Run("a volume that a host may use is not deleted", c.busyVolumeStays)
	t.Run("a volume that is gone is deleted", c.missingVolumeIsDeleted)
	t.Run("snapshots keep what was", c.snapshotsLive)
	t.Run("snapshots in odd orders, and taken over", c.oddSnapshots)
	t.Run("clones are what they began as", c.clonesLive)
	t.Run("groups are of one moment", c.groupsLive)
	t.Run("bounds follow the volume type", c.boundsFollowType)
	t.Run("Tempest's smoke set passes", c.tempestSmoke)
	t.Run("a volume too large is an error with a reason", c.tooLarge)
	t.Run("a token that was revoked is renewed", c.tokenIsRenewed)
	t.Run("what differs is found", c.leftoversAreFound)
	t.Run("groups that differ are found", c.groupsThatDifferAreFound)
	t.Run("cinder-volume is killed", c.volumeServiceKilled)
	t.Run("cinder-volume is killed amid changes", c.changesKilled)
	t.Run("cinder-volume is killed amid calls about groups", c.groupCallsKilled)
	t.Run("an API node is lost", c.nodeLost)
	t.Run("no log has a token", c.tokensStaySecret)
}

func (c cloud) poolIsKnown(t *testing.T) {
	pool, err := c.Pool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := c.cluster.API.GetPool(t.Context(), cluster.PoolName)
	if err != nil {
		t.Fatal(err)
	}
	want := float64(ours.Capacity.Total) / gib
	if pool.TotalCapacityGB < want-0.01 || pool.TotalCapacityGB > want+0.01 || pool.FreeCapacityGB <= 0 ||
		pool.StorageProtocol != "NVMe-TCP" || !pool.ThinProvisioningSupport {
		t.Errorf("Cinder has %+v, the pool is %+v", pool, ours)
	}
}

func (c cloud) volumeLives(t *testing.T) {
	ctx := t.Context()
	v := c.create(t, "alive", 1)
	c.expectSize(t, v.ID, 1)
	if _, err := c.Extend(ctx, v.ID, 2); err != nil {
		t.Fatal(err)
	}
	c.expectSize(t, v.ID, 2)

	a, err := c.Attach(ctx, v.ID, hostA())
	if err != nil {
		t.Fatal(err)
	}
	c.expectExport(t, a, hostA().NQN)
	if again, err := c.Attach(ctx, v.ID, hostA()); err == nil {
		t.Errorf("attached twice, though it is not multi-attach: %+v", again)
	}
	if err := c.Delete(ctx, v.ID); !gophercloud.ResponseCodeIs(err, http.StatusBadRequest) {
		t.Errorf("delete while attached: %v, should be refused with 400", err)
	}
	if _, err := c.Extend(ctx, v.ID, 3); err != nil {
		t.Errorf("extend while attached: %v", err)
	}
	c.expectSize(t, v.ID, 3)
	c.expectExport(t, a, hostA().NQN)

	if err := c.Detach(ctx, a); err != nil {
		t.Fatal(err)
	}
	c.expectHosts(t, v.ID)
	if err := c.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	c.expectGone(t, v.ID)
	if err := c.Delete(ctx, v.ID); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("delete again: %v, should be 404", err)
	}
}

func (c cloud) hostWithoutNQN(t *testing.T) {
	v := c.create(t, "no-nqn", 1)
	a, err := c.Attach(t.Context(), v.ID, openstack.Connector{Host: "compute-b", IP: "127.0.0.1"})
	if err == nil {
		t.Errorf("attached to a host without a host NQN: %+v", a)
	}
	c.expectHosts(t, v.ID)
	if err := c.Detach(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
}

func (c cloud) busyVolumeStays(t *testing.T) {
	v := c.create(t, "busy", 1)
	id := parse(t, v.ID)
	// Given by hand, so that Cinder believes the volume detached.
	if _, err := c.cluster.API.PutExport(t.Context(), id, hostA().NQN); err != nil {
		t.Fatal(err)
	}
	var status *openstack.StatusError
	if err := c.Delete(t.Context(), v.ID); !errors.As(err, &status) || status.Volume.Status != "available" {
		t.Errorf("delete of a volume in use: %v, should leave it available", err)
	}
	c.expectHosts(t, v.ID, hostA().NQN)
	if err := c.cluster.API.DeleteExports(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	c.expectGone(t, v.ID)
}

func (c cloud) missingVolumeIsDeleted(t *testing.T) {
	v := c.create(t, "missing", 1)
	if err := c.cluster.API.DeleteVolume(t.Context(), parse(t, v.ID), ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), v.ID); err != nil {
		t.Errorf("delete of a volume that the cluster does not have: %v", err)
	}
}

func (c cloud) tooLarge(t *testing.T) {
	v, err := c.CreateVolume(t.Context(), "too-large", 1<<20)
	var status *openstack.StatusError
	if !errors.As(err, &status) || status.Volume.Status != "error" || len(status.Messages) == 0 {
		t.Fatalf("a volume of 1 PiB: %v, should be in status error with a message", err)
	}
	t.Log(err)
	if err := c.Delete(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
}

func (c cloud) nodeLost(t *testing.T) {
	kept := c.create(t, "kept", 1)
	c.cluster.Nodes[0].Kill()
	defer c.cluster.Nodes[0].Restart()
	v := c.create(t, "one-less", 1)
	for _, id := range []string{v.ID, kept.ID} {
		if err := c.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		c.expectGone(t, id)
	}
}

// tokenIsRenewed ends all tokens of the user that the driver is, and those of Cinder itself.
func (c cloud) tokenIsRenewed(t *testing.T) {
	before := c.create(t, "before-the-end", 1)
	if err := c.RevokeTokens(t.Context(), "cinder"); err != nil {
		t.Fatal(err)
	}
	after := c.create(t, "after-the-end", 1)
	for _, id := range []string{before.ID, after.ID} {
		if err := c.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

// tokensStaySecret looks for Keystone's tokens, which all begin alike, at level DEBUG.
func (c cloud) tokensStaySecret(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(c.LogDir(), "cinder-*.log"))
	if err != nil || len(logs) < 3 {
		t.Fatalf("logs %v: %v", logs, err)
	}
	driver := false
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		driver = driver || bytes.Contains(text, []byte("ashlar_api_token"))
		if at := bytes.Index(text, []byte("gAAAA")); at >= 0 {
			t.Errorf("%s has a token: ...%s", name, text[max(0, at-200):at+5])
		}
	}
	if !driver {
		t.Error("no log shows the driver's options: this test would not find a leak")
	}
}

func (c cloud) create(t *testing.T, name string, size int) openstack.Volume {
	t.Helper()
	v, err := c.CreateVolume(t.Context(), name, size)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// expectSize checks that both sides have the volume with this size in GiB.
func (c cloud) expectSize(t *testing.T, id string, size int) {
	t.Helper()
	theirs, err := c.Show(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ours := c.cluster.Volume(parse(t, id))
	if theirs.GiB != size || ours.Size != uint64(size)*gib {
		t.Errorf("Cinder has %d GiB, the cluster %d bytes, should be %d GiB", theirs.GiB, ours.Size, size)
	}
}

// expectExport checks that the attachment's host, and no other, may use the volume, as the attachment says.
func (c cloud) expectExport(t *testing.T, a openstack.Attachment, nqn string) {
	t.Helper()
	c.expectHosts(t, a.VolumeID, nqn)
	export, err := c.cluster.API.GetExport(t.Context(), parse(t, a.VolumeID), nqn)
	if err != nil {
		t.Fatal(err)
	}
	info := a.Info
	if info.Type != "nvmeof" || info.TargetNQN != export.NQN || info.VolUUID != a.VolumeID ||
		info.HostNQN != nqn || len(info.Portals) != len(c.cluster.Nodes) {
		t.Errorf("connection info %+v, export %+v", info, export)
	}
	known := map[string]bool{}
	for _, p := range export.Portals {
		known[net.JoinHostPort(p.Address, strconv.Itoa(int(p.Port)))] = true
	}
	for _, p := range info.Portals {
		if !known[net.JoinHostPort(p.Address, p.Port)] || p.Transport != "tcp" {
			t.Errorf("portal %+v is none of the export's %+v", p, export.Portals)
		}
	}
}

// expectHosts checks who may use the volume.
func (c cloud) expectHosts(t *testing.T, id string, nqns ...string) {
	t.Helper()
	exports, err := c.cluster.API.ListExports(t.Context(), parse(t, id))
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, e := range exports {
		hosts = append(hosts, e.Host)
	}
	if strings.Join(hosts, " ") != strings.Join(nqns, " ") {
		t.Errorf("hosts %v, should be %v", hosts, nqns)
	}
}

func (c cloud) expectGone(t *testing.T, id string) {
	t.Helper()
	all, err := c.cluster.API.AllVolumes(context.WithoutCancel(t.Context()), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.ID == parse(t, id) {
			t.Errorf("the cluster still has volume %s", id)
		}
	}
}

func parse(t *testing.T, id string) model.UUID {
	t.Helper()
	parsed, err := model.ParseUUID(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
