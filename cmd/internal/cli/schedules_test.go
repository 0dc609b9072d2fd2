package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// TestSchedules walks through the life of a schedule.
func TestSchedules(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "disk1")
	x.c.Own()
	x.fails("volume group", "schedule", "create", "hourly", "--every", "1h", "--keep-last", "3")
	x.fails("cron every", "schedule", "create", "hourly", "--volume", "disk1", "--keep-last", "3")
	x.fails("how many snapshots stay", "schedule", "create", "hourly", "--volume", "disk1", "--every", "1h")
	out := x.run("schedule", "create", "hourly", "--volume", "disk1", "--every", "1h", "--keep-last", "3",
		"--keep-daily", "7", "--max-age", "30d", "--description", "first", "--meta", "by=me")
	contains(t, out, "hourly", "every 1h", "3 last, 7 daily, up to 30d", "first", "by=me", "NEXT",
		apitest.UUID(1).String())
	x.c.Advance(time.Hour)
	if err := x.c.Manager.RunSchedules(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	contains(t, x.run("schedule", "list", "--volume", "disk1"), "hourly", "every 1h", "NEXT")
	contains(t, x.run("schedule", "show", "hourly"), "LAST", "NEXT")
	contains(t, x.run("snapshot", "list", "disk1"), "hourly-2026")
	contains(t, x.run("snapshot", "list", "--schedule", "hourly"), "hourly-2026")
	x.fails("leave the volume out", "snapshot", "list", "disk1", "--schedule", "hourly")
	x.run("snapshot", "create", "disk1", "by-hand")
	if out := x.run("snapshot", "list", "--schedule", "hourly"); strings.Contains(out, "by-hand") {
		t.Errorf("what people took is of the schedule: %s", out)
	}
	made := strings.Fields(x.run("snapshot", "list", "--schedule", "hourly", "-o", "name"))[0]
	contains(t, x.run("snapshot", "show", made), "SCHEDULE")
	contains(t, x.run("schedule", "update", "hourly", "--keep-last", "5", "--name", "often", "--cron",
		"*/30 * * * *", "--enabled=false", "--meta", "a=b"), "often",
		"*/30 * * * *", "5 last, 7 daily", "false", "a=b", "by=me")
	x.fails("no schedule", "schedule", "show", "hourly")
	contains(t, x.run("schedule", "list"), "often", "disabled")
	x.run("group", "create", "db", "disk1")
	out = x.run("schedule", "create", "nightly", "--group", "db", "--cron", "30 2 * * *", "--keep-weekly", "4")
	contains(t, out, "group ", "30 2 * * *", "4 weekly")
	contains(t, x.run("schedule", "update", "often", "--unset-meta", "by"), "a=b")
	x.run("schedule", "delete", "often")
	contains(t, x.run("snapshot", "list", "disk1"), "hourly-2026")
	x.c.Audit()
}
