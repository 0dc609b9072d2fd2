package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestEvents shows what was, what happens now, and only what is asked for.
func TestEvents(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.run("volume", "create", "disk1", "--pool", "gold", "--size", "1MiB")
	x.c.Advance(time.Second)
	x.run("volume", "create", "disk2", "--pool", "gold", "--size", "1MiB")
	out := x.run("events", "--kind", "volume")
	if one, two := strings.Index(out, "disk1"), strings.Index(out, "disk2"); one < 0 || two < one {
		t.Errorf("not in order of time:\n%s", out)
	}
	contains(t, x.run("events", "--kind", "volume.created", "--last", "1"), "disk2")
	for line, not := range map[string]string{
		"events --last 1":           "disk1",
		"events --subject disk2":    "disk1",
		"events --severity warning": "disk",
		"events --kind vol":         "disk",
	} {
		if out := x.run(strings.Fields(line)...); strings.Contains(out, not) {
			t.Errorf("%s:\n%s", line, out)
		}
	}
	x.fails("info, warning or error", "events", "--severity", "bad")
	x.fails("0 to 1000", "events", "--last", "1001")

	seen, stop := x.watch("events", "--follow", "--last", "1", "-o", "json")
	wait(t, seen, "disk2")
	x.c.Advance(time.Second)
	x.run("volume", "create", "disk3", "--pool", "gold", "--size", "1MiB")
	line := <-seen
	var e wire.Event
	if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.Contains(e.Message, "disk3") {
		t.Errorf("%s: %v", line, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

// TestUpdateVolume renames, describes and tags a volume.
func TestUpdateVolume(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.run("volume", "create", "disk1", "--pool", "gold", "--size", "1MiB", "--description", "former",
		"--meta", "a=1,b=2")
	out := x.run("volume", "update", "disk1", "--name", "db1", "--description", "new", "--meta", "a=3,c=4",
		"--unset-meta", "b")
	contains(t, out, "db1", "new", "a=3", "c=4")
	if strings.Contains(out, "b=2") || strings.Contains(out, "former") {
		t.Error(out)
	}
	contains(t, x.run("volume", "update", "db1"), "db1", "new", "a=3")
	contains(t, x.run("volume", "update", "db1", "--read-only"), "ACCESS", "read-only")
	if out := x.run("volume", "update", "db1", "--read-only=false"); strings.Contains(out, "ACCESS") {
		t.Errorf("hosts may write again: %s", out)
	}
	x.fails("no volume", "volume", "update", "disk1", "--name", "x")
}
