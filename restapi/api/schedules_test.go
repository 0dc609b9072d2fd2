package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// schedulesOverHTTP makes a schedule of a volume, has it take a snapshot, changes and deletes it.
func (w *world) schedulesOverHTTP(ok func(int, string, string, string, ...string) reply,
	volume cluster.UUID) {
	w.T.Helper()
	stop := w.Own()
	defer stop()
	var s, again wire.Schedule
	body := fmt.Sprintf(`{"name":"hourly","volume":%q,"cron":"30 */2 * * sun-sat","prefix":"auto",
		"keep":{"last":3,"daily":7,"max_age":"30d"},"metadata":{"a":"b"}}`, volume)
	ok(201, "POST", "/v1/schedules", body, "Idempotency-Key", "s1").into(w.T, &s)
	ok(201, "POST", "/v1/schedules", body, "Idempotency-Key", "s1").into(w.T, &again)
	if again.ID != s.ID || s.NextRun == "" || !s.Enabled || s.LastRun != "" || s.Keep.Daily != 7 {
		w.T.Errorf("made %+v, then %+v", s, again)
	}
	at := "/v1/schedules/" + s.ID.String()
	for _, query := range []string{"?name=hourly", "?volume=" + volume.String(), "?limit=1", ""} {
		var page wire.Page[wire.Schedule]
		ok(200, "GET", "/v1/schedules"+query, "").into(w.T, &page)
		if len(page.Items) != 1 || page.Items[0].ID != s.ID {
			w.T.Errorf("%q finds %+v", query, page.Items)
		}
	}
	w.Advance(3 * time.Hour)
	if err := w.Manager.RunSchedules(w.T.Context(), 1); err != nil {
		w.T.Fatal(err)
	}
	r := ok(200, "GET", at, "")
	r.into(w.T, &s)
	var snap wire.Snapshot
	ok(200, "GET", "/v1/snapshots/"+s.LastSnapshot.String(), "").into(w.T, &snap)
	if snap.Schedule != s.ID || !strings.HasPrefix(snap.Name, "auto-2026") || s.LastRun == "" {
		w.T.Errorf("ran as %+v, made %+v", s, snap)
	}
	for query, want := range map[string]int{"?schedule=" + s.ID.String(): 1, "?schedule=" + volume.String(): 0} {
		var page wire.Page[wire.Snapshot]
		if ok(200, "GET", "/v1/snapshots"+query, "").into(w.T, &page); len(page.Items) != want {
			w.T.Errorf("%q finds %+v", query, page.Items)
		}
	}
	etag := r.header.Get("ETag")
	var changed wire.Schedule
	ok(200, "PATCH", at, `{"every":"12h","name":"daily","enabled":false,"keep":{"monthly":2},
		"metadata":{"a":null},"description":"d","prefix":"x"}`, "If-Match", etag).into(w.T, &changed)
	if s = changed; s.Cron != "" || s.Every != "12h" || s.Enabled || s.NextRun != "" ||
		s.Keep != (cluster.Retention{Monthly: 2}) ||
		len(s.Metadata) != 0 || s.Name != "daily" || s.Description != "d" || s.Prefix != "x" {
		w.T.Errorf("changed to %+v", s)
	}
	if r := w.call("PATCH", at, `{}`, "If-Match", etag); r.problem.Code != wire.PreconditionFailed {
		w.T.Errorf("changed by an old ETag: %s", r.body)
	}
	ok(204, "DELETE", at, "", "If-Match", s.ETag)
	ok(204, "DELETE", "/v1/snapshots/"+snap.ID.String(), "")
}

