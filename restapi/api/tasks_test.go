package api_test

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// tasksOverHTTP looks at a pass over a device that is under way, and pauses it.
func (w *world) tasksOverHTTP(ok func(int, string, string, string, ...string) reply) {
	w.T.Helper()
	w.scrubbing(1)
	ok(200, "GET", "/v1/tasks?kind=scrub&subject=1&limit=5", "")
	ok(200, "GET", "/v1/tasks/scrub-1", "")
	ok(200, "POST", "/v1/tasks/scrub-1/cancel", "")
}

// scrubbing publishes that a pass over a device of node 1 is under way.
func (w *world) scrubbing(d cluster.DeviceID) {
	w.T.Helper()
	st := cluster.DeviceStats{Device: d, Healthy: true,
		Scrub: &cluster.ScrubStats{State: cluster.ScrubRunning, Began: 7, Percent: 40}}
	err := w.Manager.PublishStats(w.T.Context(), cluster.NodeStats{Node: 1, Devices: []cluster.DeviceStats{st}})
	if err != nil {
		w.T.Fatal(err)
	}
}

// TestTasksOfTenants: a tenant sees what is done to its own volumes, and no more than that of others'.
func TestTasksOfTenants(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.scrubbing(1)
	source, foreign := w.volumeOf("acme", 1, "v"), w.volumeOf("rival", 2, "v")
	stop := w.Own()
	_, _, err := w.Manager.CreateVolume(t.Context(), wire.VolumeCreate{ID: apitest.UUID(3), Name: "clone",
		Project: "acme", Source: &wire.Source{Volume: source.ID}})
	if err != nil {
		t.Fatal(err)
	}
	stop() // nobody goes on with what is asked for
	if _, err := w.Manager.FlattenVolume(t.Context(), apitest.UUID(3), ""); err != nil {
		t.Fatal(err)
	}
	at := "/v1/tasks/flatten-" + apitest.UUID(3).String()
	acme, rival := w.token(auth.Tenant, "acme"), w.token(auth.Tenant, "rival")
	var own, others wire.Page[wire.Task]
	w.as(acme, "GET", "/v1/tasks", "").into(t, &own)
	w.as(rival, "GET", "/v1/tasks", "").into(t, &others)
	if len(own.Items) != 1 || own.Items[0].State != wire.TaskRunning || len(others.Items) != 0 {
		t.Errorf("its owner sees %+v, another %+v", own.Items, others.Items)
	}
	for _, path := range []string{at, "/v1/tasks/scrub-1", "/v1/tasks/rebalance-gold"} {
		if r := w.as(rival, "GET", path, ""); r.status != 404 {
			t.Errorf("%s of another: %d %s", path, r.status, r.body)
		}
	}
	if r := w.as(rival, "POST", at+"/cancel", ""); r.status != 404 {
		t.Errorf("cancelled by another: %d %s", r.status, r.body)
	}
	if r := w.as(acme, "POST", "/v1/tasks/flatten-"+foreign.ID.String()+"/cancel", ""); r.status != 404 {
		t.Errorf("cancelled of another: %d %s", r.status, r.body)
	}
	var ended wire.Task
	w.as(acme, "POST", at+"/cancel", "").into(t, &ended)
	if r := w.as(acme, "GET", at, ""); ended.State != wire.TaskCancelled || r.status != 404 {
		t.Errorf("cancelled: %+v, then %d %s", ended, r.status, r.body)
	}
	w.Audit()
}
