package guest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/guest/control"
)

// HostAddr is the test machine's loopback as the guest sees it.
const HostAddr = "10.0.2.2"

// HostNQN and HostID are the guest's identity unless Options say otherwise.
const (
	HostNQN = "nqn.2014-08.org.nvmexpress:uuid:" + HostID
	HostID  = "11111111-2222-3333-4444-555555555555"
)

// Options of a guest; the zero value will do.
type Options struct {
	CPUs        int               // default 1: more make emulation slower, not faster
	MemoryMiB   int               // default 768
	HostNQN     string            // with HostID, the contents of /etc/nvme/hostnqn and hostid
	HostID      string            //
	Files       map[string][]byte // more files, by absolute path; below /files they reach a HostRoot guest too
	Expose      []int             // TCP ports of the guest to be reached from outside, see Guest.Exposed
	Capture     string            // file for a packet capture of all its traffic; empty: none
	CommandLine string            // more words for the kernel's command line
	HostRoot    bool              // the "full" flavour of setup.sh: the test machine's root, read-only, by 9p
	Patience    time.Duration     // bound of every wait, default 2 minutes
}

// Guest is a running guest. It stops when its test ends, or when the test process dies.
type Guest struct {
	t        testing.TB
	patience time.Duration
	session  *control.Session
	console  console
	conn     net.Conn    // nil until the agent has called
	exposed  map[int]int // port in the guest -> port of the test machine
	qemu     *exec.Cmd
	exited   chan struct{}
}

// Start boots a guest and returns when it takes scripts. A failure ends the test and shows the console.
func Start(t testing.TB, o Options) *Guest {
	t.Helper()
	begin := time.Now()
	o = o.withDefaults()
	g := &Guest{t: t, patience: o.Patience, exited: make(chan struct{})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start guest: %v", err)
	}
	defer func() { _ = ln.Close() }()
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails
	if g.exposed, err = freePorts(o.Expose); err != nil {
		t.Fatalf("start guest: %v", err)
	}
	m := machine{options: o, tscKHz: tscKHz(), forward: g.exposed}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	m.control = net.JoinHostPort(HostAddr, port) + "/" + hex.EncodeToString(token)
	dir := t.TempDir()
	if err := m.prepare(filepath.Join(dir, "initrd")); err != nil {
		t.Fatalf("start guest: %v", err)
	}
	if err := g.boot(m); err != nil {
		t.Fatalf("start guest: %v", err)
	}
	if err := g.accept(ln, hex.EncodeToString(token)); err != nil {
		t.Fatalf("start guest: %v\n%s", err, g.Console())
	}
	t.Logf("guest up after %v", time.Since(begin).Round(time.Millisecond))
	return g
}

// Exposed returns the port of 127.0.0.1 at which an exposed port of the guest is reached.
func (g *Guest) Exposed(port int) int { return g.exposed[port] }

// freePorts finds a free local port for each of the guest's.
func freePorts(exposed []int) (map[int]int, error) {
	ports := map[int]int{}
	for _, port := range exposed {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }() // all are held until all are found
		ports[port] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func (o Options) withDefaults() Options {
	o.CPUs = max(o.CPUs, 1)
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 768
	}
	if o.HostNQN == "" {
		o.HostNQN, o.HostID = HostNQN, HostID
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	return o
}

// prepare makes the kernel ready (setup.sh) and writes the initramfs of this guest.
func (m *machine) prepare(initrd string) (err error) {
	flavour := "cloud"
	if m.options.HostRoot {
		flavour = "full"
	}
	if m.prepared, err = prepared(flavour); err != nil {
		return err
	}
	m.initrd = initrd
	files := []file{
		{"/etc/nvme/hostnqn", 0o644, []byte(m.options.HostNQN + "\n")},
		{"/etc/nvme/hostid", 0o644, []byte(m.options.HostID + "\n")},
	}
	for _, name := range []string{"agent", "iotest"} {
		binary, err := build.Program("e2e/guest/"+name, true)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(binary)
		if err != nil {
			return err
		}
		files = append(files, file{"/bin/" + name, 0o755, data})
	}
	for name, data := range m.options.Files {
		files = append(files, file{name, 0o755, data})
	}
	return writeInitrd(initrd, filepath.Join(m.prepared, "base.cpio"), files)
}

// prepared runs setup.sh and returns the directory that it made of a flavour.
func prepared(flavour string) (string, error) {
	root, err := build.Root()
	if err != nil {
		return "", err
	}
	setup := exec.Command(filepath.Join(root, "e2e", "guest", "setup.sh"), flavour)
	var said bytes.Buffer
	setup.Stderr = &said
	dir, err := setup.Output()
	if err != nil {
		return "", fmt.Errorf("setup.sh: %w\n%s", err, said.Bytes())
	}
	return strings.TrimSpace(string(dir)), nil
}

// Image writes an initramfs, in which init is the first process and finds what setup.sh has put there, for a
// machine that somebody else starts. It returns the path of the kernel.
func Image(initrd string, init []byte) (kernel string, err error) {
	dir, err := prepared("cloud")
	if err != nil {
		return "", err
	}
	files := []file{{"/init", 0o755, init}}
	return filepath.Join(dir, "vmlinux"), writeInitrd(initrd, filepath.Join(dir, "base.cpio"), files)
}

// boot starts QEMU and the reader of its console.
func (g *Guest) boot(m machine) error {
	qemu := exec.Command("qemu-system-x86_64", m.args()...)
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := qemu.StdoutPipe()
	if err != nil {
		return err
	}
	qemu.Stderr = &g.console
	if err := qemu.Start(); err != nil {
		return err
	}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			g.console.line(lines.Text())
		}
		_ = qemu.Wait() // it ends because the guest resets, or by our signal
		close(g.exited)
	}()
	g.qemu = qemu
	g.t.Cleanup(func() {
		if g.t.Failed() {
			g.t.Logf("console:\n%s\ndmesg:\n%s", g.Console(), g.lastWords())
		}
		g.Stop()
	})
	return nil
}

