package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/network"
)

// Node is one ashlard process, which may be down, with its disks.
type Node struct {
	Number    model.NodeID // in the cluster
	Name      string
	Disks     []*Disk
	End       *network.End // nil without Options.Network
	Address   string       // that it listens on
	REST      string       // base URL
	Hosts     int          // port of volumes
	Discovery int          // port of discovery

	t      testing.TB
	etcd   string // client URL
	binary string
	dir    string
	args   []string
	limit  time.Duration
	cmd    *exec.Cmd     // of the newest process
	ended  chan struct{} // closed when it has
}

// services are the names of ports in the settings of ashlard.
func services() []string {
	return []string{"rest", "hosts", "discovery", "nodes", "etcd-client", "etcd-peer"}
}

// newNode prepares a node; ports are those of services, in that order.
func newNode(t testing.TB, o Options, binary, dir string, number int, ports []int) (*Node, error) {
	name := fmt.Sprintf("node%d", number)
	n := &Node{t: t, binary: binary, dir: filepath.Join(dir, name), limit: o.Patience, Name: name,
		Address: "127.0.0.1", Hosts: ports[1], Discovery: ports[2]}
	if o.Network != nil {
		n.End = o.Network.Add(name)
		n.Address = n.End.Addr
	}
	n.REST = fmt.Sprintf("http://%s:%d", n.Address, ports[0])
	n.etcd = fmt.Sprintf("http://%s:%d", n.Address, ports[4])
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, err
	}
	for i := range o.Disks {
		disk, err := NewDisk(n.dir, fmt.Sprintf("%s-disk%d", name, i+1), o.DiskSize)
		if err != nil {
			return nil, err
		}
		n.Disks = append(n.Disks, disk)
	}
	n.args = []string{"run", "--data-dir", filepath.Join(n.dir, "data"), "--name", n.Name,
		"--log-level", "debug", "--config", filepath.Join(n.dir, "ashlard.yaml")}
	for i, service := range services() {
		n.args = append(n.args, fmt.Sprintf("--%s-port=%d", service, ports[i]))
	}
	if o.Network != nil {
		n.args = append(n.args, "--listen-address", n.Address, "--insecure-http")
	}
	n.args = append(n.args, o.Settings...)
	if o.Advertise != "" {
		n.args = append(n.args, fmt.Sprintf("--advertise=hosts=%s:%d,discovery=%s:%d",
			o.Advertise, n.Hosts, o.Advertise, n.Discovery))
	}
	return n, os.WriteFile(filepath.Join(n.dir, "ashlard.yaml"), []byte("{}\n"), 0o600)
}

// start starts the process with more arguments.
func (n *Node) start(more ...string) error {
	log, err := os.OpenFile(n.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	cmd := exec.Command(n.binary, append(n.args[:len(n.args):len(n.args)], more...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := cmd.Start
	if n.End != nil {
		start = func() error { return n.End.Start(cmd) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("start %s: %w", n.Name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	n.cmd, n.ended = cmd, ended
	return nil
}

// LogFile is where the node writes.
func (n *Node) LogFile() string { return filepath.Join(n.dir, "log") }

// DataDir is the node's data directory.
func (n *Node) DataDir() string { return filepath.Join(n.dir, "data") }

// Running says whether the process is there.
func (n *Node) Running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// Kill ends the process as a power cut ends a server's software: at once, whatever it does (SIGKILL). Its
// disk keeps what was written.
func (n *Node) Kill() {
	n.t.Helper()
	n.end(syscall.SIGKILL)
}

// Stop ends the process as an operator does (SIGTERM).
func (n *Node) Stop() {
	n.t.Helper()
	n.end(syscall.SIGTERM)
}

func (n *Node) end(sig syscall.Signal) {
	n.t.Helper()
	if !n.Running() {
		n.t.Fatalf("%s is not running", n.Name)
	}
	if err := n.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
	select {
	case <-n.ended:
	case <-time.After(n.limit):
		n.t.Fatalf("%s has not ended %v after signal %v", n.Name, n.limit, sig)
	}
}

// Restart starts the process again, as it was.
func (n *Node) Restart() {
	n.t.Helper()
	if n.Running() {
		n.t.Fatalf("%s still runs", n.Name)
	}
	if err := n.start(); err != nil {
		n.t.Fatal(err)
	}
}

// Pause makes the process hang (SIGSTOP), with its connections open; Resume lets it go on.
func (n *Node) Pause() { n.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (n *Node) Resume() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
}

// tail returns the last lines of the node's log.
func (n *Node) tail(lines int) string {
	raw, err := os.ReadFile(n.LogFile())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// close ends the process if it runs and gives the disks back; those of a failed test are saved.
func (n *Node) close() {
	if n.Running() {
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	for _, d := range n.Disks {
		if n.t.Failed() {
			if err := d.Save(); err != nil {
				n.t.Logf("%s is not saved: %v", d.Name, err)
			}
		}
		_ = d.Close()
	}
}
