package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// token makes a token and returns its secret; project may be empty.
func (w *world) token(role auth.Role, project string) string {
	w.T.Helper()
	t, err := w.Manager.CreateToken(w.T.Context(), wire.TokenCreate{Name: string(role), Role: string(role),
		Project: project})
	if err != nil {
		w.T.Fatal(err)
	}
	return t.Secret
}

// as is call with another's token.
func (w *world) as(token, method, path, body string, headers ...string) reply {
	w.T.Helper()
	return w.call(method, path, body, append([]string{"Authorization", "Bearer " + token}, headers...)...)
}

// volumeOf makes a volume of 4 MiB that belongs to a project.
func (w *world) volumeOf(project string, n int, name string) wire.Volume {
	w.T.Helper()
	v, _, err := w.Manager.CreateVolume(w.T.Context(), wire.VolumeCreate{ID: apitest.UUID(n), Name: name,
		Project: project, Pool: "gold", Size: 4 * apitest.MiB})
	if err != nil {
		w.T.Fatal(err)
	}
	return v
}

// concrete puts what exists into the variables of a path.
func concrete(path string, volume wire.Volume, token string) string {
	return strings.NewReplacer(":node", "1", ":device", "1", ":pool", "gold", ":volume", volume.ID.String(),
		":snapshot", apitest.UUID(76).String(), ":host", apitest.HostA, ":project", "acme",
		":task", "flatten-"+volume.ID.String(),
		":token", token).Replace(path)
}

// TestEveryRoleAtEveryCall walks the whole table. What a role may not call is refused before anything is
// looked at; what it may is not refused, whatever else may be wrong with the empty request.
func TestEveryRoleAtEveryCall(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	own := w.volumeOf("acme", 1, "v")
	foreign := w.volumeOf("rival", 2, "v")
	callers := []struct {
		role    auth.Role
		project string
	}{{auth.Admin, ""}, {auth.Operator, ""}, {auth.Viewer, ""}, {auth.Tenant, "acme"}, {auth.Viewer, "acme"},
		{auth.Join, ""}}
	for _, r := range api.Routes() {
		if r.Public {
			continue
		}
		row, ok := api.Access()[r.Method+" "+r.Path]
		if !ok {
			t.Errorf("%s %s has no line in access.txt", r.Method, r.Path)
			continue
		}
		for _, c := range callers {
			name := fmt.Sprintf("%s(%s) %s %s", c.role, c.project, r.Method, r.Path)
			may := slices.Contains(row, c.role)
			if c.project != "" {
				may = may && slices.Contains(row, auth.Tenant)
			}
			token := w.token(c.role, c.project)
			got := w.as(token, r.Method, concrete(r.Path, own, apitest.UUID(77).String()), "")
			if refused := got.status == http.StatusForbidden; refused == may {
				t.Errorf("%s: %d %s, and it may: %v", name, got.status, got.body, may)
			}
			if may && c.project != "" && strings.Contains(r.Path, ":volume") {
				w.wantNothingThere(name, token, r, foreign)
			}
		}
		if got := w.call(r.Method, concrete(r.Path, own, "x"), "", "Authorization", ""); got.status != 401 {
			t.Errorf("%s %s without a token: %d", r.Method, r.Path, got.status)
		}
		if err := w.Manager.Disallow(t.Context(), manager.OfVolume(own.ID), apitest.HostA, ""); err != nil {
			own = w.volumeOf("acme", 1, "v") // a call deleted it
		}
	}
	w.Audit()
}

// wantNothingThere: a call about a foreign volume is answered as one about a volume that never was, byte for
// byte, and changes nothing.
func (w *world) wantNothingThere(name, token string, r api.RouteInfo, foreign wire.Volume) {
	w.T.Helper()
	body := map[string]string{"PATCH": `{"size_bytes":8388608}`,
		"POST": `{"snapshot":"` + apitest.UUID(76).String() + `"}`}[r.Method]
	absent := wire.Volume{ID: apitest.UUID(78)}
	before := w.records()
	headers := []string{"X-Request-Id", "same"}
	if r.Method != http.MethodGet {
		headers = append(headers, "If-Match", `"1"`)
	}
	a := w.as(token, r.Method, concrete(r.Path, foreign, ""), body, headers...)
	b := w.as(token, r.Method, concrete(r.Path, absent, ""), body, headers...)
	same := strings.ReplaceAll(string(a.body), foreign.ID.String(), absent.ID.String()) == string(b.body)
	if a.status != http.StatusNotFound || b.status != http.StatusNotFound || !same {
		w.T.Errorf("%s: foreign %d %s\nabsent %d %s", name, a.status, a.body, b.status, b.body)
	}
	if w.records() != before {
		w.T.Errorf("%s of a foreign volume changed records", name)
	}
}

