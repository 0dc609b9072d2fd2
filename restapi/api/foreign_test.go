package api_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// strange are the ids of what another project has, and ids of the same kind that nothing has.
func strange() (foreign, absent map[string]string) {
	foreign, absent = make(map[string]string), make(map[string]string)
	for i, kind := range []string{"volume", "clone", "snapshot", "group", "group_snapshot", "schedule"} {
		foreign[kind], absent[kind] = apitest.UUID(30+i).String(), apitest.UUID(60+i).String()
	}
	for _, ids := range []map[string]string{foreign, absent} {
		ids["task"], ids["host"] = "flatten-"+ids["clone"], apitest.HostA
	}
	return foreign, absent
}

// rival makes one of everything that a project can have, with the ids of foreign.
func (w *world) rival() {
	w.T.Helper()
	defer w.Own()()
	v := w.volumeOf("rival", 30, "v")
	s := w.Snapshot(v.ID, 32, "s")
	for _, c := range []struct{ path, body string }{
		{volumes, `{"id":"` + apitest.UUID(31).String() + `","name":"c","source":{"snapshot":"` + s.ID.String() +
			`"},"project":"rival"}`},
		{"/v1/groups", `{"id":"` + apitest.UUID(33).String() + `","name":"g","project":"rival","volumes":["` +
			v.ID.String() + `"]}`},
		{"/v1/group-snapshots", `{"id":"` + apitest.UUID(34).String() + `","name":"gs","group":"` +
			apitest.UUID(33).String() + `"}`},
		{"/v1/schedules", `{"id":"` + apitest.UUID(35).String() + `","name":"h","every":"1h","keep":{"last":1},` +
			`"volume":"` + v.ID.String() + `"}`},
	} {
		if r := w.call("POST", c.path, c.body); r.status != 201 {
			w.T.Fatalf("%s: %d %s", c.path, r.status, r.body)
		}
	}
	on := manager.OfVolume(v.ID)
	if _, _, err := w.Manager.Allow(w.T.Context(), on, apitest.HostA, ""); err != nil {
		w.T.Fatal(err)
	}
}

// put replaces variables, in braces, by ids.
func put(text string, ids map[string]string) string {
	for kind, id := range ids {
		text = strings.ReplaceAll(text, "{"+kind+"}", id)
	}
	return text
}

// namedInBodies are bodies of calls that name what others have.
func namedInBodies() [][2]string {
	return [][2]string{
		{"/v1/snapshots", `{"volume":"{volume}","name":"n"}`},
		{volumes, `{"name":"n","source":{"snapshot":"{snapshot}"}}`},
		{volumes, `{"name":"n","source":{"volume":"{volume}"}}`},
		{"/v1/groups", `{"name":"n","volumes":["{volume}"]}`},
		{"/v1/groups", `{"name":"n","source":{"snapshot":"{group_snapshot}"}}`},
		{"/v1/group-snapshots", `{"group":"{group}","name":"n"}`},
		{"/v1/schedules", `{"name":"n","volume":"{volume}","every":"1h","keep":{"last":1}}`},
		{"/v1/schedules", `{"name":"n","group":"{group}","every":"1h","keep":{"last":1}}`},
		{volumes + "/" + apitest.UUID(1).String() + "/revert", `{"snapshot":"{snapshot}"}`},
		{"/v1/groups/" + apitest.UUID(20).String() + "/revert", `{"snapshot":"{group_snapshot}"}`},
	}
}

// TestWhatIsForeignIsAsIfItWereNot: whatever a tenant calls about something of another project, in the path
// or in the body, is answered like the same call about what never was, byte for byte, and changes nothing.
func TestWhatIsForeignIsAsIfItWereNot(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.rival()
	w.volumeOf("acme", 1, "mine")
	own := wire.GroupCreate{ID: apitest.UUID(20), Name: "mine", Project: "acme",
		Volumes: []cluster.UUID{apitest.UUID(1)}}
	if _, _, err := w.Manager.CreateGroup(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	tenant := w.token(auth.Tenant, "acme")
	w.as(tenant, "GET", "/v1/cluster", "") // notes that the token is used
	foreign, absent := strange()
	same := func(method, path, body string) {
		t.Helper()
		before := w.records()
		at := func(ids map[string]string) reply {
			return w.as(tenant, method, put(path, ids), put(body, ids), "X-Request-Id", "same")
		}
		a, b := at(foreign), at(absent)
		if a.status != b.status || a.status < 400 || inOtherWords(a.body, foreign, absent) != string(b.body) {
			t.Errorf("%s %s %s: foreign %d %s\nabsent %d %s", method, path, body, a.status, a.body, b.status, b.body)
		}
		if w.records() != before {
			t.Errorf("%s %s %s changed records", method, path, body)
		}
	}
	for _, r := range api.Routes() {
		if r.Public || !slices.Contains(api.Access()[r.Method+" "+r.Path], auth.Tenant) {
			continue
		}
		path := documented(r.Path)
		if op, _ := w.contract.At("paths", path, strings.ToLower(r.Method)); namesStrange(path, foreign) {
			same(r.Method, strings.Replace(path, "{host}", url.PathEscape(apitest.HostA), 1),
				w.validBody(op.(map[string]any)))
		}
	}
	for _, x := range namedInBodies() {
		same("POST", x[0], x[1])
	}
	w.Audit()
}

// inOtherWords is an answer about what is foreign, with the ids of what is absent.
func inOtherWords(answer []byte, foreign, absent map[string]string) string {
	text := string(answer)
	for kind, id := range foreign {
		text = strings.ReplaceAll(text, id, absent[kind])
	}
	return text
}

// namesStrange reports whether a path names something that a project can have.
func namesStrange(path string, ids map[string]string) bool {
	for kind := range ids {
		if kind != "host" && strings.Contains(path, "{"+kind+"}") {
			return true
		}
	}
	return false
}

// documented is the path of a route as openapi.yaml has it.
func documented(path string) string {
	for _, seg := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(seg, ":"); ok {
			path = strings.Replace(path, seg, "{"+name+"}", 1)
		}
	}
	return path
}
