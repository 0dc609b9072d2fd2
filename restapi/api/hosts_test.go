package api_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const hostC = "nqn.2014-08.org.nvmexpress:uuid:33333333-3333-3333-3333-333333333333"

func hostPath(nqn string) string { return "/v1/hosts/" + url.PathEscape(nqn) }

// letIn lets a host attach something.
func (w *world) letIn(x manager.Exported, hosts ...string) {
	w.T.Helper()
	for _, h := range hosts {
		if _, _, err := w.Manager.Allow(w.T.Context(), x, h, ""); err != nil {
			w.T.Fatal(err)
		}
	}
}

// hostList lists hosts with a token, and says of each what it may attach and where it is connected.
func (w *world) hostList(token, query string) map[string]string {
	w.T.Helper()
	var page wire.Page[wire.Host]
	w.as(token, "GET", "/v1/hosts"+query, "").into(w.T, &page)
	out := map[string]string{}
	for _, h := range page.Items {
		text := ""
		for _, a := range h.Access {
			text += a.Name + " "
		}
		for _, c := range h.Connections {
			text += fmt.Sprintf("%d:%.1s ", c.Node, c.Volume.String()[35:])
		}
		out[h.NQN] = fmt.Sprint(text, h.Missing)
	}
	return out
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// TestHosts: who may attach what, and who is connected to which node, those without access too; a project
// sees of hosts what is its own.
func TestHosts(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	red, blue := w.volumeOf("red", 1, "r"), w.volumeOf("blue", 2, "b")
	s := w.Snapshot(red.ID, 11, "s")
	w.letIn(manager.OfVolume(red.ID), apitest.HostB)
	w.letIn(manager.OfSnapshot(s.ID), apitest.HostB, hostC)
	w.letIn(manager.OfVolume(blue.ID), apitest.HostB)
	// HostA is connected to all: nodes have not closed its connections yet.
	same(t, "two nodes are away", w.hostList(w.Token, ""), map[string]string{
		apitest.HostA: "1:1 1:1 1:2 [2 3]", apitest.HostB: "r b s [2 3]", hostC: "s [2 3]"})
	w.serveAll()
	same(t, "three nodes", w.hostList(w.Token, ""), map[string]string{
		apitest.HostA: "1:1 1:1 1:2 2:1 2:1 2:2 3:1 3:1 3:2 []", apitest.HostB: "r b s []", hostC: "s []"})
	same(t, "connected ones", w.hostList(w.Token, "?connected=true"), map[string]string{
		apitest.HostA: "1:1 1:1 1:2 2:1 2:1 2:2 3:1 3:1 3:2 []"})
	tenant := w.token(auth.Tenant, "blue")
	same(t, "a tenant", w.hostList(tenant, ""), map[string]string{
		apitest.HostA: "1:2 2:2 3:2 []", apitest.HostB: "b []"})
	var part wire.Page[wire.Host]
	w.as(tenant, "GET", "/v1/hosts?limit=1", "", "Ashlar-Forwarded-By", "3").into(t, &part)
	if len(part.Items) != 1 || len(part.Items[0].Connections) != 1 {
		t.Errorf("a tenant that plays a node sees %+v", part.Items)
	}
	if r := w.as(tenant, "GET", hostPath(hostC), ""); r.status != 404 {
		t.Errorf("a stranger's host: %d %s", r.status, r.body)
	}
	var h wire.Host
	w.call("GET", hostPath(apitest.HostB), "").into(t, &h)
	if len(h.Access) != 3 || h.Access[2].Snapshot != s.ID || h.Access[2].Volume != red.ID ||
		h.Access[2].NQN != cluster.SnapshotNQN(s.ID) || h.Access[0].Project != "red" {
		t.Errorf("%+v", h)
	}
	if r := w.call("GET", "/v1/hosts/host7", ""); r.status != 400 {
		t.Errorf("no NQN: %d %s", r.status, r.body)
	}
	seen := []string{}
	for more := ""; ; {
		var page wire.Page[wire.Host]
		w.call("GET", "/v1/hosts?limit=2&fields=nqn"+more, "").into(t, &page)
		for _, h := range page.Items {
			seen = append(seen, h.NQN)
		}
		if page.Next == "" {
			break
		}
		more = "&cursor=" + page.Next
	}
	if fmt.Sprint(seen) != fmt.Sprint([]string{apitest.HostA, apitest.HostB, hostC}) {
		t.Errorf("page by page: %v", seen)
	}
}

// TestAHostIsRevoked from all that the caller sees, more than one transaction can do, and from nothing else.
func TestAHostIsRevoked(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	red := w.volumeOf("red", 1, "r")
	s := w.Snapshot(red.ID, 11, "s")
	w.letIn(manager.OfVolume(red.ID), apitest.HostB, hostC)
	w.letIn(manager.OfSnapshot(s.ID), apitest.HostB)
	for n := range 40 {
		v := w.volumeOf("blue", 100+n, fmt.Sprint("b", n))
		w.letIn(manager.OfVolume(v.ID), apitest.HostB)
	}
	tenant := w.token(auth.Tenant, "blue")
	if r := w.as(tenant, "DELETE", hostPath(apitest.HostB), ""); r.status != 204 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	var h wire.Host
	if w.call("GET", hostPath(apitest.HostB), "").into(t, &h); len(h.Access) != 2 {
		t.Errorf("after a tenant of blue revoked it: %+v", h.Access)
	}
	for range 2 {
		if r := w.call("DELETE", hostPath(apitest.HostB), ""); r.status != 204 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if r := w.call("GET", hostPath(apitest.HostB), ""); r.status != 404 {
		t.Errorf("a host with nothing: %d %s", r.status, r.body)
	}
	if w.call("GET", hostPath(hostC), "").into(t, &h); len(h.Access) != 1 {
		t.Errorf("the other host: %+v", h.Access)
	}
	if r := w.as(w.token(auth.Viewer, ""), "DELETE", hostPath(hostC), ""); r.status != 403 {
		t.Errorf("a viewer: %d", r.status)
	}
	w.Audit()
}
