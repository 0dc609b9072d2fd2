//go:build e2e

package openstack_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// volumeServiceKilled has the calls of the driver that make and delete under way at once, with nodes
// that stand still, and kills cinder-volume. When it is back nothing is lost or left over, and all of it can
// be deleted.
func (c cloud) volumeServiceKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	must := func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	source, other := c.create(t, "crash-source", 1), c.create(t, "crash-other", 1)
	deleted := c.create(t, "crash-deleted", 1)
	snap, going := c.snap(t, source.ID, "stays"), c.snap(t, source.ID, "goes")
	before, err := c.Calls()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.cluster.Nodes {
		n.Pause()
	}
	vols := []string{source.ID, deleted.ID, other.ID, must(c.Begin(ctx, "crash-new", "", "")),
		must(c.Begin(ctx, "crash-of-volume", source.ID, "")), must(c.Begin(ctx, "crash-of-snapshot", "", snap.ID))}
	snaps := []string{snap.ID, going.ID, must(c.BeginSnapshot(ctx, other.ID))}
	must("", c.BeginDelete(ctx, deleted.ID))
	must("", c.BeginDeleteSnapshot(ctx, going.ID))
	c.cluster.Eventually("the driver's calls are under way", func() error {
		if n, err := c.Calls(); err != nil || n < before+6 {
			return errors.Join(err, errors.New("not all of them"))
		}
		return nil
	})
	must("", c.KillVolumeService())
	for _, n := range c.cluster.Nodes {
		n.Resume()
	}
	must("", c.StartVolumeService())

	for _, id := range vols {
		t.Logf("volume %s: %q", id, must(c.Settled(ctx, id)))
	}
	c.audit(ctx, t)
	for _, id := range snaps {
		must("", c.EndSnapshot(ctx, id))
	}
	for _, id := range vols {
		if must(c.Settled(ctx, id)) != "" {
			must("", c.Delete(ctx, id))
		}
		c.expectGone(t, id)
	}
	c.audit(ctx, t)
}

// leftoversAreFound makes differences by hand, and has them found and repaired.
func (c cloud) leftoversAreFound(t *testing.T) {
	v := c.create(t, "audited", 1)
	if _, err := c.cluster.API.PutExport(t.Context(), parse(t, v.ID), hostA().NQN); err != nil {
		t.Fatal(err)
	}
	if out, err := c.tryAudit(t.Context()); err == nil {
		t.Errorf("a host has access, and yet:\n%s", out)
	}
	c.audit(t.Context(), t, "--repair")
	c.expectHosts(t, v.ID)
	a := c.attach(t, v.ID)
	c.audit(t.Context(), t, "--repair")
	c.expectHosts(t, v.ID, a.Info.HostNQN)
	if err := c.Detach(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := c.cluster.API.DeleteVolume(t.Context(), parse(t, v.ID), ""); err != nil {
		t.Fatal(err)
	}
	if out, err := c.tryAudit(t.Context(), "--repair", "--yes"); err == nil {
		t.Errorf("a volume is lost, and yet:\n%s", out)
	}
	if err := c.Delete(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	c.audit(t.Context(), t)
}

// audit has the command line find no difference, or none that is left.
func (c cloud) audit(ctx context.Context, t *testing.T, more ...string) {
	t.Helper()
	if out, err := c.tryAudit(ctx, more...); err != nil {
		t.Errorf("ashlar openstack audit %v: %v\n%s", more, err, out)
	}
}

func (c cloud) tryAudit(ctx context.Context, more ...string) (string, error) {
	binary, err := build.Program("cmd/ashlar", false)
	if err != nil {
		return "", err
	}
	line := append([]string{"openstack", "audit", "--os-cloud", "admin"}, more...)
	cmd := exec.CommandContext(ctx, binary, line...)
	cmd.Env = append(os.Environ(), "OS_CLIENT_CONFIG_FILE="+c.plan.Clouds(), "ASHLAR_TOKEN="+c.cluster.Token,
		"ASHLAR_ENDPOINT="+c.cluster.Nodes[0].REST)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
