package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// allow lets a host use a volume.
func (w *world) allow(volume cluster.UUID, host string) {
	w.T.Helper()
	if _, _, err := w.Manager.Allow(w.T.Context(), manager.OfVolume(volume), host, ""); err != nil {
		w.T.Fatal(err)
	}
}

// snapshotsOverHTTP makes every call about snapshots, first without an owner of the volume, then with one.
func (w *world) snapshotsOverHTTP(ok func(int, string, string, string, ...string) reply,
	volume cluster.UUID) {
	w.T.Helper()
	body := fmt.Sprintf(`{"id":%q,"volume":%q,"name":"before","description":"the upgrade",
		"metadata":{"by":"me"}}`, apitest.UUID(41), volume)
	stop := w.Own()
	var snap, again, changed wire.Snapshot
	ok(201, "POST", "/v1/snapshots", body).into(w.T, &snap)
	if snap.State != cluster.SnapshotAvailable || snap.Pin == "" || snap.Description != "the upgrade" {
		w.T.Errorf("taken as %+v", snap)
	}
	ok(200, "POST", "/v1/snapshots", body).into(w.T, &again)
	if again.ID != snap.ID || again.Pin != snap.Pin {
		w.T.Errorf("taken again as %+v", again)
	}
	at := "/v1/snapshots/" + snap.ID.String()
	ok(200, "GET", "/v1/snapshots", "")
	ok(200, "GET", "/v1/volumes/"+volume.String()+"/snapshots?name=before", "")
	etag := ok(200, "GET", at, "").header.Get("ETag")
	ok(200, "PATCH", at, `{"name":"before-upgrade","metadata":{}}`, "If-Match", etag).into(w.T, &changed)
	if snap = changed; snap.Name != "before-upgrade" || snap.Description != "the upgrade" ||
		len(snap.Metadata) != 0 {
		w.T.Errorf("changed to %+v", snap)
	}
	var exp wire.Export
	ok(201, "PUT", at+"/exports/"+apitest.HostA, "").into(w.T, &exp)
	if exp.NQN != snap.NQN || exp.UUID != snap.ID || exp.Volume != volume || len(exp.Portals) == 0 {
		w.T.Errorf("exported as %+v", exp)
	}
	ok(200, "GET", at+"/exports/"+apitest.HostA, "")
	ok(200, "GET", at+"/exports", "")
	if r := w.call("DELETE", at, ""); r.problem.Code != wire.SnapshotExported {
		w.T.Errorf("deleting an exported snapshot: %s", r.body)
	}
	ok(204, "DELETE", at+"/exports/"+apitest.HostA, "")
	ok(204, "DELETE", at+"/exports", "")
	if r := w.call("DELETE", "/v1/volumes/"+volume.String(), ""); r.problem.Code != wire.VolumeHasSnapshots {
		w.T.Errorf("deleting a volume with a snapshot: %s", r.body)
	}
	w.revertOverHTTP(ok, volume, snap.ID)
	w.clonesOverHTTP(ok, volume, snap.ID)
	ok(204, "DELETE", at, "")
	stop()
}

// clonesOverHTTP makes a clone of a snapshot and one of a volume, and deletes them.
func (w *world) clonesOverHTTP(ok func(int, string, string, string, ...string) reply,
	volume, snapshot cluster.UUID) {
	w.T.Helper()
	for _, source := range []string{`{"snapshot":"` + snapshot.String() + `"}`,
		`{"volume":"` + volume.String() + `"}`} {
		var vol, again wire.Volume
		body := `{"name":"clone","source":` + source + `}`
		r := ok(201, "POST", "/v1/volumes", body, "Idempotency-Key", source)
		r.into(w.T, &vol)
		ok(201, "POST", "/v1/volumes", body, "Idempotency-Key", source).into(w.T, &again)
		if vol.Parent == nil || vol.Parent.Volume != volume || again.ID != vol.ID {
			w.T.Errorf("made %+v of %+v", vol, vol.Parent)
		}
		var snap wire.Snapshot
		ok(200, "GET", "/v1/snapshots/"+snapshot.String(), "").into(w.T, &snap)
		if (snap.Clones == 1) != (vol.Parent.Snapshot == snapshot) {
			w.T.Errorf("the snapshot says that it has %d clones", snap.Clones)
		}
		var clones wire.Page[wire.Volume]
		ok(200, "GET", "/v1/volumes?snapshot="+snapshot.String(), "").into(w.T, &clones)
		if len(clones.Items) != int(snap.Clones) || snap.Clones == 1 && clones.Items[0].ID != vol.ID {
			w.T.Errorf("the clones of the snapshot are said to be %+v", clones.Items)
		}
		ok(200, "GET", "/v1/volumes?hidden=true", "")
		ok(200, "POST", "/v1/volumes/"+volume.String()+"/flatten", "")
		r = ok(202, "POST", "/v1/volumes/"+vol.ID.String()+"/flatten", "", "If-Match", r.header.Get("ETag"))
		ok(204, "DELETE", "/v1/volumes/"+vol.ID.String(), "", "If-Match", r.header.Get("ETag"))
	}
}

