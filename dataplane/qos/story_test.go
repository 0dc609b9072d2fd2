package qos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestStories plays scenarios. Times are durations since the beginning.
//
//	pool iops= bytes= burst=           limits of the pool, none left out
//	volume NAME iops= bytes= burst=    limits of a volume, which is made when it is new
//	submit NAME n= bytes=              queues commands
//	run until=                         lets time pass and tells what began, when, how often
//	drain NAME                         gives out what waits, whatever the limits
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.HasPrefix(path, "testdata/fuzz") {
			return
		}
		w := newWorld()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return w.do(t, d)
		})
	})
}

// world is a scheduler, its volumes and a clock.
type world struct {
	s     *Scheduler
	flows map[string]*Flow
	now   int64
}

func newWorld() *world { return &world{s: New(), flows: map[string]*Flow{}} }

type command struct {
	Item
	name string
}

func (w *world) submit(name string, bytes uint32) {
	c := &command{name: name}
	c.Bytes, c.Tag = bytes, c
	w.s.Submit(w.flows[name], &c.Item)
}

// began is a run of commands of one volume at one time.
type began struct {
	at   int64
	name string
	n    int
}

// run lets time pass until end and calls f for every command that begins.
func (w *world) run(end int64, f func(at int64, c *command)) {
	for {
		for it := w.s.Ready(w.now); it != nil; it = it.Next {
			f(w.now, it.Tag.(*command))
		}
		next := w.s.Next()
		if next > end {
			w.now = end
			return
		}
		w.now = next
	}
}

func (w *world) do(t *testing.T, d *datadriven.TestData) string {
	var n, bytes int
	var until, burst string
	for key, to := range map[string]any{"n": &n, "bytes": &bytes, "until": &until, "burst": &burst} {
		if d.HasArg(key) {
			d.ScanArgs(t, key, to)
		}
	}
	var l Limits
	if d.Cmd == "pool" || d.Cmd == "volume" {
		l.Bytes, l.Burst = uint64(bytes), int64(duration(t, burst))
		if d.HasArg("iops") {
			d.ScanArgs(t, "iops", &l.IOPS)
		}
	}
	switch d.Cmd {
	case "pool":
		w.s.Limit(l)
	case "volume":
		name := d.CmdArgs[0].Key
		if w.flows[name] == nil {
			w.flows[name] = w.s.NewFlow()
		}
		w.s.LimitFlow(w.flows[name], l)
	case "submit":
		for range n {
			w.submit(d.CmdArgs[0].Key, uint32(bytes))
		}
	case "drain":
		drained := 0
		for it := w.s.Drain(w.flows[d.CmdArgs[0].Key]); it != nil; it = it.Next {
			drained++
		}
		return fmt.Sprintf("%d came out\n", drained)
	case "run":
		return w.tell(int64(duration(t, until)))
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	return ""
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	if text == "" {
		return 0
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tell is what began until end, in one line for each time and volume.
func (w *world) tell(end int64) string {
	var all []began
	w.run(end, func(at int64, c *command) {
		if n := len(all); n > 0 && all[n-1].at == at && all[n-1].name == c.name {
			all[n-1].n++
			return
		}
		all = append(all, began{at, c.name, 1})
	})
	var out strings.Builder
	for _, b := range all {
		fmt.Fprintf(&out, "%v %s %d\n", time.Duration(b.at), b.name, b.n)
	}
	switch next := w.s.Next(); next {
	case Never:
		out.WriteString("nothing waits\n")
	default:
		fmt.Fprintf(&out, "next at %v\n", time.Duration(next))
	}
	return out.String()
}
