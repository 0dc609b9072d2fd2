package manager_test

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func taskOf(c *apitest.Cluster, id string) wire.Task {
	c.T.Helper()
	x, err := c.Manager.Task(c.T.Context(), id)
	if err != nil && code(err) != wire.NotFound {
		c.T.Fatal(err)
	}
	return x
}

// listed are the ids of the tasks that are not done.
func listed(c *apitest.Cluster) (ids []string) {
	c.T.Helper()
	page := manager.Page{Limit: 1}
	for {
		got, err := c.Manager.Tasks(c.T.Context(), page, manager.TaskFilter{})
		if err != nil {
			c.T.Fatal(err)
		}
		for _, x := range got.Items {
			ids = append(ids, x.ID)
		}
		if page.Cursor = got.Next; page.Cursor == "" {
			return ids
		}
	}
}

// TestFlattensAreTasks: from the wish to the end, and what cancelling leaves.
func TestFlattensAreTasks(t *testing.T) {
	c := newCloning(t)
	c.must(2, "clone")
	c.Snapshot(apitest.UUID(2), 20, "old")
	id := "flatten-" + apitest.UUID(2).String()
	if x := taskOf(c.Cluster, id); x.ID != "" {
		t.Errorf("nobody asked for it: %+v", x)
	}
	flatten := func() {
		t.Helper()
		if _, err := c.Manager.FlattenVolume(t.Context(), apitest.UUID(2), ""); err != nil {
			t.Fatal(err)
		}
	}
	flatten()
	x, err := c.Manager.CancelTask(t.Context(), id)
	if err != nil || x.State != wire.TaskCancelled {
		t.Errorf("cancelled: %+v, %v", x, err)
	}
	if ids := listed(c.Cluster); len(ids) != 0 {
		t.Errorf("still there: %v", ids)
	}
	if _, err := c.Manager.CancelTask(t.Context(), id); code(err) != wire.NotFound {
		t.Errorf("cancelled twice: %v", err)
	}
	c.Audit()
	flatten()
	waitFor(t, "all to be copied", func() bool { return taskOf(c.Cluster, id).State == wire.TaskWaiting })
	if x := taskOf(c.Cluster, id); x.Done != x.Total || x.Unit != "bytes" || x.Detail == "" {
		t.Errorf("all is copied: %+v", x)
	}
	c.deleteSnapshot(apitest.UUID(20))
	if x := taskOf(c.Cluster, id); x.State != wire.TaskRunning || x.Done != x.Total {
		t.Errorf("nothing keeps the parent, and nobody has swept: %+v", x)
	}
	waitFor(t, "the link to go", func() bool {
		c.sweep()
		return taskOf(c.Cluster, id).State == wire.TaskDone
	})
	if x, err := c.Manager.CancelTask(t.Context(), id); err != nil || x.State != wire.TaskDone {
		t.Errorf("cancelled after its end: %+v, %v", x, err)
	}
	if err := purge(t.Context(), c.Cluster); err != nil { // of the snapshot
		t.Fatal(err)
	}
	if ids := listed(c.Cluster); len(ids) != 0 {
		t.Errorf("done, and listed: %v", ids)
	}
}

// TestPassesAndMovesAreTasks: what nodes publish of passes over devices, and of volumes that move.
func TestPassesAndMovesAreTasks(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	v := c.Volume(1, "v")
	alive(t, c, 1)
	extra := c.Device(c.Join(4), 1)
	change := poolChange(cluster.ChangeAdd, 0, extra)
	if _, err := c.Manager.ChangePool(t.Context(), "gold", change, ""); err != nil {
		t.Fatal(err)
	}
	key := owned(t, c, v, 1, cluster.Boundary{Table: 0, Cursor: cluster.Groups})
	ask := wire.ScrubRequest{Action: wire.ScrubStart}
	if _, err := c.Manager.ScrubDevice(t.Context(), 2, ask, ""); err != nil {
		t.Fatal(err)
	}
	if x := taskOf(c, "scrub-2"); x.State != wire.TaskWaiting || !strings.Contains(x.Detail, "node 2") ||
		!x.Cancellable {
		t.Errorf("a pass of which no node has heard: %+v", x)
	}
	if _, err := c.Manager.CancelTask(t.Context(), "scrub-2"); err != nil {
		t.Error(err)
	}
	publish := func(scrub cluster.ScrubStats, moved uint32) {
		t.Helper()
		err := c.Manager.PublishStats(t.Context(), cluster.NodeStats{Node: 1,
			Devices: []cluster.DeviceStats{{Device: 1, Healthy: true, Scrub: &scrub}},
			Volumes: []cluster.VolumeStats{{Key: key, Epoch: 1, State: "serving", MovingTo: 1, MovedGroups: moved}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	idle := cluster.ScrubStats{State: cluster.ScrubIdle, Began: 5, Ended: 9}
	publish(idle, 1000)
	x := taskOf(c, "rebalance-gold")
	if x.State != wire.TaskRunning || x.Done != 1000 || x.Total != cluster.Groups {
		t.Errorf("a volume moves: %+v", x)
	}
	if _, err := c.Manager.CancelTask(t.Context(), "rebalance-gold"); code(err) != wire.NotSupported {
		t.Errorf("a move is cancelled: %v", err)
	}
	if x := taskOf(c, "scrub-1"); x.State != wire.TaskDone {
		t.Errorf("between two passes: %+v", x)
	}
	start := wire.ScrubRequest{Action: wire.ScrubStart}
	if _, err := c.Manager.ScrubDevice(t.Context(), 1, start, ""); err != nil {
		t.Fatal(err)
	}
	if x := taskOf(c, "scrub-1"); x.State != wire.TaskRunning || x.Done != 0 {
		t.Errorf("asked for: %+v", x)
	}
	now := c.Now().Unix()
	publish(cluster.ScrubStats{State: cluster.ScrubRunning, Began: now, Ended: 9, Percent: 30}, 1000)
	if x := taskOf(c, "scrub-1"); x.State != wire.TaskRunning || x.Done != 30 || !x.Cancellable {
		t.Errorf("under way: %+v", x)
	}
	x, err := c.Manager.CancelTask(t.Context(), "scrub-1")
	again := taskOf(c, "scrub-1")
	if err != nil || x.State != wire.TaskPaused || again.State != wire.TaskPaused {
		t.Errorf("cancelled: %+v, %v; then %+v", x, err, again)
	}
	if ids := listed(c); len(ids) != 2 || ids[0] != "rebalance-gold" || ids[1] != "scrub-1" {
		t.Errorf("listed are %v", ids)
	}
}

// TestRotationsAreTasks count the volumes whose keys are wrapped with the current cluster key.
func TestRotationsAreTasks(t *testing.T) {
	c, v := encrypted(t)
	c.Key("k2")
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k2"}, ""); err != nil {
		t.Fatal(err)
	}
	if x := taskOf(c, "rotate-k2"); x.State != wire.TaskRunning || x.Done != 0 || x.Total != 1 {
		t.Errorf("before: %+v", x)
	}
	if _, err := c.Manager.RewrapVolume(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	if x := taskOf(c, "rotate-k2"); x.State != wire.TaskDone || x.Done != 1 {
		t.Errorf("after: %+v", x)
	}
}