// revertOverHTTP reverts a volume to its only snapshot: once with a key, however often that is sent.
func (w *world) revertOverHTTP(ok func(int, string, string, string, ...string) reply,
	volume, snapshot cluster.UUID) {
	w.T.Helper()
	at, body := "/v1/volumes/"+volume.String(), fmt.Sprintf(`{"snapshot":%q}`, snapshot)
	etag := ok(200, "GET", at, "").header.Get("ETag")
	var vol, again wire.Volume
	ok(200, "POST", at+"/revert", body, "If-Match", etag, "Idempotency-Key", "r1").into(w.T, &vol)
	if vol.Revert == nil || vol.Revert.Snapshot != snapshot {
		w.T.Errorf("reverted as %+v", vol)
	}
	r := ok(200, "POST", at+"/revert", body, "If-Match", etag, "Idempotency-Key", "r1")
	r.into(w.T, &again)
	if again.Revert.Asked != vol.Revert.Asked || r.header.Get("Idempotency-Replayed") == "" {
		w.T.Errorf("again as %+v, %v", again, r.header)
	}
	if r := w.call("POST", at+"/revert", body, "If-Match", etag); r.problem.Code != wire.PreconditionFailed {
		w.T.Errorf("a second revert: %s", r.body)
	}
}

// TestRevertRefusals is bad input about reverts, and what stands in their way.
func TestRevertRefusals(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v, other := w.Volume(1, "a"), w.Volume(2, "b")
	w.Snapshot(v.ID, 10, "old")
	w.Snapshot(v.ID, 11, "new")
	w.Snapshot(other.ID, 20, "new")
	w.allow(other.ID, apitest.HostA)
	at := func(volume cluster.UUID) string { return "/v1/volumes/" + volume.String() + "/revert" }
	to := func(n int) string { return fmt.Sprintf(`{"snapshot":%q}`, apitest.UUID(n)) }
	for _, x := range []struct {
		path, body string
		status     int
		code       wire.Code
		field      string
	}{
		{at(v.ID), to(10), 409, wire.SnapshotNotNewest, "snapshot"},
		{at(v.ID), to(20), 400, wire.InvalidField, "snapshot"},
		{at(v.ID), to(99), 400, wire.InvalidField, "snapshot"},
		{at(v.ID), `{}`, 400, wire.InvalidField, "snapshot"},
		{at(v.ID), `{"snapshot":"monday"}`, 400, wire.InvalidField, "snapshot"},
		{at(v.ID), `{"snapshot":null}`, 400, wire.InvalidField, "snapshot"},
		{at(v.ID), fmt.Sprintf(`{"snapshot":%q,"force":"yes"}`, apitest.UUID(11)), 400, wire.InvalidField, "force"},
		{at(v.ID), `{"to":"x"}`, 400, wire.InvalidField, "to"},
		{at(other.ID), to(20), 409, wire.VolumeExported, ""},
		{at(apitest.UUID(99)), to(10), 404, wire.NotFound, ""},
	} {
		r := w.call("POST", x.path, x.body)
		if r.status != x.status || r.problem.Code != x.code || r.problem.Field != x.field {
			t.Errorf("%s %s: %d %s", x.path, x.body, r.status, r.body)
		}
	}
	forced := fmt.Sprintf(`{"snapshot":%q,"force":true}`, apitest.UUID(20))
	if r := w.call("POST", at(other.ID), forced); r.status != 200 {
		t.Errorf("forced: %s", r.body)
	}
	w.Audit()
}

