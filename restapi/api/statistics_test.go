package api_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// serveAll starts the API of nodes 2 and 3 and says where.
func (w *world) serveAll() {
	w.T.Helper()
	for n := cluster.NodeID(2); n <= 3; n++ {
		_, url := w.Serve(n)
		a := apitest.Node(int(n)).Addresses
		a.REST = url
		if err := w.Manager.UpdateAddresses(w.T.Context(), n, a); err != nil {
			w.T.Fatal(err)
		}
		go func() { _ = w.Manager.KeepAlive(w.T.Context(), n) }()
	}
	for late := time.After(10 * time.Second); ; {
		nodes, err := w.Manager.AllNodes(w.T.Context())
		if err != nil {
			w.T.Fatal(err)
		}
		if nodes[1].Status == manager.NodeOnline && nodes[2].Status == manager.NodeOnline {
			return
		}
		select {
		case <-late:
			w.T.Fatal("the nodes do not come up")
		default:
			runtime.Gosched()
		}
	}
}

// own makes a node the owner of a volume.
func (w *world) own(v wire.Volume, node cluster.NodeID) {
	w.T.Helper()
	key := cluster.VolumeKey{VUID: v.VUID, Generation: v.Generation}
	arbiter := store.NewArbiter(w.Store.(*store.Mem))
	o, rev, err := arbiter.Owner(w.T.Context(), key)
	if err == nil {
		o.Gateway, o.Epoch = node, o.Epoch+1
		_, err = arbiter.SwapOwner(w.T.Context(), key, rev, o)
	}
	if err != nil {
		w.T.Fatal(err)
	}
}

// TestStatisticsComeFromWhoCounts: any node answers for the owner of a volume and for the node of a device,
// and sums up a pool.
func TestStatisticsComeFromWhoCounts(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	v := w.Volume(1, "v")
	path := "/v1/volumes/" + v.ID.String() + "/statistics"
	var st wire.Statistics
	ask := func(path string, headers ...string) wire.Statistics {
		t.Helper()
		st = wire.Statistics{}
		w.call("GET", path, "", headers...).into(t, &st)
		return st
	}
	if ask(path); len(st.Nodes) != 0 || st.Samples == nil {
		t.Errorf("nobody serves it: %+v", st)
	}
	w.own(v, 1)
	if ask(path); len(st.Nodes) != 1 || st.Nodes[0] != 1 || len(st.Samples) != 1 {
		t.Errorf("this node owns it: %+v", st)
	}
	w.own(v, 2)
	if r := w.call("GET", path, ""); r.status != 503 || r.problem.Code != wire.Unavailable {
		t.Errorf("the owner is away: %d %s", r.status, r.body)
	}
	if ask("/v1/pools/gold/statistics"); len(st.Missing) != 2 || st.Totals.Read.Operations != 100 {
		t.Errorf("two nodes are away: %+v", st)
	}
	w.serveAll()
	if ask(path + "?history=0"); st.Nodes[0] != 2 || len(st.Samples) != 0 {
		t.Errorf("another node owns it: %+v", st)
	}
	if ask(path, "Ashlar-Forwarded-By", "3"); len(st.Nodes) != 0 {
		t.Errorf("in a circle: %+v", st)
	}
	if ask("/v1/devices/3/statistics"); st.Nodes[0] != 3 {
		t.Errorf("a device of another node: %+v", st)
	}
	ask("/v1/pools/gold/statistics")
	if len(st.Nodes) != 3 || len(st.Missing) != 0 || st.Totals.Read.Bytes != 3*409600 || len(st.Samples) != 1 {
		t.Fatalf("a pool: %+v", st)
	}
	if r := st.Samples[0].Read; r.Operations != 300 || r.MeanUS != 100 || r.P99US != 300 {
		t.Errorf("a sample of a pool: %+v", r)
	}
	for path, status := range map[string]int{
		path + "?history=3601": 400, path + "?history=-1": 400, path + "?history=x": 400,
		"/v1/pools/tin/statistics": 404, "/v1/devices/9/statistics": 404,
		"/v1/volumes/" + apitest.UUID(9).String() + "/statistics": 404,
	} {
		if r := w.call("GET", path, ""); r.status != status {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

// observed makes the calls that look at node 1, at a device and a volume of it, and at hosts.
func (w *world) observed(ok func(int, string, string, string, ...string) reply, device cluster.DeviceID,
	volume string) {
	ok(200, "GET", volume+"/statistics?fields=totals", "")
	ok(200, "GET", volume+"/space", "")
	ok(200, "GET", "/v1/hosts", "")
	ok(200, "GET", hostPath(apitest.HostA), "")
	ok(204, "DELETE", hostPath(apitest.HostB), "")
	ok(200, "GET", "/v1/pools/gold/statistics", "")
	ok(200, "GET", "/v1/nodes?name=node2", "")
	ok(200, "GET", "/v1/nodes/2", "")
	ok(200, "PUT", "/v1/nodes/1/logging", `{"level":"debug"}`)
	ok(200, "GET", "/v1/nodes/1/logging", "")
	ok(200, "GET", "/v1/nodes/1/diagnostics", "")
	ok(200, "GET", fmt.Sprintf("/v1/devices/%d/statistics?history=60", device), "")
}

// TestOfANode: any node shows the process of another one, and lets it say more.
func TestOfANode(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	if r := w.call("GET", "/v1/nodes/2/diagnostics", ""); r.status != 503 {
		t.Errorf("the node is away: %d", r.status)
	}
	w.serveAll()
	if r := w.call("GET", "/v1/nodes/2/diagnostics", ""); r.status != 200 || string(r.body[:2]) != "\x1f\x8b" {
		t.Errorf("%d %q", r.status, r.body)
	}
	if r := w.call("PUT", "/v1/nodes/2/logging", `{"level":"warning"}`); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	for node, want := range map[string]string{"1": "info", "2": "warning"} {
		var l wire.Logging
		if w.call("GET", "/v1/nodes/"+node+"/logging", "").into(t, &l); l.Level != want {
			t.Errorf("node %s logs at %q", node, l.Level)
		}
	}
	for body, path := range map[string]string{`{"level":"loud"}`: "2", `{}`: "1",
		`{"level":"info","x":1}`: "1"} {
		if r := w.call("PUT", "/v1/nodes/"+path+"/logging", body); r.status != 400 {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	if r := w.call("GET", "/v1/nodes/9/logging", ""); r.status != 404 {
		t.Errorf("no such node: %d", r.status)
	}
}

// TestProfiles are for administrators.
func TestProfiles(t *testing.T) {
	w := newWorld(t)
	if r := w.call("GET", "/debug/pprof/goroutine?debug=1", "", "Authorization", ""); r.status != 401 {
		t.Errorf("without a token: %d", r.status)
	}
	if r := w.as(w.token(auth.Operator, ""), "GET", "/debug/pprof/heap", ""); r.status != 403 {
		t.Errorf("an operator: %d", r.status)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", w.URL+"/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "goroutine profile:") {
		t.Errorf("%s %v", text, err)
	}
	if r := w.call("GET", "/debug/pprof/cmdline", ""); r.status != 404 {
		t.Errorf("the command line, which may have a token: %d", r.status)
	}
}
