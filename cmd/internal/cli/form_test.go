package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestEveryCommandIsExplained walks the command tree: whatever can be run says what it is for and shows how.
func TestEveryCommandIsExplained(t *testing.T) {
	root := New()
	root.InitDefaultHelpCmd()
	each(root, func(c *cobra.Command) {
		switch {
		case c.Hidden || c.Name() == "help" || c.Name() == "completion" || c.Parent() != nil &&
			c.Parent().Name() == "completion":
		case c.Short == "" || strings.HasSuffix(c.Short, "."):
			t.Errorf("%s: Short is %q: one line, no full stop", c.CommandPath(), c.Short)
		case c.HasSubCommands():
		case !strings.Contains(c.Example, "ashlar ") || !strings.HasPrefix(c.Example, "  "):
			t.Errorf("%s: Example is %q: a command line, indented by two", c.CommandPath(), c.Example)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s is not explained", c.CommandPath(), f.Name)
			}
		})
	})
}

// TestExitStatus: the table in the help, command by command.
func TestExitStatus(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	x.run("volume", "allow", "a", apitest.HostA)
	for line, want := range map[string]int{
		"volume list":                               ExitOK,
		"help volume":                               ExitOK,
		"volumes":                                   ExitUsage,
		"volume lsit":                               ExitUsage,
		"volume list --nmae x":                      ExitUsage,
		"volume show":                               ExitUsage,
		"volume show a b":                           ExitUsage,
		"volume create b --size 1GiB":               ExitUsage,
		"volume create b --pool gold --size 1G":     ExitUsage,
		"volume create b --pool gold --size 1GB":    ExitUsage, // the server says so
		"volume delete a":                           ExitUsage,
		"device show x":                             ExitUsage,
		"node list -o xml":                          ExitUsage,
		"volume show b":                             ExitNotFound,
		"node show elsewhere":                       ExitNotFound,
		"device show 77":                            ExitNotFound,
		"context use third":                         ExitNotFound,
		"volume delete a --yes":                     ExitConflict,
		"pool create wide --copies 4":               ExitConflict,
		"node list --token-file /dev/null":          ExitRefused,
		"node list --endpoint http://127.0.0.1:1":   ExitUnavailable,
		"node list --token-file /nowhere/token":     ExitError,
		"status --check":                            ExitError,
		"volume stats a --history 2h":               ExitUsage,
		"volume list --watch --interval 1ms":        ExitUsage,
		"pool wait gold --interval 0s":              ExitUsage,
		"volume stats a --watch --interval 0s":      ExitUsage,
		"device scrub set 1":                        ExitUsage,
		"pool change":                               ExitUsage,
		"placement simulate --nodes 0":              ExitUsage,
		"token revoke " + apitest.UUID(5).String():  ExitNotFound,
		"volume show " + apitest.UUID(5).String():   ExitNotFound,
		"volume show a --timeout 1ns":               ExitUnavailable,
		"volume stats a --endpoint http://[::1]:1/": ExitUnavailable,
	} {
		if _, _, err := x.try(strings.Fields(line)...); ExitStatus(err) != want {
			t.Errorf("ashlar %s: status %d, want %d (%v)", line, ExitStatus(err), want, err)
		}
	}
	root := New()
	for _, n := range []string{"0", "1", "2", "3", "4", "5", "6"} {
		contains(t, root.Long, "\n  "+n+"  ")
	}
	if ExitStatus(&client.Error{Problem: wire.Problem{Code: wire.Internal}}) != ExitError {
		t.Error("an internal error has a status of its own")
	}
}

// TestNames: what --output name prints is what other commands take.
func TestNames(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	x.c.Volume(2, "b")
	for _, kind := range []string{"node", "device", "pool", "volume"} {
		names := strings.Fields(x.run(kind, "list", "-o", "name"))
		if len(names) == 0 {
			t.Errorf("no %s has a name", kind)
		}
		for _, name := range names {
			if got := strings.TrimSpace(x.run(kind, "show", name, "-o", "name")); got != name {
				t.Errorf("%s %s calls itself %s", kind, name, got)
			}
		}
	}
}

// TestWide: more columns than the table, the same ones first.
func TestWide(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	for _, kind := range []string{"node", "device", "pool", "volume"} {
		narrow := strings.Fields(strings.Split(x.run(kind, "list"), "\n")[0])
		wide := strings.Fields(strings.Split(x.run(kind, "list", "-o", "wide"), "\n")[0])
		if len(wide) <= len(narrow) || strings.Join(wide[:len(narrow)], " ") != strings.Join(narrow, " ") {
			t.Errorf("%s list: %v, wide %v", kind, narrow, wide)
		}
	}
}

