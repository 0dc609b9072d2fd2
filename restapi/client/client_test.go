package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func newClient(t *testing.T, token string, endpoints ...string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Endpoints: endpoints, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLifeOfAVolume goes through every method of the client against the real API.
func TestLifeOfAVolume(t *testing.T) {
	a := apitest.New(t)
	c := newClient(t, a.Token, a.URL)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.GetLiveness(ctx)
	must(err)
	version, err := c.GetVersion(ctx)
	must(err)
	token, err := c.CreateToken(ctx, wire.TokenCreate{Name: "j", Role: "join"})
	must(err)
	for n := 2; n <= 3; n++ {
		r := apitest.Node(n)
		r.Token = token.Secret
		_, err := newClient(t, "", a.URL).JoinNode(ctx, r)
		must(err)
		a.Device(cluster.NodeID(n), 1)
		token, err = c.CreateToken(ctx, wire.TokenCreate{Name: "j", Role: "join"})
		must(err)
	}
	dev, err := c.CreateDevice(ctx, wire.DeviceCreate{Node: 1, Path: "/dev/nvme0n1"})
	must(err)
	one := 1
	pool, err := c.CreatePool(ctx, wire.PoolCreate{Name: "gold", Parity: &one})
	must(err)
	vol, err := c.CreateVolume(ctx, wire.VolumeCreate{Name: "v", Pool: "gold", Size: apitest.MiB})
	must(err)
	vol, err = c.ResizeVolume(ctx, vol.ID, 2*apitest.MiB, vol.ETag)
	must(err)
	exp, err := c.PutExport(ctx, vol.ID, apitest.HostA)
	must(err)

	shown, err := c.GetVolume(ctx, vol.ID)
	must(err)
	if shown.Size != 2*apitest.MiB || len(shown.Hosts) != 1 || version.API != "v1" {
		t.Errorf("got %+v, version %+v", shown, version)
	}
	node, err := c.GetNode(ctx, 1)
	must(err)
	device, err := c.GetDevice(ctx, dev.Number)
	must(err)
	samePool, err := c.GetPool(ctx, "gold")
	must(err)
	sameExport, err := c.GetExport(ctx, vol.ID, apitest.HostA)
	must(err)
	if node.Number != 1 || device != dev || samePool.ID != pool.ID || !reflect.DeepEqual(exp, sameExport) {
		t.Errorf("got %+v %+v %+v %+v", node, device, samePool, sameExport)
	}
	must(c.DeleteExport(ctx, vol.ID, apitest.HostA))
	must(c.DeleteExports(ctx, vol.ID))
	if left, err := c.ListExports(ctx, vol.ID); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := c.DeleteExport(ctx, vol.ID, apitest.HostB, client.IfMatch(vol.ETag)); !client.Is(err,
		wire.PreconditionFailed) {
		t.Errorf("a change of what was changed meanwhile: %v", err)
	}
	must(c.DeleteVolume(ctx, vol.ID, ""))
	if _, err := c.GetVolume(ctx, vol.ID); !client.Is(err, wire.NotFound) {
		t.Errorf("deleted: %v", err)
	}
	a.Audit()
}

// TestClusterAsAWhole is the calls that need no volume.
func TestClusterAsAWhole(t *testing.T) {
	a := apitest.New(t)
	a.Pool()
	c := newClient(t, a.Token, a.URL)
	ctx := t.Context()
	health, err := c.GetHealth(ctx)
	if err != nil || len(health.Nodes) != 3 {
		t.Errorf("got %+v, %v", health, err)
	}
	info, err := c.GetCluster(ctx)
	if err != nil || info.Nodes != 3 {
		t.Errorf("got %+v, %v", info, err)
	}
	token, err := c.CreateToken(ctx, wire.TokenCreate{Name: "t", Role: "admin"})
	if err != nil || token.Secret == "" {
		t.Fatalf("got %+v, %v", token, err)
	}
	same, err := c.GetToken(ctx, token.ID)
	if err != nil || same.Secret != "" || same.Name != "t" {
		t.Errorf("got %+v, %v", same, err)
	}
	if err := c.DeleteToken(ctx, token.ID); err != nil {
		t.Error(err)
	}
}

// TestAll collects every page.
func TestAll(t *testing.T) {
	a := apitest.New(t)
	a.Pool()
	for i := range 7 {
		a.Volume(i+1, fmt.Sprintf("v%d", i))
	}
	c := newClient(t, a.Token, a.URL)
	ctx := t.Context()
	vols, err := c.AllVolumes(ctx, "", "gold")
	if err != nil || len(vols) != 7 {
		t.Errorf("%d volumes, %v", len(vols), err)
	}
	page, err := c.ListVolumes(ctx, client.VolumeListOpts{ListOpts: client.ListOpts{Limit: 3}})
	if err != nil || len(page.Items) != 3 || page.Next == "" {
		t.Fatalf("page %+v, %v", page, err)
	}
	page, err = c.ListVolumes(ctx, client.VolumeListOpts{ListOpts: client.ListOpts{Cursor: page.Next}})
	if err != nil || len(page.Items) != 4 || page.Next != "" {
		t.Errorf("rest %+v, %v", page, err)
	}
	nodes, err1 := c.AllNodes(ctx)
	devices, err2 := c.AllDevices(ctx, 2)
	pools, err3 := c.AllPools(ctx)
	tokens, err4 := c.AllTokens(ctx)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 3 || len(devices) != 1 || len(pools) != 1 || len(tokens) != 3 {
		t.Errorf("%d nodes, %d devices, %d pools, %d tokens", len(nodes), len(devices), len(pools), len(tokens))
	}
}

// TestErrors carry the problem document.
func TestErrors(t *testing.T) {
	a := apitest.New(t)
	a.Pool()
	v := a.Volume(1, "v")
	c := newClient(t, a.Token, a.URL)
	ctx := t.Context()
	_, err := c.CreateVolume(ctx, wire.VolumeCreate{Name: "a b", Pool: "gold", Size: 4096})
	var e *client.Error
	if !errors.As(err, &e) || e.Code != wire.InvalidField || e.Field != "name" || e.Status != 400 ||
		e.RequestID == "" || !strings.HasPrefix(e.Error(), "name: ") {
		t.Errorf("got %v", err)
	}
	if _, err := c.PutExport(ctx, v.ID, apitest.HostA); err != nil {
		t.Fatal(err)
	}
	err = c.DeleteVolume(ctx, v.ID, "")
	if !errors.As(err, &e) || e.Code != wire.VolumeExported || e.Hosts[0] != apitest.HostA {
		t.Errorf("got %v", err)
	}
	_, err = c.ResizeVolume(ctx, v.ID, 32*apitest.MiB, `"1"`)
	if !client.Is(err, wire.PreconditionFailed) {
		t.Errorf("got %v", err)
	}
	_, err = newClient(t, "nonsense", a.URL).GetCluster(ctx)
	if !client.Is(err, wire.Unauthenticated) || client.Is(err, wire.NotFound) {
		t.Errorf("got %v", err)
	}
}

// stub is an endpoint that answers one thing and counts.
func stub(t *testing.T, calls *atomic.Int32, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", wire.ProblemType)
	w.WriteHeader(503)
	_ = json.NewEncoder(w).Encode(wire.Problem{Code: wire.Unavailable, Status: 503, Title: "no"})
}

func gateway(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }

func redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/other", http.StatusFound)
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

const nobody = "http://127.0.0.1:1"

// TestFailOver: reads, and changes that may be repeated, go on to the next node.
func TestFailOver(t *testing.T) {
	a := apitest.New(t)
	a.Pool()
	ctx := t.Context()
	for name, bad := range map[string]http.HandlerFunc{"unavailable": unavailable, "hangs up": hangUp} {
		var calls atomic.Int32
		c := newClient(t, a.Token, nobody, stub(t, &calls, bad), a.URL)
		if _, err := c.CreateVolume(ctx, wire.VolumeCreate{Name: "v", Pool: "gold", Size: 4096}); err != nil {
			t.Errorf("%s: create: %v", name, err)
		}
		if calls.Load() != 1 {
			t.Errorf("%s: asked %d times", name, calls.Load())
		}
		if _, err := c.GetCluster(ctx); err != nil || calls.Load() != 1 {
			t.Errorf("%s: the node that answered is not asked first: %v", name, err)
		}
		vols, err := c.AllVolumes(ctx, "v", "")
		if err != nil || len(vols) != 1 {
			t.Fatalf("%s: %d volumes, %v", name, len(vols), err)
		}
		if err := c.DeleteVolume(ctx, vols[0].ID, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		before, err := c.AllTokens(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c = newClient(t, a.Token, stub(t, &calls, bad), a.URL)
		if _, err := c.CreateToken(ctx, wire.TokenCreate{Name: "t", Role: "admin"}); err != nil {
			t.Errorf("%s: token: %v", name, err)
		}
		if after, err := c.AllTokens(ctx); err != nil || len(after) != len(before)+1 {
			t.Errorf("%s: %d tokens, then %d, %v", name, len(before), len(after), err)
		}
	}
	c := newClient(t, a.Token, nobody, a.URL)
	if _, err := c.CreateToken(ctx, wire.TokenCreate{Name: "t", Role: "admin"}); err != nil {
		t.Errorf("a node that is not reached: %v", err)
	}
	if _, err := newClient(t, a.Token, nobody, nobody).GetCluster(ctx); err == nil {
		t.Error("nobody answered")
	}
}

// TestRefusalIsFinal: an answer that is a refusal is not asked for elsewhere.
func TestRefusalIsFinal(t *testing.T) {
	a := apitest.New(t)
	var calls atomic.Int32
	c := newClient(t, a.Token, a.URL, stub(t, &calls, unavailable))
	if _, err := c.GetPool(t.Context(), "tin"); !client.Is(err, wire.NotFound) || calls.Load() != 0 {
		t.Errorf("got %v, %d further calls", err, calls.Load())
	}
}

// TestPatience: a client that was too fast waits for as long as it is told, and no longer than it may.
func TestPatience(t *testing.T) {
	var calls atomic.Int32
	fast := func(w http.ResponseWriter, r *http.Request) {
		if calls.Load() > 2 {
			_ = json.NewEncoder(w).Encode(wire.Liveness{Status: wire.OK})
			return
		}
		w.Header().Set("Content-Type", wire.ProblemType)
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(429)
		_ = json.NewEncoder(w).Encode(wire.Problem{Code: wire.TooManyRequests, Status: 429,
			RequestID: r.Header.Get("X-Request-Id")})
	}
	c := newClient(t, "t", stub(t, &calls, fast))
	if _, err := c.GetLiveness(t.Context()); err != nil || calls.Load() != 3 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	var always atomic.Int32
	c = newClient(t, "t", stub(t, &always, func(w http.ResponseWriter, r *http.Request) {
		calls.Store(0)
		fast(w, r)
	}))
	_, err := c.GetLiveness(t.Context())
	var e *client.Error
	if !errors.As(err, &e) || e.Code != wire.TooManyRequests || e.RequestID == "" || always.Load() != 5 {
		t.Errorf("%d calls, %v", always.Load(), err)
	}
}

// TestStrangers: what is no node of ours is an error that says so, never a panic or a success.
func TestStrangers(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"html":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"html error": gateway,
		"empty":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) },
		"redirect":   redirect,
		"no problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", wire.ProblemType)
			w.WriteHeader(500)
		},
		"hangs up":    hangUp,
		"wrong shape": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"epoch":"x"}`)) },
	}
	for name, h := range answers {
		var calls atomic.Int32
		_, err := newClient(t, "t", stub(t, &calls, h)).GetCluster(t.Context())
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestBadEndpoints(t *testing.T) {
	for _, e := range []string{"", "192.0.2.1:7443", "ftp://a", "http://"} {
		if _, err := client.New(client.Options{Endpoints: []string{e}}); err == nil {
			t.Errorf("%q was accepted", e)
		}
	}
	if _, err := client.New(client.Options{}); err == nil {
		t.Error("no endpoint was accepted")
	}
}