// lastWords asks a guest whose test failed for what its kernel logged and how its paths are.
func (g *Guest) lastWords() string {
	if g.session == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	j := g.session.Start("dmesg | tail -60; grep -s . /sys/class/nvme/*/state /sys/class/nvme/*/*/ana_state")
	_, _ = j.Wait(ctx) // what it printed until then is better than nothing
	return j.Output()
}

// accept waits for the agent's call.
func (g *Guest) accept(ln net.Listener, token string) error {
	type result struct {
		conn    net.Conn
		session *control.Session
		err     error
	}
	called := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			called <- result{err: err}
			return
		}
		s, err := control.Accept(conn, token)
		called <- result{conn, s, err}
	}()
	select {
	case r := <-called:
		g.conn, g.session = r.conn, r.session
		return r.err
	case <-g.exited:
		return errors.New("QEMU ended")
	case <-time.After(g.patience):
		return fmt.Errorf("not up within %v", g.patience)
	}
}

// Stop ends the guest: its agent sees the connection end and resets the machine, on which QEMU exits. One
// that does not is killed.
func (g *Guest) Stop() {
	if g.conn != nil {
		_ = g.conn.Close()
	}
	select {
	case <-g.exited:
	case <-time.After(10 * time.Second):
		_ = g.qemu.Process.Kill()
		<-g.exited
	}
}

// Pause stops the whole guest, its clock's owner included, as a host that hangs; Resume lets it go on.
func (g *Guest) Pause() { g.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (g *Guest) Resume() { g.signal(syscall.SIGCONT) }

func (g *Guest) signal(sig syscall.Signal) {
	if err := g.qemu.Process.Signal(sig); err != nil {
		g.t.Fatalf("guest: %v", err)
	}
}

// Eventually waits until ok, asked ten times a second outside the guest, is true.
func (g *Guest) Eventually(what string, ok func() bool) {
	g.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(g.patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			g.t.Fatalf("waited %v in vain: %s", g.patience, what)
		}
	}
}

// Console returns what the kernel has printed.
func (g *Guest) Console() string { return g.console.String() }

// Result is how a script ended.
type Result struct {
	Code   int
	Output string
}

// Run runs a shell script in the guest to its end. A guest that dies, or a script that outlasts the guest's
// patience, ends the test.
func (g *Guest) Run(script string) Result {
	g.t.Helper()
	return g.Go(script).Wait()
}

// Must is Run for a script that must succeed; it returns the output.
func (g *Guest) Must(script string) string {
	g.t.Helper()
	r := g.Run(script)
	if r.Code != 0 {
		g.t.Fatalf("guest: %s\nexit %d\n%s", script, r.Code, r.Output)
	}
	return r.Output
}

// Go starts a shell script and returns at once.
func (g *Guest) Go(script string) *Job {
	return &Job{guest: g, script: script, job: g.session.Start(script)}
}

// Job is a script that runs in the background.
type Job struct {
	guest  *Guest
	script string
	job    *control.Job
}

// Wait returns when the script has ended.
func (j *Job) Wait() Result {
	j.guest.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), j.guest.patience)
	defer cancel()
	code, err := j.job.Wait(ctx)
	if err != nil {
		j.guest.t.Fatalf("guest: %s\n%v; so far:\n%s", j.script, err, j.job.Output())
	}
	return Result{code, j.job.Output()}
}

// WaitOutput returns when the script has printed text.
func (j *Job) WaitOutput(text string) {
	j.guest.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), j.guest.patience)
	defer cancel()
	if err := j.job.WaitOutput(ctx, text); err != nil {
		j.guest.t.Fatalf("guest: %s\nwaiting for %q: %v; so far:\n%s", j.script, text, err, j.job.Output())
	}
}

// Output returns what the script has printed so far.
func (j *Job) Output() string { return j.job.Output() }

// Interrupt sends SIGINT to the script and all it started.
func (j *Job) Interrupt() {
	if err := j.job.Signal(syscall.SIGINT); err != nil {
		j.guest.t.Fatalf("guest: interrupt %s: %v", j.script, err)
	}
}

// console collects the guest's serial output, and QEMU's own complaints.
type console struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (c *console) line(s string) { _, _ = c.Write([]byte(strings.TrimRight(s, "\r") + "\n")) }

// Write takes what QEMU prints on standard error.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all.String()
}
