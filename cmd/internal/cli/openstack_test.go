package cli

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/cmd/internal/openstack/openstacktest"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// audited is a terminal with a cluster, and a Cinder that has it as its back end.
type audited struct {
	*terminal
	cinder *openstacktest.Cloud
}

func newAudited(t *testing.T) audited {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Own()
	shown, err := x.c.Manager.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return audited{x, openstacktest.New(t, shown.ID.String())}
}

// volume makes a volume as the driver does.
func (x audited) volume(n int) cluster.UUID {
	return x.c.Volume(n, "volume-"+apitest.UUID(n).String()).ID
}

// audit compares, and fails the test when that ends with another exit status.
func (x audited) audit(status int, line ...string) string {
	x.t.Helper()
	out, _, err := x.try(append([]string{"openstack", "audit"}, line...)...)
	if got := ExitStatus(err); got != status {
		x.t.Errorf("openstack audit %v: status %d, want %d: %v\n%s", line, got, status, err, out)
	}
	return out
}

// TestOpenStackAudit lists how the two sides differ, and repairs no more than it is told to.
func TestOpenStackAudit(t *testing.T) {
	x := newAudited(t)
	kept, lost, left := x.volume(1), apitest.UUID(2), x.volume(3)
	mine := x.c.Volume(4, "mine").ID
	x.c.Snapshot(left, 10, "snapshot-"+apitest.UUID(10).String())
	x.cinder.Volume(kept, "in-use")
	x.cinder.Attach(kept, apitest.HostA)
	for _, host := range []string{apitest.HostA, apitest.HostB} {
		x.run("volume", "allow", kept.String(), host)
	}

	x.cinder.Volume(lost, "available")
	out := x.audit(ExitConflict)
	contains(t, out, "missing", lost.String(), "left over", left.String(), apitest.UUID(10).String(), "access",
		apitest.HostB)
	without(t, out, apitest.HostA, mine.String(), "yes")
	x.cinder.Volumes = x.cinder.Volumes[:1]

	x.audit(ExitConflict, "--repair")
	contains(t, x.run("volume", "exports", kept.String()), apitest.HostA)
	without(t, x.run("volume", "exports", kept.String()), apitest.HostB)
	contains(t, x.run("volume", "show", left.String()), "volume-")

	x.run("volume", "allow", left.String(), apitest.HostB)
	contains(t, x.audit(ExitConflict, "--repair", "--yes"), "yes") // the snapshot; hosts may use the volume
	x.run("volume", "deny", left.String(), apitest.HostB)
	contains(t, x.audit(ExitOK, "--repair", "--yes"), left.String(), "yes")
	without(t, x.audit(ExitOK), left.String())
	contains(t, x.run("volume", "list"), "mine", kept.String())
}

// TestOpenStackAuditOfGroups lists how the two sides differ in groups, and has them alike again.
func TestOpenStackAuditOfGroups(t *testing.T) {
	x := newAudited(t)
	member, stranger, third := x.volume(1), x.volume(2), x.volume(3)
	group := func(n int, volumes ...cluster.UUID) string {
		id := apitest.UUID(n).String()
		line := []string{"group", "create", "group-" + id, "--id", id}
		for _, v := range volumes {
			line = append(line, v.String())
		}
		x.run(line...)
		return id
	}
	moment := func(n int, of string) string {
		id := apitest.UUID(n).String()
		x.run("group", "snapshot", of, "group-"+id, "--id", id)
		return id
	}
	kept, left := group(20, stranger), group(21, third)
	for i, v := range []cluster.UUID{member, stranger, third} {
		x.cinder.Volume(v, "available")
		if i == 0 {
			x.cinder.Volumes[i]["group_id"] = kept
		}
	}
	mine := moment(30, kept)
	theirs, gone := moment(31, left), apitest.UUID(32)
	x.cinder.Group(apitest.UUID(20), true, "available")
	x.cinder.GroupSnapshot(apitest.UUID(30), apitest.UUID(20), "available")
	x.cinder.GroupSnapshot(gone, apitest.UUID(20), "available")

	out := x.audit(ExitConflict)
	contains(t, out, "missing", gone.String(), "left over", left, theirs, "no member", member.String(), "member",
		stranger.String())
	without(t, out, mine, "yes")
	x.cinder.GroupSnapshots = x.cinder.GroupSnapshots[:1]

	x.audit(ExitConflict, "--repair")
	out = x.run("group", "show", kept)
	contains(t, out, member.String())
	without(t, out, stranger.String())
	contains(t, x.run("group", "list"), left)

	contains(t, x.audit(ExitOK, "--repair", "--yes"), left, theirs, "yes")
	without(t, x.audit(ExitOK), left)
	without(t, x.run("group", "list"), left)
	contains(t, x.run("volume", "list"), third.String())
}

func without(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(text, w) {
			t.Errorf("%q is in:\n%s", w, text)
		}
	}
}
