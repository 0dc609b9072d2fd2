package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/schedule"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// hourly makes schedule 50, which takes a snapshot of volume 1 every full hour and keeps two.
func hourly(c *apitest.Cluster) wire.Schedule {
	c.T.Helper()
	s, created, err := c.Manager.CreateSchedule(c.T.Context(), wire.ScheduleCreate{ID: apitest.UUID(50),
		Name: "hourly", Volume: apitest.UUID(1), Cron: "0 * * * *", Keep: cluster.Retention{Last: 2}})
	if err != nil || !created {
		c.T.Fatal(err)
	}
	return s
}

// ofGroup makes schedule 51, which takes a snapshot of group 20 every hour and keeps one.
func ofGroup(c *apitest.Cluster) wire.Schedule {
	c.T.Helper()
	s, _, err := c.Manager.CreateSchedule(c.T.Context(), wire.ScheduleCreate{ID: apitest.UUID(51),
		Name: "db", Group: apitest.UUID(20), Every: "1h", Keep: cluster.Retention{Last: 1}})
	if err != nil {
		c.T.Fatal(err)
	}
	return s
}

// pass lets time pass, with looks at the schedules and owners that do what they are asked for.
func pass(c *apitest.Cluster, d time.Duration) {
	c.T.Helper()
	for end := c.Now().Add(d); c.Now().Before(end); c.Advance(20 * time.Second) {
		look(c)
	}
}

// look is one look at the schedules, and what owners do thereupon. What it draws follows from the time.
func look(c *apitest.Cluster) {
	c.T.Helper()
	chance := rand.New(rand.NewSource(c.Now().Unix()))
	if err := c.Manager.RunSchedules(manager.WithChance(c.T.Context(), chance), 1); err != nil {
		c.T.Fatal(err)
	}
	waitFor(c.T, "the owners settle the snapshots", func() bool {
		read, err := c.Store.Read(c.T.Context(), store.All(cluster.PrefixSnapshots))
		if err != nil {
			c.T.Fatal(err)
		}
		return !slices.ContainsFunc(read.Results[0].Items, func(it store.Item) bool {
			return strings.Contains(string(it.Value), `"creating"`) || strings.Contains(string(it.Value), `"deleting"`)
		})
	})
}

// names of the snapshots of volume n, oldest first where they are called after the time.
func names(c *apitest.Cluster, n int) string {
	c.T.Helper()
	page, err := c.Manager.SnapshotsOf(c.T.Context(), apitest.UUID(n), manager.Page{}, "")
	if err != nil {
		c.T.Fatal(err)
	}
	var out []string
	for _, s := range page.Items {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func kinds(c *apitest.Cluster, kind string) string {
	c.T.Helper()
	page, err := c.Manager.Events(c.T.Context(), manager.Page{}, manager.EventFilter{Kind: kind})
	if err != nil {
		c.T.Fatal(err)
	}
	var out []string
	for _, e := range page.Items {
		out = append(out, e.Message)
	}
	return strings.Join(out, "\n")
}

// twoSchedules: volume 1 and group 20 have a schedule each, which have made snapshots. It is 15:00; one is
// due then, the other one at half past.
func twoSchedules(c *apitest.Cluster) {
	c.T.Helper()
	c.Pool()
	stop := c.Own()
	grouped(c, 2, "")
	c.Volume(9, "v9")
	hourly(c)
	c.Advance(30 * time.Minute)
	ofGroup(c)
	pass(c, 150*time.Minute)
	stop()
}

// ran is a look at the schedules at the last of some times, after a look at each of the others.
func ran(after ...time.Duration) func(*apitest.Cluster) doer {
	return func(c *apitest.Cluster) doer {
		twoSchedules(c)
		stop := c.Own()
		for i, d := range after {
			if i > 0 {
				look(c)
			}
			c.Advance(d)
		}
		stop()
		return func(ctx context.Context) error {
			return c.Manager.RunSchedules(manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 64))), 1)
		}
	}
}