// offered is what a shell offers for a line whose last word is being typed.
func (x *terminal) offered(line ...string) []string {
	x.t.Helper()
	out, _, err := x.try(append([]string{"__completeNoDesc"}, line...)...)
	if err != nil {
		x.t.Fatalf("complete %v: %v", line, err)
	}
	words := strings.Fields(out)
	if len(words) == 0 || words[len(words)-1] != ":4" {
		x.t.Errorf("complete %v: %q offers files", line, out)
		return nil
	}
	return words[:len(words)-1]
}

// TestCompletion offers live names, and nothing where the cluster is away.
func TestCompletion(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	x.run("context", "add", "lab")
	for line, want := range map[string]string{
		"volume show ":                 "a",
		"volume resize a ":             "",
		"volume stats ":                "a",
		"volume list --pool ":          "gold",
		"pool show ":                   "gold",
		"pool add-device gold 1 ":      "1 2 3",
		"pool add-device ":             "gold",
		"node show ":                   "node1 node2 node3",
		"device list --node ":          "node1 node2 node3",
		"device scrub start ":          "1 2 3",
		"device add ":                  "node1 node2 node3",
		"context use ":                 "lab",
		"volume list --context ":       "lab",
		"volume list -o ":              "table wide json yaml name",
		"volume allow a ":              "",
		"volume create x --size 1 -o ": "table wide json yaml name",
	} {
		if got := strings.Join(x.offered(strings.Split(line, " ")...), " "); got != want {
			t.Errorf("%q: %q is offered, want %q", line, got, want)
		}
	}
	t.Setenv("ASHLAR_ENDPOINT", "http://127.0.0.1:1")
	if got := x.offered("volume", "show", ""); len(got) != 0 {
		t.Errorf("nobody answers: %v", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		contains(t, x.run("completion", shell), "ashlar")
	}
}

// lines is a writer that hands on what is written, line by line.
type lines struct {
	bytes.Buffer
	seen chan string
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	for {
		line, rest, ok := strings.Cut(l.String(), "\n")
		if !ok {
			return n, err
		}
		l.Reset()
		l.WriteString(rest)
		l.seen <- line
	}
}

// watch runs a command until the test has seen what it waits for.
func (x *terminal) watch(line ...string) (seen chan string, stop func() error) {
	ctx, cancel := context.WithCancel(x.t.Context())
	l := &lines{seen: make(chan string, 1000)}
	root := New()
	root.SetArgs(line)
	root.SetOut(l)
	root.SetErr(l)
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	return l.seen, func() error { cancel(); return <-ended }
}

func wait(t *testing.T, seen chan string, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case line := <-seen:
			if strings.Contains(line, want) {
				return
			}
		case <-late:
			t.Fatalf("%q does not appear", want)
		}
	}
}

// TestWatch looks again until it is told to stop, and says so when something changes.
func TestWatch(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	seen, stop := x.watch("volume", "list", "--watch", "--interval", "100ms", "-o", "wide")
	wait(t, seen, "HEALTH")
	x.c.Volume(1, "newcomer")
	wait(t, seen, "newcomer")
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, _, err := x.try("volume", "show", "nobody", "--watch"); ExitStatus(err) != ExitNotFound {
		t.Errorf("error %v", err)
	}
}

// TestStats shows the past, and goes on with the present.
func TestStats(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	contains(t, x.run("pool", "stats", "gold"), "READ/S", "10 ", "40 KiB/s", "100 us", "total")
	contains(t, x.run("device", "stats", "1", "-o", "json"), `"operations": 100`, `"samples"`)
	contains(t, x.run("volume", "stats", "a"), "total")
	out := x.run("pool", "stats", "gold", "--watch", "--interval", "100ms", "--count", "2")
	if n := strings.Count(out, "\n"); n != 3 || !strings.Contains(out, "WRITE/S") {
		t.Errorf("%d lines: %s", n, out)
	}
	out = x.run("pool", "stats", "gold", "--watch", "--interval", "100ms", "--count", "2", "-o", "json")
	var d between
	if err := json.Unmarshal([]byte(strings.Split(out, "\n")[1]), &d); err != nil || d.Seconds < 0.05 {
		t.Errorf("%s: %v", out, err)
	}
}

