package schedule

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// world is a schedule with its snapshots, on a clock that goes from one decision to the next.
type world struct {
	state     State
	snapshots []named
	now, wake time.Time
	stuck     bool // the owner of the volume takes nothing
}

type named struct {
	name string
	Snapshot
}

const layout = "2006-01-02T15:04:05"

// TestStories plays schedules. Commands:
//
//	schedule at=TIME [cron=(LINE)] [every=PERIOD] [last= hourly= daily= weekly= monthly= max-age=]
//	keep [last= hourly= daily= weekly= monthly= max-age=]
//	until TIME       decides whenever that is due, up to this moment, and tells what happens
//	quietly TIME     the same, and tells nothing
//	down TIME        nobody decides anything before this moment
//	owner stuck|back whether snapshots that are asked for are taken
//	use NAME, free NAME
//	enable, disable
//	list             the snapshots that there are, the newest first
//	clock own=TIME [told=(TIME ...)]  by which time a node decides that was told those of others
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			w := &world{}
			datadriven.RunTest(t, path, w.run)
		})
	}
}

func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "schedule":
		*w = world{now: moment(t, one(d, "at"))}
		w.state = State{Times: times(t, d, w.now), Keep: keep(t, d), Enabled: true}
		return w.plan()
	case "keep":
		w.state.Keep = keep(t, d)
		w.wake = w.now
		return ""
	case "until":
		return w.until(moment(t, d.CmdArgs[0].Key))
	case "quietly":
		_ = w.until(moment(t, d.CmdArgs[0].Key))
		return ""
	case "down":
		w.now = moment(t, d.CmdArgs[0].Key)
		return ""
	case "owner":
		w.stuck = d.CmdArgs[0].Key == "stuck"
		return ""
	case "use", "free":
		i := slices.IndexFunc(w.snapshots, func(x named) bool { return x.name == d.CmdArgs[0].Key })
		w.snapshots[i].Used = d.Cmd == "use"
		return ""
	case "enable":
		w.state.Enabled = true
		return w.plan()
	case "disable":
		w.state.Enabled, w.wake = false, time.Time{}
		return ""
	case "list":
		return w.list()
	case "clock":
		var told []time.Time
		for _, text := range strings.Fields(one(d, "told")) {
			told = append(told, moment(t, text))
		}
		now, ahead := Clock(moment(t, one(d, "own")), told)
		return fmt.Sprintf("%s, ahead %v\n", now.Format(layout), ahead)
	}
	t.Fatalf("no command %q", d.Cmd)
	return ""
}

// plan sets when the next snapshot is due, as who changes a schedule does.
func (w *world) plan() string {
	w.state.Next = w.state.Times.Next(w.now)
	w.wake = w.state.Next
	return "next " + w.state.Next.Format(layout) + "\n"
}

func (w *world) until(end time.Time) string {
	var out strings.Builder
	for !w.wake.IsZero() && !w.wake.After(end) {
		if w.now.Before(w.wake) {
			w.now = w.wake
		}
		if w.now.After(end) {
			break
		}
		w.decide(&out)
	}
	w.now = end
	return out.String()
}

// decide carries out one decision, and tells of it.
func (w *world) decide(out *strings.Builder) {
	all := make([]Snapshot, len(w.snapshots))
	for i := range w.snapshots {
		w.snapshots[i].Pending = w.snapshots[i].Pending && w.stuck
		all[i] = w.snapshots[i].Snapshot
	}
	p := Decide(w.state, all, w.now)
	say := func(format string, args ...any) {
		fmt.Fprintf(out, "%s "+format+"\n", append([]any{w.now.Format(layout)}, args...)...)
	}
	if p.Late {
		say("late, next %s", p.Next.Format(layout))
	}
	if len(p.Held) > 0 {
		say("held %s", w.names(p.Held))
	}
	if len(p.Expire) > 0 {
		say("expire %s", w.names(p.Expire))
		gone := p.Expire
		slices.Sort(gone)
		for _, i := range slices.Backward(gone) {
			w.snapshots = slices.Delete(w.snapshots, i, i+1)
		}
	}
	if p.Take {
		name := w.now.Format("01-02T15:04")
		say("take %s", name)
		w.snapshots = append(w.snapshots, named{name, Snapshot{Taken: w.now, Pending: true}})
	}
	w.state.Next, w.wake = p.Next, p.Wake
}

func (w *world) names(which []int) string {
	var out []string
	for _, i := range which {
		out = append(out, w.snapshots[i].name)
	}
	return strings.Join(out, " ")
}

func (w *world) list() string {
	var out strings.Builder
	for _, x := range slices.Backward(w.snapshots) {
		fmt.Fprint(&out, x.name)
		if x.Pending && w.stuck {
			fmt.Fprint(&out, " pending")
		}
		if x.Used {
			fmt.Fprint(&out, " used")
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

func one(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return strings.Join(a.Vals, " ")
		}
	}
	return ""
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	m, err := time.Parse(layout, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func times(t *testing.T, d *datadriven.TestData, now time.Time) (out Times) {
	t.Helper()
	var err error
	if line := one(d, "cron"); line != "" {
		out, err = Cron(line)
	} else {
		var period time.Duration
		if period, err = ParsePeriod(one(d, "every")); err == nil {
			out, err = Every(period, now)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func keep(t *testing.T, d *datadriven.TestData) (k Keep) {
	t.Helper()
	for key, at := range map[string]*int{"last": &k.Last, "hourly": &k.Hourly, "daily": &k.Daily,
		"weekly": &k.Weekly, "monthly": &k.Monthly} {
		if text := one(d, key); text != "" {
			if _, err := fmt.Sscan(text, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if text := one(d, "max-age"); text != "" {
		var err error
		if k.MaxAge, err = ParsePeriod(text); err != nil {
			t.Fatal(err)
		}
	}
	return k
}
