package cli

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/cmd/internal/openstack/openstacktest"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// TestOpenStackAudit lists how the two sides differ, and repairs no more than it is told to.
func TestOpenStackAudit(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Own()
	shown, err := x.c.Manager.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cinder := openstacktest.New(t, shown.ID.String())
	volume := func(n int) cluster.UUID {
		return x.c.Volume(n, "volume-"+apitest.UUID(n).String()).ID
	}
	kept, lost, left := volume(1), apitest.UUID(2), volume(3)
	mine := x.c.Volume(4, "mine").ID
	x.c.Snapshot(left, 10, "snapshot-"+apitest.UUID(10).String())
	cinder.Volume(kept, "in-use")
	cinder.Attach(kept, apitest.HostA)
	for _, host := range []string{apitest.HostA, apitest.HostB} {
		x.run("volume", "allow", kept.String(), host)
	}

	audit := func(status int, line ...string) string {
		t.Helper()
		out, _, err := x.try(append([]string{"openstack", "audit"}, line...)...)
		if got := ExitStatus(err); got != status {
			t.Errorf("openstack audit %v: status %d, want %d: %v\n%s", line, got, status, err, out)
		}
		return out
	}
	cinder.Volume(lost, "available")
	out := audit(ExitConflict)
	contains(t, out, "missing", lost.String(), "left over", left.String(), apitest.UUID(10).String(), "access",
		apitest.HostB)
	without(t, out, apitest.HostA, mine.String(), "yes")
	cinder.Volumes = cinder.Volumes[:1]

	audit(ExitConflict, "--repair")
	contains(t, x.run("volume", "exports", kept.String()), apitest.HostA)
	without(t, x.run("volume", "exports", kept.String()), apitest.HostB)
	contains(t, x.run("volume", "show", left.String()), "volume-")

	x.run("volume", "allow", left.String(), apitest.HostB)
	contains(t, audit(ExitConflict, "--repair", "--yes"), "yes") // the snapshot; hosts may use the volume
	x.run("volume", "deny", left.String(), apitest.HostB)
	contains(t, audit(ExitOK, "--repair", "--yes"), left.String(), "yes")
	without(t, audit(ExitOK), left.String())
	contains(t, x.run("volume", "list"), "mine", kept.String())
}

func without(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(text, w) {
			t.Errorf("%q is in:\n%s", w, text)
		}
	}
}