// TestScheduleRefusals is bad input about schedules.
func TestScheduleRefusals(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	v := w.Volume(1, "a")
	with := func(fields string) string {
		return fmt.Sprintf(`{"name":"n","volume":%q,%s}`, v.ID, fields)
	}
	timed := func(fields string) string { return with(`"cron":"0 * * * *",` + fields) }
	kept := func(fields string) string { return with(fields + `,"keep":{"last":1}`) }
	made := w.call("POST", "/v1/schedules", fmt.Sprintf(`{"id":%q,"name":"taken","volume":%q,"every":"1h",
		"keep":{"last":1}}`, apitest.UUID(50), v.ID))
	if made.status != 201 {
		t.Fatal(string(made.body))
	}
	at := "/v1/schedules/" + apitest.UUID(50).String()
	w.call("GET", at, "")
	before := w.records()
	for _, x := range []struct {
		what, method, path, body string
		status                   int
		code                     wire.Code
		field                    string
	}{
		{"no name", "POST", "/v1/schedules", `{"keep":{"last":1}}`, 400, field, "name"},
		{"name taken", "POST", "/v1/schedules", strings.Replace(timed(`"keep":{"last":1}`), `"n"`, `"taken"`, 1),
			409, wire.Conflict, "name"},
		{"id taken", "POST", "/v1/schedules", timed(`"keep":{"last":1},"id":"` + apitest.UUID(50).String() + `"`),
			409, wire.Conflict, "id"},
		{"of nothing", "POST", "/v1/schedules", `{"name":"n","every":"1h","keep":{"last":1}}`, 400, field,
			"volume"},
		{"of two", "POST", "/v1/schedules", timed(`"keep":{"last":1},"group":"` + none + `"`), 400, field,
			"volume"},
		{"no such volume", "POST", "/v1/schedules",
			fmt.Sprintf(`{"name":"n","volume":%q,"every":"1h","keep":{"last":1}}`, none), 400, field, "volume"},
		{"no such group", "POST", "/v1/schedules",
			fmt.Sprintf(`{"name":"n","group":%q,"every":"1h","keep":{"last":1}}`, none), 400, field, "group"},
		{"no time", "POST", "/v1/schedules", with(`"keep":{"last":1}`), 400, field, "cron"},
		{"two times", "POST", "/v1/schedules", timed(`"keep":{"last":1},"every":"1h"`), 400, field, "cron"},
		{"odd cron", "POST", "/v1/schedules", kept(`"cron":"0 25 * * *"`), 400, field, "cron"},
		{"cron that never comes", "POST", "/v1/schedules", kept(`"cron":"0 0 30 2 *"`), 400, field, "cron"},
		{"odd period", "POST", "/v1/schedules", kept(`"every":"1y"`), 400, field, "every"},
		{"too short", "POST", "/v1/schedules", kept(`"every":"0m"`), 400, field, "every"},
		{"keeps for ever", "POST", "/v1/schedules", timed(`"keep":{}`), 400, field, "keep"},
		{"says nothing of it", "POST", "/v1/schedules", timed(`"enabled":true`), 400, field, "keep"},
		{"keeps too many", "POST", "/v1/schedules", timed(`"keep":{"last":1000,"daily":25}`), 400, field, "keep"},
		{"keeps less than none", "POST", "/v1/schedules", timed(`"keep":{"last":-1}`), 400, field, "keep"},
		{"odd age", "POST", "/v1/schedules", timed(`"keep":{"max_age":"long"}`), 400, field, "keep.max_age"},
		{"keeps years", "POST", "/v1/schedules", timed(`"keep":{"yearly":1}`), 400, field, "keep.yearly"},
		{"long prefix", "POST", "/v1/schedules",
			timed(`"keep":{"last":1},"prefix":"` + strings.Repeat("p", 112) + `"`), 400, field, "prefix"},
		{"two times at once", "PATCH", at, `{"every":"1h","cron":"0 0 * * *"}`, 400, field, "every"},
		{"odd time", "PATCH", at, `{"cron":"x"}`, 400, field, "cron"},
		{"of another volume", "PATCH", at, `{"volume":"` + none + `"}`, 400, field, "volume"},
		{"keep nothing", "PATCH", at, `{"keep":{}}`, 400, field, "keep"},
		{"no schedule", "PATCH", "/v1/schedules/" + none, `{}`, 404, wire.NotFound, ""},
		{"no schedule to delete", "DELETE", "/v1/schedules/" + none, "", 404, wire.NotFound, ""},
		{"no UUID", "GET", "/v1/schedules/x", "", 404, wire.NotFound, ""},
		{"of no UUID", "GET", "/v1/schedules?volume=x", "", 400, field, "volume"},
	} {
		r := w.call(x.method, x.path, x.body)
		if r.status != x.status || r.problem.Code != x.code || r.problem.Field != x.field {
			t.Errorf("%s: %d %s, want %d %s of %q", x.what, r.status, r.body, x.status, x.code, x.field)
		}
	}
	if w.records() != before {
		t.Error("a refused call changed records")
	}
}

// TestSchedulesOfOthersDoNotExist for a tenant, by any call.
func TestSchedulesOfOthersDoNotExist(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	foreign, own := w.volumeOf("rival", 1, "v"), w.volumeOf("acme", 2, "v")
	of := func(id cluster.UUID, name string) string {
		return fmt.Sprintf(`{"name":%q,"volume":%q,"every":"1h","keep":{"last":1}}`, name, id)
	}
	made := w.call("POST", "/v1/schedules", strings.Replace(of(foreign.ID, "s"), "{",
		`{"id":"`+apitest.UUID(50).String()+`",`, 1))
	if made.status != 201 {
		t.Fatal(string(made.body))
	}
	tenant, at := w.token("tenant", "acme"), "/v1/schedules/"+apitest.UUID(50).String()
	for _, x := range [][2]string{{"GET", ""}, {"PATCH", `{"name":"x"}`}, {"DELETE", ""}} {
		if r := w.as(tenant, x[0], at, x[1]); r.status != 404 {
			t.Errorf("%s: %d %s", x[0], r.status, r.body)
		}
	}
	if r := w.as(tenant, "POST", "/v1/schedules", of(foreign.ID, "n")); r.status != 400 ||
		r.problem.Field != "volume" {
		t.Errorf("of another's volume: %d %s", r.status, r.body)
	}
	var s wire.Schedule
	w.as(tenant, "POST", "/v1/schedules", of(own.ID, "s")).into(t, &s) // the name is free in this project
	var page wire.Page[wire.Schedule]
	w.as(tenant, "GET", "/v1/schedules", "").into(t, &page)
	if s.Project != "acme" || len(page.Items) != 1 || page.Items[0].ID != s.ID {
		t.Errorf("made %+v, sees %+v", s, page.Items)
	}
	w.Audit()
}