// TestSnapshotsAreListedByName of one volume, in pages, and deleted with it.
func TestSnapshotsAreListedByName(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	a, b := w.Volume(1, "a"), w.Volume(2, "b")
	for n := range 5 {
		w.Snapshot(a.ID, 10+n, fmt.Sprint("s", 5-n))
		w.Snapshot(b.ID, 20+n, fmt.Sprint("s", n))
	}
	var names []string
	next := ""
	for more := true; more; more = next != "" {
		var p wire.Page[wire.Snapshot]
		at := "/v1/volumes/" + a.ID.String() + "/snapshots?limit=2"
		if next != "" {
			at += "&cursor=" + next
		}
		w.call("GET", at, "").into(t, &p)
		for _, s := range p.Items {
			if s.Volume != a.ID {
				t.Errorf("snapshot %s is of volume %s", s.Name, s.Volume)
			}
			names = append(names, s.Name)
		}
		next = p.Next
	}
	if want := []string{"s1", "s2", "s3", "s4", "s5"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if r := w.call("DELETE", "/v1/volumes/"+a.ID.String()+"?cascade=true", ""); r.status != 204 {
		t.Errorf("with its snapshots: %s", r.body)
	}
	var all wire.Page[wire.Snapshot]
	if w.call("GET", "/v1/snapshots", "").into(t, &all); len(all.Items) != 5 {
		t.Errorf("%d snapshots are left", len(all.Items))
	}
	w.Audit()
}

// TestSnapshotRefusals is bad input about snapshots.
func TestSnapshotRefusals(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v := w.Volume(1, "a")
	w.Snapshot(v.ID, 10, "taken")
	w.Snapshot(v.ID, 11, "other")
	const at = "/v1/snapshots"
	one := at + "/" + apitest.UUID(10).String()
	create := func(volume cluster.UUID, name string) string {
		return fmt.Sprintf(`{"volume":%q,"name":%q}`, volume, name)
	}
	for _, x := range []struct {
		method, path, body string
		status             int
		code               wire.Code
		field              string
	}{
		{"POST", at, create(v.ID, "taken"), 409, wire.Conflict, "name"},
		{"POST", at, create(v.ID, "a/b"), 400, wire.InvalidField, "name"},
		{"POST", at, create(apitest.UUID(99), "n"), 400, wire.InvalidField, "volume"},
		{"POST", at, `{"volume":"x","name":"n"}`, 400, wire.InvalidField, "volume"},
		{"POST", at, fmt.Sprintf(`{"volume":%q,"name":"n","id":%q}`, v.ID, apitest.UUID(10)), 409, wire.Conflict,
			"id"},
		{"PATCH", one, `{"name":"other"}`, 409, wire.Conflict, "name"},
		{"PATCH", one, `{"name":""}`, 400, wire.InvalidField, "name"},
		{"PATCH", one, `{"state":"available"}`, 400, wire.InvalidField, "state"},
		{"GET", at + "/" + apitest.UUID(99).String(), "", 404, wire.NotFound, ""},
		{"GET", "/v1/volumes/" + apitest.UUID(99).String() + "/snapshots", "", 404, wire.NotFound, ""},
		{"DELETE", "/v1/volumes/" + v.ID.String() + "?cascade=yes", "", 400, wire.InvalidField, "cascade"},
		{"PUT", one + "/exports/nobody", "", 400, wire.InvalidField, "host"},
	} {
		r := w.call(x.method, x.path, x.body)
		if r.status != x.status || r.problem.Code != x.code || r.problem.Field != x.field {
			t.Errorf("%s %s %s: %d %s", x.method, x.path, x.body, r.status, r.body)
		}
	}
	w.Audit()
}

// TestSnapshotsAreNews: taking and deleting one is an event of its volume and a change of the snapshot; what
// is taken for a clone only is neither.
func TestSnapshotsAreNews(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v := w.Volume(1, "v")
	next, hangUp := w.follow(w.URL, w.Token, "")
	defer hangUp()
	next() // begin
	w.Snapshot(v.ID, 10, "a")
	w.Advance(time.Second)
	for _, source := range []wire.Source{{Volume: v.ID}, {Snapshot: apitest.UUID(10)}} {
		name := fmt.Sprint("clone-of-volume-", source.Snapshot.IsZero())
		r := wire.VolumeCreate{Name: name, Source: &source}
		if _, _, err := w.Manager.CreateVolume(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	w.Advance(time.Second)
	if r := w.call("DELETE", "/v1/snapshots/"+apitest.UUID(10).String(), ""); r.status != 204 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	id := " " + v.ID.String()
	if got := w.kinds("/v1/events?kind=snapshot"); !slices.Equal(got,
		[]string{"snapshot.deleted" + id, "snapshot.created" + id}) {
		t.Errorf("events %q", got)
	}
	var actions []string
	for len(actions) == 0 || actions[len(actions)-1] != wire.Deleted {
		kind, data, _ := next()
		var c wire.Change
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatal(err)
		}
		if kind != "change" || c.Type != "snapshot" {
			continue
		}
		if c.ID != apitest.UUID(10).String() {
			t.Errorf("a change of snapshot %s, which nobody took", c.ID)
		}
		actions = append(actions, c.Action)
	}
	if want := []string{wire.Created, wire.Updated, wire.Updated, wire.Deleted}; !slices.Equal(actions, want) {
		t.Errorf("changes %q, want %q", actions, want) // asked for, taken, cloned, hidden
	}
}

// TestClonesOfASnapshot are found also by name; other volumes of that name are not.
func TestClonesOfASnapshot(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Own()
	v := w.Volume(1, "v")
	w.Snapshot(v.ID, 10, "a")
	body := fmt.Sprintf(`{"name":"c","read_only":true,"source":{"snapshot":%q}}`, apitest.UUID(10))
	var clone wire.Volume
	if w.call("POST", volumes, body).into(t, &clone); !clone.ReadOnly {
		t.Errorf("made %+v", clone)
	}
	for query, want := range map[string]int{"": 1, "&name=c": 1, "&name=v": 0, "&pool=gold": 1} {
		var page wire.Page[wire.Volume]
		w.call("GET", volumes+"?snapshot="+apitest.UUID(10).String()+query, "").into(t, &page)
		if len(page.Items) != want || want == 1 && page.Items[0].ID != clone.ID {
			t.Errorf("%q finds %+v", query, page.Items)
		}
	}
	if r := w.call("GET", volumes+"?snapshot=a", ""); r.status != 400 || r.problem.Field != "snapshot" {
		t.Errorf("%d %s", r.status, r.body)
	}
}
