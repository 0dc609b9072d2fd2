package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	restartAfter = 10 * time.Second
	stopTimeout  = 40 * time.Second // ashlard's own limit is 30 s
)

// node is one ashlard child process, or a place for one.
type node struct {
	number int
	dir    string
	binary string
	ports  map[string]int
	keys   string // key file, the same for all nodes
	tls    bool   // of the REST API
	say    func(format string, args ...any)

	pid    atomic.Int64
	starts int           // owned by keep
	kept   bool          // begin was called; owned by the goroutine that starts and stops the cluster
	done   chan struct{} // closed when keep returned
}

// begin starts keep.
func (n *node) begin(ctx context.Context, token string, first ...string) {
	n.kept = true
	go n.keep(ctx, token, first...)
}

func (n *node) rest() string {
	scheme := "http"
	if n.tls {
		scheme = "https"
	}
	return scheme + "://127.0.0.1:" + strconv.Itoa(n.ports["rest-port"])
}

func (n *node) dataDir() string { return filepath.Join(n.dir, "data") }
func (n *node) logFile() string { return filepath.Join(n.dir, "log") }
func (n *node) disk(i int) string {
	return filepath.Join(n.dir, "disk"+strconv.Itoa(i))
}

// keep runs the node until ctx is done, and starts it again when it ends before that. first are the
// arguments of a first start, which later starts ignore; the token goes by environment, where other users
// cannot see it.
func (n *node) keep(ctx context.Context, token string, first ...string) {
	defer close(n.done)
	// The kernel signals a child when the *thread* that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		err := n.runOnce(ctx, token, first)
		var failed *exec.ExitError
		switch {
		case ctx.Err() != nil && errors.As(err, &failed):
			n.say("%s did not stop well: %v (log: %s)", nodeName(n.number), err, n.logFile())
			return
		case ctx.Err() != nil:
			return
		}
		n.say("%s ended: %v (log: %s); it is started again in %v", nodeName(n.number), err, n.logFile(),
			restartAfter)
		select {
		case <-time.After(restartAfter):
		case <-ctx.Done():
			return
		}
	}
}

// runOnce is one process, from start to end.
func (n *node) runOnce(ctx context.Context, token string, first []string) error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"run", "--name", nodeName(n.number), "--data-dir", n.dataDir(),
		"--listen-address", "127.0.0.1", "--key-file", n.keys}, first...)
	if n.tls {
		args = append(args, "--rest-tls", "cluster")
	}
	for _, name := range portNames() {
		args = append(args, "--"+name, strconv.Itoa(n.ports[name]))
	}
	cmd := exec.CommandContext(ctx, n.binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "ASHLARD_TOKEN="+token)
	// A group of its own: Ctrl-C is for this process, which then ends the children in its own way.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		return err
	}
	n.pid.Store(int64(cmd.Process.Pid))
	if n.starts++; n.starts > 1 {
		n.say("%s runs again, as pid %d", nodeName(n.number), cmd.Process.Pid)
	}
	defer n.pid.Store(0)
	return cmd.Wait()
}

// tail is the end of a node's log, to show when the start failed.
func (n *node) tail(w io.Writer) {
	const most = 2000
	f, err := os.Open(n.logFile())
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err == nil && st.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	_, _ = fmt.Fprintf(w, "--- end of %s\n", n.logFile())
	_, _ = io.Copy(w, f)
}