// TestDifferences: a new owner begins to count anew.
func TestDifferences(t *testing.T) {
	was := wire.Statistics{Totals: wire.Totals{Read: wire.Flow{Operations: 100, Bytes: 100, LatencySeconds: 1}}}
	now := wire.Statistics{Totals: wire.Totals{Read: wire.Flow{Operations: 300, Bytes: 500, LatencySeconds: 2}}}
	if d := difference(was, now, 2*time.Second).Read; d.Operations != 100 || d.Bytes != 200 || d.MeanUS != 5000 {
		t.Errorf("%+v", d)
	}
	if d := difference(now, was, time.Second).Read; d.Operations != 100 || d.MeanUS != 10000 {
		t.Errorf("after a take-over: %+v", d)
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := progress{w: &b}
	part, text, done := poolProgress(wire.Pool{Healing: wire.PoolHealing{Moving: 2, Moved: 1, Groups: 4,
		Copied: 1 << 20}})
	p.show(part, text)
	p.show(part, text)
	want := "[#######.......................]  25 %  2 volumes moving, 0 degraded, 0 unknown, 1 MiB copied\n"
	if done || b.String() != want {
		t.Errorf("%q", b.String())
	}
	if _, _, done := poolProgress(wire.Pool{}); !done {
		t.Error("a pool at rest is waited for")
	}
}

// TestColours: on a terminal, unless somebody objects.
func TestColours(t *testing.T) {
	tty, slave := pseudoTerminal(t)
	defer func() { _ = tty.Close() }()
	defer func() { _ = slave.Close() }()
	g := newGlobal(&cobra.Command{})
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !g.colourful(slave) || !g.colourful(&screen{to: slave}) || g.colourful(new(bytes.Buffer)) {
		t.Error("colours where they do not belong, or none where they do")
	}
	t.Setenv("NO_COLOR", "1")
	if g.colourful(slave) {
		t.Error("NO_COLOR is not honoured")
	}
	var b bytes.Buffer
	tab := table{head: []string{"NAME", "HEALTH"}}
	tab.add("degraded", "degraded")
	if err := tab.write(&b, false, true); err != nil {
		t.Fatal(err)
	}
	want := boldText + "NAME" + plainText + "      " + boldText + "HEALTH" + plainText + "\ndegraded  " + red +
		"degraded" + plainText + "\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// pseudoTerminal opens a terminal that nobody looks at.
func pseudoTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	n, err2 := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, err2); err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	slave, err = os.OpenFile("/dev/pts/"+numbers([]uint32{n}), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	return master, slave
}

// TestConnectAndDisconnect prints what nvme-cli has to do.
func TestDisconnect(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	v := x.c.Volume(1, "a")
	contains(t, x.run("volume", "disconnect", "a"), "nvme disconnect -n "+v.NQN)
	x.fails("nvme disconnect", "volume", "disconnect", "a", "--run")
}

// TestSupportBundle: every node's part is in it, and who is away is named.
func TestSupportBundle(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	out, notes, err := x.try("support", "bundle", "--file", file)
	if err != nil || strings.TrimSpace(out) != file {
		t.Fatalf("%s %s %v", out, notes, err)
	}
	contains(t, notes, "left out: node node2", "left out: node node3", "100 %")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for files := tar.NewReader(gz); ; {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		text, err2 := io.ReadAll(files)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		all += "FILE " + h.Name + "\n" + string(text)
	}
	for _, name := range []string{"versions.json", "health.json", "cluster.json", "nodes.json", "devices.json",
		"pools.json", "volumes.json", "statistics.json", "errors.txt", "node-1/log.jsonl"} {
		contains(t, all, "FILE "+name+"\n")
	}
	if strings.Contains(all, x.c.Token) {
		t.Error("the token is in it")
	}
	x.fails("exists", "support", "bundle", "--file", file)
	contains(t, x.run("node", "log", "node1", "--level", "debug"), "LEVEL", "debug")
	contains(t, x.run("node", "log", "1", "-o", "json"), `"level": "debug"`)
}

// TestChangesOfPoolsAreWaitedFor: with --wait a change of a pool shows how far it is, until the pool is at
// rest.
func TestChangesOfPoolsAreWaitedFor(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	_, notes, err := x.try("pool", "reweight", "gold", "1", "8", "--wait")
	if err != nil || !strings.Contains(notes, "100 %  nothing moves") {
		t.Errorf("at rest: %q, %v", notes, err)
	}
	_, notes, err = x.try("pool", "reweight", "gold", "1", "9")
	if err != nil || notes != "" {
		t.Errorf("without --wait: %q, %v", notes, err)
	}
	v := x.c.Volume(1, "restless")
	key := cluster.VolumeKey{VUID: v.VUID, Generation: v.Generation}
	arbiter := store.NewArbiter(x.c.Store)
	o, rev, err := arbiter.Owner(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	o.Gateway, o.Epoch = 1, o.Epoch+1 // has not said so far that the volume is well
	if _, err := arbiter.SwapOwner(t.Context(), key, rev, o); err != nil {
		t.Fatal(err)
	}
	seen, stop := x.watch("pool", "reweight", "gold", "1", "10", "--wait")
	wait(t, seen, "unknown")
	if err := stop(); err == nil {
		t.Error("did not wait")
	}
}