func scheduleChanges() []change {
	on := func(do func(m *manager.Manager, ctx context.Context) error) func(*apitest.Cluster) doer {
		return func(c *apitest.Cluster) doer {
			twoSchedules(c)
			return func(ctx context.Context) error {
				return do(c.Manager, manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 64))))
			}
		}
	}
	create := func(volume int) func(m *manager.Manager, ctx context.Context) error {
		return func(m *manager.Manager, ctx context.Context) error {
			_, _, err := m.CreateSchedule(ctx, wire.ScheduleCreate{Name: "daily", Volume: apitest.UUID(volume),
				Every: "1d", Keep: cluster.Retention{MaxAge: "1w"}})
			return err
		}
	}
	update := func(r wire.ScheduleUpdate) func(m *manager.Manager, ctx context.Context) error {
		return func(m *manager.Manager, ctx context.Context) error {
			return errOf(m.UpdateSchedule(ctx, apitest.UUID(50), r, ""))
		}
	}
	return []change{
		{"make a schedule", on(create(9))},
		{"make a second schedule", on(create(1))},
		{"change a schedule", on(update(wire.ScheduleUpdate{Name: new("x"), Every: "1d"}))},
		{"disable a schedule", on(update(wire.ScheduleUpdate{Enabled: new(false)}))},
		{"keep fewer", on(update(wire.ScheduleUpdate{Keep: &cluster.Retention{Last: 1}}))},
		{"delete a schedule", on(func(m *manager.Manager, ctx context.Context) error {
			return m.DeleteSchedule(ctx, apitest.UUID(50), "")
		})},
		{"delete a volume with a schedule", func(c *apitest.Cluster) doer {
			c.Pool()
			c.Volume(1, "v1")
			hourly(c)
			return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, apitest.UUID(1), "", false) }
		}},
		{"delete a group with a schedule", func(c *apitest.Cluster) doer {
			c.Pool()
			grouped(c, 0, "")
			ofGroup(c)
			return func(ctx context.Context) error { return c.Manager.DeleteGroup(ctx, apitest.UUID(20), "") }
		}},
		{"take what is due", ran(time.Hour)},
		{"remove a snapshot that is one too many", ran(time.Minute, time.Minute)},
		{"remove a group snapshot that is one too many", ran(time.Minute, time.Minute, 29*time.Minute,
			time.Minute)},
	}
}

// TestASchedule takes snapshots, keeps as many as it should, and leaves those of people alone, whatever they
// are called.
func TestASchedule(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	c.Volume(1, "v1")
	s := hourly(c)
	if s.NextRun != "2026-11-21T13:00:00Z" || !s.Enabled || s.Prefix != "hourly" {
		t.Errorf("made as %+v", s)
	}
	c.Snapshot(apitest.UUID(1), 10, "hourly-20260101T000000Z")
	pass(c, 210*time.Minute)
	want := "hourly-20260101T000000Z hourly-20261121T140000Z hourly-20261121T150000Z"
	if got := names(c, 1); got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	c.Audit()
	got, err := c.Manager.Schedule(t.Context(), s.ID)
	if err != nil || got.ETag != s.ETag || got.LastRun != "2026-11-21T15:00:00Z" || got.LastError != "" ||
		got.NextRun != "2026-11-21T16:00:00Z" {
		t.Errorf("it says %+v, %v", got, err)
	}
	last, err := c.Manager.Snapshot(t.Context(), got.LastSnapshot)
	if err != nil || last.Schedule != s.ID || last.Name != "hourly-20261121T150000Z" {
		t.Errorf("the last one is %+v, %v", last, err)
	}
	r := wire.SnapshotUpdate{Name: new("mine")} // and is removed all the same
	if _, err := c.Manager.UpdateSnapshot(t.Context(), last.ID, r, ""); err != nil {
		t.Fatal(err)
	}
	pass(c, 2*time.Hour)
	want = "hourly-20260101T000000Z hourly-20261121T160000Z hourly-20261121T170000Z"
	if got := names(c, 1); got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	if err := c.Manager.DeleteSchedule(t.Context(), s.ID, ""); err != nil {
		t.Fatal(err)
	}
	pass(c, 3*time.Hour)
	if got := names(c, 1); got != want {
		t.Errorf("after its end there are %q", got)
	}
	c.Audit()
}

