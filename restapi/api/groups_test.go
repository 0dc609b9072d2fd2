package api_test

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// groupsOverHTTP puts a volume into a group, takes, uses and deletes a group snapshot, and takes it all
// apart.
func (w *world) groupsOverHTTP(ok func(int, string, string, string, ...string) reply, volume cluster.UUID) {
	w.T.Helper()
	stop := w.Own()
	defer stop()
	var g, clone wire.Group
	body := fmt.Sprintf(`{"name":"db","volumes":[%q],"metadata":{"a":"b"}}`, volume)
	ok(201, "POST", "/v1/groups", body, "Idempotency-Key", "g1").into(w.T, &g)
	ok(201, "POST", "/v1/groups", body, "Idempotency-Key", "g1")
	at := "/v1/groups/" + g.ID.String()
	ok(200, "GET", "/v1/groups?name=db", "")
	r := ok(200, "GET", at, "")
	r = ok(200, "PATCH", at, `{"name":"database","description":"d"}`, "If-Match", r.header.Get("ETag"))
	if r := w.call("DELETE", at, ""); r.problem.Code != wire.GroupNotEmpty {
		w.T.Errorf("deleting a group with a volume: %s", r.body)
	}
	if r := w.call("DELETE", "/v1/volumes/"+volume.String(), ""); r.problem.Code != wire.VolumeInGroup {
		w.T.Errorf("deleting a volume of a group: %s", r.body)
	}

	var s wire.GroupSnapshot
	body = fmt.Sprintf(`{"group":%q,"name":"monday"}`, g.ID)
	ok(201, "POST", "/v1/group-snapshots", body, "Idempotency-Key", "g2").into(w.T, &s)
	if s.State != cluster.SnapshotAvailable || len(s.Snapshots) != 1 || s.Snapshots[0].Volume != volume {
		w.T.Fatalf("taken: %+v", s)
	}
	snap := "/v1/group-snapshots/" + s.ID.String()
	ok(200, "GET", "/v1/group-snapshots?group="+g.ID.String(), "")
	ok(200, "GET", snap, "")
	ok(200, "PATCH", snap, `{"name":"tuesday","description":"d","metadata":{"a":"b"}}`, "If-Match",
		ok(200, "GET", snap, "").header.Get("ETag")).into(w.T, &s)
	part := "/v1/snapshots/" + s.Snapshots[0].Snapshot.String()
	var renamed wire.Snapshot
	if ok(200, "GET", part, "").into(w.T, &renamed); s.Name != "tuesday" || s.Description != "d" ||
		renamed.Name != "tuesday" {
		w.T.Errorf("renamed to %+v, its part to %q", s, renamed.Name)
	}
	if r := w.call("PATCH", part, `{"name":"other"}`); r.problem.Code != wire.SnapshotInGroup {
		w.T.Errorf("renaming a part: %s", r.body)
	}
	if r := w.call("DELETE", part, ""); r.problem.Code != wire.SnapshotInGroup {
		w.T.Errorf("deleting a part: %s", r.body)
	}
	ok(200, "POST", at+"/revert", fmt.Sprintf(`{"snapshot":%q}`, s.ID), "If-Match", r.header.Get("ETag"),
		"Idempotency-Key", "g3").into(w.T, &g)
	if g.Revert == nil || g.Revert.Snapshot != s.ID {
		w.T.Errorf("reverted as %+v", g)
	}
	body = fmt.Sprintf(`{"name":"copy","source":{"snapshot":%q}}`, s.ID)
	ok(201, "POST", "/v1/groups", body, "Idempotency-Key", "g4").into(w.T, &clone)
	if len(clone.Volumes) != 1 {
		w.T.Fatalf("cloned as %+v", clone)
	}
	ok(200, "PATCH", "/v1/groups/"+clone.ID.String(), fmt.Sprintf(`{"remove":[%q]}`, clone.Volumes[0]))
	ok(204, "DELETE", "/v1/groups/"+clone.ID.String(), "")
	ok(204, "DELETE", "/v1/volumes/"+clone.Volumes[0].String(), "")
	r = ok(200, "GET", snap, "")
	ok(204, "DELETE", snap, "", "If-Match", r.header.Get("ETag"))
	ok(200, "PATCH", at, fmt.Sprintf(`{"remove":[%q]}`, volume))
	ok(204, "DELETE", at, "")
}

