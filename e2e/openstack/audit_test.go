//go:build e2e

package openstack_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/uuid"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

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

// groupsThatDifferAreFound is leftoversAreFound for groups and their snapshots.
func (c cloud) groupsThatDifferAreFound(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	must := func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	differs := func(why string, more ...string) {
		t.Helper()
		if out, err := c.tryAudit(ctx, more...); err == nil {
			t.Errorf("%s, and yet:\n%s", why, out)
		}
	}
	must("", c.CreateType(ctx, "audited-group", nil))
	id := must(c.CreateGroup(ctx, "audited", must(c.CreateGroupType(ctx, "audited-kind")), "audited-group"))
	v, err := c.CreateInGroup(ctx, "audited-member", "audited-group", id)
	must("", err)
	moment := must(c.CreateGroupSnapshot(ctx, id, "audited-moment"))
	c.audit(ctx, t)

	group, volume := parse(t, id), parse(t, v.ID)
	_, err = c.cluster.API.UpdateGroup(ctx, group, wire.GroupUpdate{Remove: []model.UUID{volume}}, "")
	must("", err)
	differs("a volume is not in its group")
	c.audit(ctx, t, "--repair")
	again, err := c.cluster.API.GetGroup(ctx, group)
	if err != nil || !slices.Equal(again.Volumes, []model.UUID{volume}) {
		t.Errorf("group %+v, %v; the volume should be in it again", again, err)
	}

	left := parse(t, uuid.NewString())
	_, err = c.cluster.API.CreateGroup(ctx, wire.GroupCreate{ID: left, Name: "group-" + left.String()})
	must("", err)
	late := parse(t, uuid.NewString())
	_, err = c.cluster.API.CreateGroupSnapshot(ctx,
		wire.GroupSnapshotCreate{ID: late, Group: group, Name: "group-" + late.String()})
	must("", err)
	differs("a group and a group snapshot are left over", "--repair")
	c.audit(ctx, t, "--repair", "--yes")

	must("", c.cluster.API.DeleteGroupSnapshot(ctx, parse(t, moment), ""))
	differs("a group snapshot is lost", "--repair", "--yes")
	must("", c.DeleteGroupSnapshot(ctx, moment))
	must("", c.DeleteGroup(ctx, id))
	c.expectNoGroups(t)
	c.audit(ctx, t)
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