// TestAScheduleOfAGroup takes and removes group snapshots.
func TestAScheduleOfAGroup(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	grouped(c, 2, "acme")
	s := ofGroup(c)
	if s.Project != "acme" || s.NextRun != "2026-11-21T13:00:00Z" {
		t.Errorf("made as %+v", s)
	}
	pass(c, 130*time.Minute)
	page, err := c.Manager.GroupSnapshots(t.Context(), manager.Page{}, apitest.UUID(20))
	if err != nil || len(page.Items) != 1 || page.Items[0].Name != "db-20261121T140000Z" ||
		page.Items[0].Schedule != s.ID || len(page.Items[0].Snapshots) != 2 {
		t.Fatalf("there are %+v, %v", page.Items, err)
	}
	part := page.Items[0].Snapshots[1].Snapshot
	if _, _, err := c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{ID: apitest.UUID(8), Project: "acme",
		Name: "clone", Source: &wire.Source{Snapshot: part}}); err != nil {
		t.Fatal(err)
	}
	pass(c, time.Hour) // the clone keeps it
	if s, err = c.Manager.Schedule(t.Context(), s.ID); err != nil || s.Held != 1 {
		t.Errorf("it says %+v, %v", s, err)
	}
	c.Audit()
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(8), "", false); err != nil {
		t.Fatal(err)
	}
	pass(c, time.Hour)
	if s, err = c.Manager.Schedule(t.Context(), s.ID); err != nil || s.Held != 0 {
		t.Errorf("it says %+v, %v", s, err)
	}
	if got := names(c, 1); got != "db-20261121T160000Z" {
		t.Errorf("there are %q", got)
	}
	c.Audit()
}

// TestWhatIsUsedStays, is counted, told once, and goes when it is free.
func TestWhatIsUsedStays(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	c.Volume(1, "v1")
	s := hourly(c)
	pass(c, 70*time.Minute)
	if s, _ = c.Manager.Schedule(t.Context(), s.ID); s.LastSnapshot.IsZero() {
		t.Fatalf("it says %+v", s)
	}
	of := manager.OfSnapshot(s.LastSnapshot)
	if _, _, err := c.Manager.Allow(t.Context(), of, apitest.HostA, ""); err != nil {
		t.Fatal(err)
	}
	pass(c, 4*time.Hour)
	want := "hourly-20261121T130000Z hourly-20261121T160000Z hourly-20261121T170000Z"
	if got := names(c, 1); got != want {
		t.Errorf("there are %q, want %q", got, want)
	}
	s, err := c.Manager.Schedule(t.Context(), s.ID)
	if told := kinds(c, "schedule.held"); err != nil || s.Held != 1 || strings.Count(told, "\n") != 0 ||
		!strings.Contains(told, "hourly-20261121T130000Z") {
		t.Errorf("it says %+v, %v; events %q", s, err, told)
	}
	if err := c.Manager.Disallow(t.Context(), of, apitest.HostA, ""); err != nil {
		t.Fatal(err)
	}
	pass(c, time.Hour)
	if got := names(c, 1); got != "hourly-20261121T170000Z hourly-20261121T180000Z" {
		t.Errorf("there are %q", got)
	}
}

// TestSchedulesFail: what the state of the cluster does not allow is said, once, and tried again in time.
func TestSchedulesFail(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	grouped(c, 0, "")
	s := ofGroup(c)
	pass(c, 190*time.Minute)
	s, err := c.Manager.Schedule(t.Context(), s.ID)
	told := kinds(c, "schedule.failed")
	if err != nil || !strings.Contains(s.LastError, "no volumes") || s.LastRun != "" ||
		strings.Count(told, "\n") != 0 || !strings.Contains(told, s.LastError) {
		t.Errorf("it says %+v, %v; events %q", s, err, told)
	}
	c.Volume(1, "v1")
	r := wire.GroupUpdate{Add: []cluster.UUID{apitest.UUID(1)}}
	if _, err := c.Manager.UpdateGroup(t.Context(), apitest.UUID(20), r, ""); err != nil {
		t.Fatal(err)
	}
	pass(c, time.Hour)
	if s, err = c.Manager.Schedule(t.Context(), s.ID); err != nil || s.LastError != "" || s.LastRun == "" {
		t.Errorf("it says %+v, %v", s, err)
	}
	c.Audit()
}

