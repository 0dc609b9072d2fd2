package daemon

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/contract"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestADaemonAnswersAsDocumented reads what every GET of the document shows, of a daemon with a bit of
// everything, after a host has used its volume.
func TestADaemonAnswersAsDocumented(t *testing.T) {
	o := testOptions(t, "a")
	o.First.EncryptNodes = true // so that there is an authority
	w := newWhole(t, o)
	w.write(3)
	known := w.furnish()
	_, text := w.get("http://"+o.Listen.REST+"/v1/openapi.json", w.token)
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	report := func(err error) { t.Error(err) }
	held := &http.Client{Transport: &contract.Transport{Token: w.token, Report: report}}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		if doc.Paths[path]["get"] == nil {
			continue
		}
		at := known.Replace(path)
		if strings.Contains(at, "{") {
			t.Errorf("%s: this test knows nothing to look at", path)
			continue
		}
		req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+o.Listen.REST+at, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.token)
		resp, err := held.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// furnish makes one of everything, and says what stands for the variables of paths.
func (w *whole) furnish() *strings.Replacer {
	w.t.Helper()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	s := w.snapshot(w.volume, "s")
	_, err := w.c.PutSnapshotExport(w.ctx, s.ID, testHost)
	must(err)
	_, err = w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: "clone", Source: &wire.Source{Snapshot: s.ID}})
	must(err)
	g, err := w.c.CreateGroup(w.ctx, wire.GroupCreate{Name: "g", Volumes: []cluster.UUID{w.volume.ID}})
	must(err)
	gs, err := w.c.CreateGroupSnapshot(w.ctx, wire.GroupSnapshotCreate{Group: g.ID, Name: "gs"})
	must(err)
	sched, err := w.c.CreateSchedule(w.ctx, wire.ScheduleCreate{Name: "hourly", Volume: w.volume.ID, Every: "1h",
		Keep: cluster.Retention{Last: 3}})
	must(err)
	_, err = w.c.SetQuota(w.ctx, "acme", wire.Quota{})
	must(err)
	tok, err := w.c.CreateToken(w.ctx, wire.TokenCreate{Name: "ci", Role: "tenant", Project: "acme"})
	must(err)
	_, err = w.c.ScrubDevice(w.ctx, 1, wire.ScrubRequest{Action: wire.ScrubStart})
	must(err)
	eventually(w.t, w.ctx, "the node tells of its device", func() error {
		_, err := w.c.GetTask(w.ctx, "scrub-1")
		return err
	})
	return strings.NewReplacer("{volume}", w.volume.ID.String(), "{snapshot}", s.ID.String(), "{node}", "1",
		"{device}", "1", "{pool}", "gold", "{host}", url.PathEscape(testHost), "{group}", g.ID.String(),
		"{group_snapshot}", gs.ID.String(), "{schedule}", sched.ID.String(), "{project}", "acme", "{task}",
		"scrub-1", "{token}", tok.ID.String())
}