// TestTablesThatAreRefused: a route without a line and a line without a route keep a server from starting.
func TestTablesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "says nothing of GET /v1/a",
		"GET /v1/a open":          "disagree",
		"GET /v1/a yes - -":       "3 columns",
		"GET /v1/a yes - - maybe": "neither",
		"GET /v1/a":               "line 1",
		"GET /v1/a yes - - -\nGET /v1/a yes - - -": "twice",
		"GET /v1/a yes - - -\nGET /v1/b yes - - -": "has 2 calls",
		"# all is well\nGET /v1/a yes - - -":       "",
	} {
		err := api.LoadAccess(text, "GET", "/v1/a")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestTenants: two projects use the same names side by side, and neither learns of the other.
func TestTenants(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	acme, rival := w.token(auth.Tenant, "acme"), w.token(auth.Tenant, "rival")
	look := w.token(auth.Viewer, "acme")
	var a, b, c wire.Volume
	w.as(acme, "POST", volumes, named("disk"), "Idempotency-Key", "k").into(t, &a)
	w.as(rival, "POST", volumes, named("disk"), "Idempotency-Key", "k").into(t, &b)
	w.call("POST", volumes, named("disk"), "Idempotency-Key", "k").into(t, &c)
	if a.ID == b.ID || a.Project != "acme" || b.Project != "rival" || c.Project != "" || c.ID == a.ID {
		t.Errorf("made %+v\n%+v\n%+v", a, b, c)
	}
	if r := w.as(acme, "POST", volumes, named("disk")); r.status != 409 || r.problem.Field != "name" {
		t.Errorf("its own name again: %d %s", r.status, r.body)
	}
	for token, want := range map[string]int{acme: 1, rival: 1, look: 1, w.Token: 3,
		w.token(auth.Operator, ""): 3, w.token(auth.Viewer, ""): 3} {
		for _, path := range []string{volumes, volumes + "?name=disk", volumes + "?name=disk&pool=gold"} {
			var list wire.Page[wire.Volume]
			w.as(token, "GET", path, "").into(t, &list)
			if len(list.Items) != want {
				t.Errorf("%s lists %d volumes, want %d", path, len(list.Items), want)
			}
		}
		var p wire.Pool
		w.as(token, "GET", pools+"/gold", "").into(t, &p)
		if p.Volumes != want || p.Capacity.Provisioned != uint64(want)*4096 {
			t.Errorf("the pool shows %d volumes and %d bytes", p.Volumes, p.Capacity.Provisioned)
		}
	}
	for token, want := range map[string]int{acme: 0, w.Token: 1} {
		var list wire.Page[wire.Volume]
		w.as(token, "GET", volumes+"?project=rival&name=disk", "").into(t, &list)
		if len(list.Items) != want {
			t.Errorf("volumes of rival: %d, want %d", len(list.Items), want)
		}
	}
	r := w.as(acme, "POST", volumes, create(`,"project":"rival"`))
	if r.status != 400 || r.problem.Field != "project" {
		t.Errorf("a volume for somebody else: %d %s", r.status, r.body)
	}
	r = w.as(acme, "POST", volumes, create(`,"id":"`+b.ID.String()+`"`))
	if r.status != 409 || strings.Contains(string(r.body), "rival") || strings.Contains(string(r.body), "disk") {
		t.Errorf("an id of somebody else: %d %s", r.status, r.body)
	}
	if r := w.as(acme, "GET", "/v1/projects/rival", ""); r.status != 404 {
		t.Errorf("the project of somebody else: %d %s", r.status, r.body)
	}
	w.Audit()
}

// TestQuota: growth stops at it, whatever it is by; less is always possible.
func TestQuota(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	acme := w.token(auth.Tenant, "acme")
	w.call("PUT", "/v1/projects/acme", `{"volumes":2,"bytes":16384}`)
	want := func(status int, r reply) {
		t.Helper()
		if r.status != status || status == 409 && r.problem.Code != wire.QuotaExceeded {
			t.Errorf("got %d %s, want %d", r.status, r.body, status)
		}
	}
	var v wire.Volume
	first := w.as(acme, "POST", volumes, named("one"))
	first.into(t, &v)
	at := volumes + "/" + v.ID.String()
	want(409, w.as(acme, "POST", volumes, `{"name":"big","pool":"gold","size_bytes":16384}`))
	want(201, w.as(acme, "POST", volumes, named("two")))
	want(409, w.as(acme, "POST", volumes, named("three")))
	want(409, w.as(acme, "PATCH", at, `{"size_bytes":16384}`))
	want(200, w.as(acme, "PATCH", at, `{"size_bytes":12288}`))
	want(200, w.call("PUT", "/v1/projects/acme", `{"volumes":0,"bytes":0}`))
	want(409, w.as(acme, "PATCH", at, `{"size_bytes":16384}`))
	want(200, w.as(acme, "PATCH", at, `{"size_bytes":12288}`))
	want(204, w.as(acme, "DELETE", at, ""))
	want(201, w.call("POST", volumes, named("of-nobody")))
	var p wire.Project
	w.as(acme, "GET", "/v1/projects/acme", "").into(t, &p)
	if p.Used.Volumes != 1 || p.Used.Bytes != 4096 || *p.Quota.Volumes != 0 {
		t.Errorf("%+v", p)
	}
	w.Audit()
}

// TestRevokedAtOnce: on every node, from the next call on.
func TestRevokedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Join(2)
	_, other := w.Serve(2)
	var tok wire.Token
	w.call("POST", "/v1/tokens", `{"name":"ops","role":"operator","expires_in_seconds":60}`).into(t, &tok)
	bearer := []string{"Authorization", "Bearer " + tok.Secret}
	for _, url := range []string{w.URL, other} {
		if r := w.callAt(url, "GET", "/v1/nodes", "", bearer...); r.status != 200 {
			t.Errorf("before: %d", r.status)
		}
	}
	var shown wire.Token
	w.call("GET", "/v1/tokens/"+tok.ID.String(), "").into(t, &shown)
	if shown.LastUsed == "" || shown.Secret != "" || shown.Role != "operator" || shown.Expires == "" {
		t.Errorf("shown as %+v", shown)
	}
	w.call("DELETE", "/v1/tokens/"+tok.ID.String(), "")
	for _, url := range []string{w.URL, other} {
		if r := w.callAt(url, "GET", "/v1/nodes", "", bearer...); r.status != 401 {
			t.Errorf("after: %d", r.status)
		}
	}
}