// TestNoPileWithoutAnOwner: while a snapshot is not taken no other one is asked for, and nothing goes.
func TestNoPileWithoutAnOwner(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	stop := c.Own()
	c.Volume(1, "v1")
	s := hourly(c)
	pass(c, 190*time.Minute)
	stop()
	for range 12 {
		c.Advance(30 * time.Minute)
		if err := c.Manager.RunSchedules(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(c, 1); strings.Count(got, " ") != 2 {
		t.Errorf("there are %q", got)
	}
	s, err := c.Manager.Schedule(t.Context(), s.ID)
	if err != nil || !strings.Contains(s.LastError, "not taken yet") {
		t.Errorf("it says %+v, %v", s, err)
	}
	c.Audit()
	c.Own()
	look(c)
	pass(c, 2*time.Hour)
	if got := names(c, 1); strings.Count(got, " ") != 1 {
		t.Errorf("there are %q", got)
	}
	c.Audit()
}

// TestAllNodesRunSchedules: whoever is first takes the snapshot, and there is one.
func TestAllNodesRunSchedules(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	c.Volume(1, "v1")
	hourly(c)
	for range 6 {
		c.Advance(time.Hour)
		var nodes sync.WaitGroup
		for range 5 {
			nodes.Go(func() {
				if err := c.Manager.RunSchedules(t.Context(), 1); err != nil {
					t.Error(err)
				}
			})
		}
		nodes.Wait()
		look(c)
		c.Advance(time.Minute)
		look(c)
	}
	if got := kinds(c, "snapshot.created"); strings.Count(got, "\n") != 5 {
		t.Errorf("taken were\n%s", got)
	}
	if got := kinds(c, "snapshot.deleted"); strings.Count(got, "\n") != 3 {
		t.Errorf("removed were\n%s", got)
	}
	c.Audit()
}

// meeting is a store in which the first commits wait for each other: whoever makes them has read before.
type meeting struct {
	*store.Mem
	arrived sync.WaitGroup
	first   atomic.Int32 // commits that still wait
}

func (m *meeting) Commit(ctx context.Context, t store.Txn) (int64, error) {
	if len(t.Put) > 1 && m.first.Add(-1) >= 0 { // a node that tells its time waits for nobody
		m.arrived.Done()
		m.arrived.Wait()
	}
	return m.Mem.Commit(ctx, t)
}

// TestTwoNodesAtOnce: both have seen that a snapshot is due when the first one takes it. Their clocks differ,
// and so would the names.
func TestTwoNodesAtOnce(t *testing.T) {
	s := &meeting{Mem: store.NewMem()}
	c := apitest.NewOn(t, s)
	c.Pool()
	c.Own()
	c.Volume(1, "v1")
	hourly(c)
	c.Advance(time.Hour)
	late := manager.New(manager.Options{Store: s, Members: c.Members, Keys: c.Keys,
		Now: func() time.Time { return c.Now().Add(3 * time.Second) }})
	s.arrived.Add(2)
	s.first.Store(2)
	var nodes sync.WaitGroup
	for _, m := range []*manager.Manager{c.Manager, late} {
		nodes.Go(func() {
			if err := m.RunSchedules(t.Context(), 1); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	if got := names(c, 1); len(strings.Fields(got)) != 1 {
		t.Errorf("taken are %q", got)
	}
	c.Audit()
}

// TestAClockThatRunsAhead: a node whose clock is a day ahead takes nothing early and lets nothing go early,
// and says so, once; the snapshots that it takes in time bear the time of the others.
func TestAClockThatRunsAhead(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	c.Volume(1, "v1")
	r := wire.ScheduleCreate{ID: apitest.UUID(50), Name: "short", Volume: apitest.UUID(1), Every: "1h",
		Keep: cluster.Retention{MaxAge: "12h"}}
	if _, _, err := c.Manager.CreateSchedule(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	alive(t, c, 1)
	const day = 24 * time.Hour
	early := manager.New(manager.Options{Store: c.Store, Members: c.Members, Keys: c.Keys,
		Now: func() time.Time { return c.Now().Add(day) }})
	look(c)
	for range 2 * 60 {
		c.Advance(time.Minute)
		if err := early.RunSchedules(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		look(c)
	}
	if got := strings.Fields(names(c, 1)); len(got) != 2 {
		t.Errorf("after two hours there are %q", got)
	}
	list, err := c.Manager.SnapshotsOf(t.Context(), apitest.UUID(1), manager.Page{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		if s.Created > c.Now().Add(schedule.MaxAhead).Format(time.RFC3339) {
			t.Errorf("snapshot %s was taken at %s, now is %s", s.Name, s.Created, c.Now())
		}
	}
	if got := messages(c, "node.clock_ahead"); len(got) != 1 || !strings.Contains(got[0], "node 2") {
		t.Errorf("told: %q", got)
	}
	waitFor(t, "a node to go by its own clock that has no other", func() bool {
		c.Advance(time.Minute)
		if err := early.RunSchedules(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		return len(messages(c, "snapshot.deleted")) > 0
	})
	c.Audit()
}

// TestManyExpire: of hundreds that are to be kept no more, every look removes some.
func TestManyExpire(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	c.Volume(1, "v1")
	s := hourly(c)
	all := wire.ScheduleUpdate{Keep: &cluster.Retention{Last: 500}}
	if _, err := c.Manager.UpdateSchedule(t.Context(), s.ID, all, ""); err != nil {
		t.Fatal(err)
	}
	for range 70 {
		c.Advance(time.Hour)
		look(c)
	}
	few := wire.ScheduleUpdate{Keep: &cluster.Retention{Last: 3}}
	if _, err := c.Manager.UpdateSchedule(t.Context(), s.ID, few, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{42, 14, 3} { // 28 at a time
		if look(c); len(strings.Fields(names(c, 1))) != want {
			t.Errorf("there are %q", names(c, 1))
		}
	}
	c.Audit()
}

// TestManySchedules: all that are due are run by one look, however many.
func TestManySchedules(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	c.Own()
	for n := range 150 {
		c.Volume(100+n, fmt.Sprint("v", n))
		if _, _, err := c.Manager.CreateSchedule(t.Context(), wire.ScheduleCreate{Name: fmt.Sprint("s", n),
			Volume: apitest.UUID(100 + n), Every: "1h", Keep: cluster.Retention{Last: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(time.Hour)
	look(c)
	page, err := c.Manager.Snapshots(t.Context(), manager.Page{Limit: manager.MaxLimit},
		manager.SnapshotFilter{})
	if err != nil || len(page.Items) != 150 {
		t.Errorf("%d snapshots, %v", len(page.Items), err)
	}
	var all []wire.Schedule
	for p := (manager.Page{Limit: 40}); ; {
		page, err := c.Manager.Schedules(t.Context(), p, manager.ScheduleFilter{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Items...)
		if p.Cursor = page.Next; p.Cursor == "" {
			break
		}
	}
	if len(all) != 150 || all[0].LastRun == "" {
		t.Errorf("%d schedules, the first %+v", len(all), all[0])
	}
	c.Audit()
}

// TestSchedulesEndWithWhatTheyAreOf, and there are not too many of them.
func TestSchedulesEndWithWhatTheyAreOf(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	stop := c.Own()
	c.Volume(1, "v1")
	var err error
	for n := range cluster.MaxSchedules + 1 {
		_, _, err = c.Manager.CreateSchedule(t.Context(), wire.ScheduleCreate{Name: fmt.Sprint("s", n),
			Volume: apitest.UUID(1), Every: "1d", Keep: cluster.Retention{MaxAge: "30d"}, Enabled: new(n%2 == 0)})
	}
	var refused *manager.Error
	if !errors.As(err, &refused) || refused.Code != wire.Conflict {
		t.Errorf("one too many: %v", err)
	}
	c.Audit()
	c.Advance(24 * time.Hour)
	look(c)
	c.Audit()
	// A clone of what one of them made keeps the volume, hidden, and no schedule.
	page, err := c.Manager.SnapshotsOf(t.Context(), apitest.UUID(1), manager.Page{}, "")
	if err != nil || len(page.Items) != (cluster.MaxSchedules+1)/2 {
		t.Fatalf("%d snapshots, %v", len(page.Items), err)
	}
	if _, _, err := c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{Name: "clone",
		Source: &wire.Source{Snapshot: page.Items[0].ID}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.DeleteVolume(t.Context(), apitest.UUID(1), "", true); err != nil {
		t.Fatal(err)
	}
	stop()
	left, err := c.Manager.Schedules(t.Context(), manager.Page{}, manager.ScheduleFilter{})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("left are %+v, %v", left.Items, err)
	}
	c.Advance(24 * time.Hour)
	look(c)
	c.Audit()
}