// TestGroupRefusals is bad input about groups, and what stands in the way.
func TestGroupRefusals(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	a, b, foreign := w.Volume(1, "a"), w.Volume(2, "b"), w.volumeOf("acme", 3, "c")
	made := w.call("POST", "/v1/groups", fmt.Sprintf(`{"id":%q,"name":"g","volumes":[%q]}`, apitest.UUID(20),
		a.ID))
	if made.status != 201 {
		t.Fatal(string(made.body))
	}
	at, none := "/v1/groups/"+apitest.UUID(20).String(), apitest.UUID(99)
	for _, x := range []struct {
		what, method, path, body string
		status                   int
		code                     wire.Code
		field                    string
	}{
		{"no name", "POST", "/v1/groups", `{}`, 400, wire.InvalidField, "name"},
		{"odd name", "POST", "/v1/groups", `{"name":"a/b"}`, 400, wire.InvalidField, "name"},
		{"name taken", "POST", "/v1/groups", `{"name":"g"}`, 409, wire.Conflict, "name"},
		{"id taken", "POST", "/v1/groups", fmt.Sprintf(`{"id":%q,"name":"h"}`, apitest.UUID(20)), 409,
			wire.Conflict,
			"id"},
		{"no such volume", "POST", "/v1/groups", fmt.Sprintf(`{"name":"h","volumes":[%q]}`, none), 400,
			wire.InvalidField, "volumes"},
		{"twice the same", "POST", "/v1/groups", fmt.Sprintf(`{"name":"h","volumes":[%q,%q]}`, b.ID, b.ID), 400,
			wire.InvalidField, "volumes"},
		{"another's volume", "POST", "/v1/groups", fmt.Sprintf(`{"name":"h","volumes":[%q]}`, foreign.ID), 400,
			wire.InvalidField, "volumes"},
		{"in a group already", "POST", "/v1/groups", fmt.Sprintf(`{"name":"h","volumes":[%q]}`, a.ID), 409,
			wire.VolumeInGroup, "volumes"},
		{"volumes and source", "POST", "/v1/groups",
			fmt.Sprintf(`{"name":"h","volumes":[%q],"source":{"snapshot":%q}}`,
				b.ID, none), 400, wire.InvalidField, "volumes"},
		{"source unknown", "POST", "/v1/groups", fmt.Sprintf(`{"name":"h","source":{"snapshot":%q}}`, none), 400,
			wire.InvalidField, "source.snapshot"},
		{"add and remove", "PATCH", at, fmt.Sprintf(`{"add":[%q],"remove":[%q]}`, b.ID, b.ID), 400,
			wire.InvalidField,
			"remove"},
		{"add nothing that is", "PATCH", at, fmt.Sprintf(`{"add":[%q]}`, none), 400, wire.InvalidField, "add"},
		{"no group", "PATCH", "/v1/groups/" + none.String(), `{}`, 404, wire.NotFound, ""},
		{"no UUID", "GET", "/v1/groups/x", "", 404, wire.NotFound, ""},
		{"snapshot of no group", "POST", "/v1/group-snapshots", fmt.Sprintf(`{"group":%q,"name":"s"}`, none), 400,
			wire.InvalidField, "group"},
		{"snapshot without name", "POST", "/v1/group-snapshots", fmt.Sprintf(`{"group":%q}`, apitest.UUID(20)), 400,
			wire.InvalidField, "name"},
		{"snapshots of x", "GET", "/v1/group-snapshots?group=x", "", 400, wire.InvalidField, "group"},
		{"no group snapshot to rename", "PATCH", "/v1/group-snapshots/" + none.String(), `{}`, 404, wire.NotFound,
			""},
		{"no group snapshot", "DELETE", "/v1/group-snapshots/" + none.String(), "", 404, wire.NotFound, ""},
		{"revert to nothing", "POST", at + "/revert", fmt.Sprintf(`{"snapshot":%q}`, none), 400, wire.InvalidField,
			"snapshot"},
		{"unknown field", "POST", "/v1/groups", `{"name":"h","color":"red"}`, 400, wire.InvalidField, "color"},
	} {
		r := w.call(x.method, x.path, x.body)
		if r.status != x.status || r.problem.Code != x.code || r.problem.Field != x.field {
			t.Errorf("%s: %d %s, want %d %s of %q", x.what, r.status, r.body, x.status, x.code, x.field)
		}
	}
	w.Audit()
}

// TestGroupsOfOthersDoNotExist for a tenant, by any call.
func TestGroupsOfOthersDoNotExist(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v := w.volumeOf("rival", 1, "v")
	made := w.call("POST", "/v1/groups", fmt.Sprintf(`{"id":%q,"name":"g","project":"rival","volumes":[%q]}`,
		apitest.UUID(20), v.ID))
	snap := w.call("POST", "/v1/group-snapshots", fmt.Sprintf(`{"id":%q,"group":%q,"name":"s"}`,
		apitest.UUID(21),
		apitest.UUID(20)))
	if made.status != 201 || snap.status != 201 {
		t.Fatal(string(made.body), string(snap.body))
	}
	tenant := w.token("tenant", "acme")
	at, of := "/v1/groups/"+apitest.UUID(20).String(), "/v1/group-snapshots/"+apitest.UUID(21).String()
	for _, x := range [][3]string{{"GET", at, ""}, {"PATCH", at, `{"name":"x"}`}, {"DELETE", at, ""},
		{"POST", at + "/revert", fmt.Sprintf(`{"snapshot":%q}`, apitest.UUID(21))}, {"GET", of, ""},
		{"PATCH", of, `{"name":"x"}`}, {"DELETE", of, ""}} {
		if r := w.as(tenant, x[0], x[1], x[2]); r.status != 404 {
			t.Errorf("%s %s: %d %s", x[0], x[1], r.status, r.body)
		}
	}
	for _, path := range []string{"/v1/groups", "/v1/group-snapshots"} {
		var page wire.Page[wire.Group]
		if w.as(tenant, "GET", path, "").into(t, &page); len(page.Items) > 0 {
			t.Errorf("%s lists %+v", path, page.Items)
		}
	}
	for _, body := range []string{fmt.Sprintf(`{"name":"h","volumes":[%q]}`, v.ID),
		fmt.Sprintf(`{"name":"h","source":{"snapshot":%q}}`, apitest.UUID(21))} {
		if r := w.as(tenant, "POST", "/v1/groups", body); r.status != 400 {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	if r := w.as(tenant, "POST", "/v1/groups", `{"name":"g"}`); r.status != 201 {
		t.Errorf("a name that only another project uses: %d %s", r.status, r.body)
	}
}
