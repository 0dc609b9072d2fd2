package dev

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// patience bounds the whole of a test; a healthy machine needs a fifth of it.
const patience = 4 * time.Minute

const testHost = "nqn.2014-08.org.nvmexpress:uuid:0d0e0f00-1111-4222-8333-444455556666"

// run is `ashlar dev` as a process of its own.
type run struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string
	pids  []int // of the nodes, in order
	ended chan error
}

// launch starts `ashlar dev` and waits until it says that it is ready.
func launch(t *testing.T, binary, dir string, more ...string) *run {
	t.Helper()
	args := append([]string{"dev", "--dir", dir, "--host-nqn", testHost, "--disks", "2", "--disk-size", "1GiB",
		"--volume-size", "256MiB"}, more...)
	r := &run{t: t, dir: dir, cmd: exec.Command(binary, args...), ended: make(chan error, 1)}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stderr = t.Output()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); <-r.ended })
	ready := make(chan bool, 1)
	go func() {
		r.read(out, ready)
		r.ended <- r.cmd.Wait()
		close(r.ended)
	}()
	if !<-ready {
		t.Fatal("ashlar dev ended before it was ready")
	}
	return r
}

// read follows what the process prints; ready gets one value.
func (r *run) read(out io.Reader, ready chan<- bool) {
	node := regexp.MustCompile(`node\d +pid (\d+)`)
	lines := bufio.NewScanner(out)
	said := false
	for lines.Scan() {
		_, _ = fmt.Fprintln(r.t.Output(), lines.Text())
		if m := node.FindStringSubmatch(lines.Text()); m != nil {
			pid, _ := strconv.Atoi(m[1])
			r.pids = append(r.pids, pid)
		}
		if strings.Contains(lines.Text(), "Ctrl-C stops") {
			said = true
			ready <- true
		}
	}
	if !said {
		ready <- false
	}
}

// interrupt is Ctrl-C: everything must end, and well.
func (r *run) interrupt() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	if err := <-r.ended; err != nil {
		r.t.Fatalf("ashlar dev: %v", err)
	}
	r.goneBy(time.Now().Add(time.Second))
}

// goneBy waits for the node processes to end.
func (r *run) goneBy(deadline time.Time) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range r.pids {
		for syscall.Kill(pid, 0) == nil {
			if time.Now().After(deadline) {
				r.t.Fatalf("node process %d is still there", pid)
			}
			<-tick.C
		}
	}
}

// api is a client of the cluster.
func (r *run) api() *client.Client {
	r.t.Helper()
	s, err := readState(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(r.dir, "node1", "data", "admin-token"))
	if err != nil {
		r.t.Fatal(err)
	}
	var urls []string
	for _, p := range s.Ports {
		urls = append(urls, "http://127.0.0.1:"+strconv.Itoa(p["rest-port"]))
	}
	c, err := client.New(client.Options{Endpoints: urls, Token: strings.TrimSpace(string(token))})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// open connects to a volume as a host. It is made if it is not there.
func (r *run) open(ctx context.Context, name, pool string) (*initiator.Volume, wire.Volume) {
	r.t.Helper()
	c := r.api()
	found, err := c.AllVolumes(ctx, name, pool)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(found) == 0 {
		v, err := c.CreateVolume(ctx, wire.VolumeCreate{Name: name, Pool: pool, Size: 64 << 20})
		if err != nil {
			r.t.Fatal(err)
		}
		found = append(found, v)
	}
	e, err := c.PutExport(ctx, found[0].ID, testHost)
	if err != nil {
		r.t.Fatal(err)
	}
	var portals []string
	for _, p := range e.Portals {
		portals = append(portals, net.JoinHostPort(p.Address, strconv.Itoa(p.Port)))
	}
	v, err := initiator.Open(ctx, initiator.VolumeConfig{Portals: portals,
		Config: initiator.Config{SubNQN: e.NQN, HostNQN: testHost, HostID: [16]byte{1}}})
	if err != nil {
		r.t.Fatal(err)
	}
	return v, found[0]
}

// pattern is data that says where and when it was written.
func pattern(seed uint64, n int) []byte {
	p := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, 7))
	for i := 0; i+8 <= n; i += 8 {
		for k, x := 0, rng.Uint64(); k < 8; k, x = k+1, x>>8 {
			p[i+k] = byte(x)
		}
	}
	return p
}

const piece = 64 << 10

// write fills pieces first to last-1 of the volume with the pattern of a seed.
func write(t *testing.T, ctx context.Context, v *initiator.Volume, seed uint64, first, last int) {
	t.Helper()
	for i := first; i < last; i++ {
		if err := v.Write(ctx, pattern(seed+uint64(i), piece), int64(i)*piece); err != nil {
			t.Fatalf("write piece %d: %v", i, err)
		}
	}
}

func verify(t *testing.T, ctx context.Context, v *initiator.Volume, seed uint64, first, last int) {
	t.Helper()
	got := make([]byte, piece)
	for i := first; i < last; i++ {
		if err := v.Read(ctx, got, int64(i)*piece); err != nil {
			t.Fatalf("read piece %d: %v", i, err)
		}
		if !bytes.Equal(got, pattern(seed+uint64(i), piece)) {
			t.Fatalf("piece %d does not hold what was written there", i)
		}
	}
}

// TestDev is a developer's day: start, write to a volume of each pool, lose the node that serves one of them,
// write on, stop, start again, find everything, and in the end the terminal is killed.
func TestDev(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two clusters of real processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := build.Program("cmd/ashlard", false); err != nil {
		t.Fatal(err)
	}
	binary, err := build.Program("cmd/ashlar", false)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dev")
	r := launch(t, binary, dir)
	if p, err := r.api().GetPool(ctx, codedPool); err != nil || p.Data != codedData || p.Parity != codedLost ||
		len(p.Devices) != 2*nodeCount {
		t.Errorf("pool %s: %+v, %v", codedPool, p, err)
	}
	v, rec := r.open(ctx, volumeName, poolName)
	coded, codedRec := r.open(ctx, "coded", codedPool)
	both := []*initiator.Volume{v, coded}
	for _, v := range both {
		write(t, ctx, v, 100, 0, 64)
		verify(t, ctx, v, 100, 0, 64)
	}

	owner := r.pids[rec.Owner.Gateway-1]
	if err := syscall.Kill(owner, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, v := range both {
		begin := time.Now()
		write(t, ctx, v, 200, 32, 96)
		t.Logf("wrote on after the loss of the owner; the first and all other writes took %v", time.Since(begin))
	}
	for _, v := range both {
		verify(t, ctx, v, 100, 0, 32)
		verify(t, ctx, v, 200, 32, 96)
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	r.interrupt()

	r = launch(t, binary, dir)
	for name, pool := range map[string]string{volumeName: poolName, "coded": codedPool} {
		v, again := r.open(ctx, name, pool)
		if again.ID != rec.ID && again.ID != codedRec.ID {
			t.Fatalf("volume %s became %v", name, again.ID)
		}
		verify(t, ctx, v, 100, 0, 32)
		verify(t, ctx, v, 200, 32, 96)
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.ended
	r.goneBy(time.Now().Add(stopTimeout))
}

func TestADirectoryOfSomebodyElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "node1")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fresh := range []bool{false, true} {
		if _, _, err := openDir(dir, fresh, state{}); !errors.Is(err, errNotOurs) {
			t.Errorf("fresh=%v: error %v", fresh, err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "mine" {
		t.Errorf("the file became %q, %v", got, err)
	}
}

// TestTheStateOfADirectory walks through new, again, in use, and fresh.
func TestTheStateOfADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	s, lock, err := openDir(dir, false, state{Disks: 2, DiskSize: 5})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, ports := range s.Ports {
		for _, name := range portNames() {
			if p := ports[name]; p == 0 || seen[p] {
				t.Errorf("port %s is %d", name, p)
			}
			seen[ports[name]] = true
		}
	}
	if _, _, err := openDir(dir, true, state{}); err == nil || !strings.Contains(err.Error(), "runs on") {
		t.Errorf("while in use: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "node2"), 0o700); err != nil {
		t.Fatal(err)
	}
	again, lock, err := openDir(dir, false, state{Disks: 9})
	if err != nil || again.Disks != 2 || fmt.Sprint(again.Ports) != fmt.Sprint(s.Ports) {
		t.Fatalf("again: %+v, %v", again, err)
	}
	_ = lock.Close()
	fresh, lock, err := openDir(dir, true, state{Disks: 9})
	if err != nil || fresh.Disks != 9 {
		t.Fatalf("fresh: %+v, %v", fresh, err)
	}
	_ = lock.Close()
	if _, err := os.Stat(filepath.Join(dir, "node2")); !errors.Is(err, os.ErrNotExist) {
		t.Error("fresh left node2 behind")
	}
}

// TestTakenPorts: etcd's ports are part of the cluster; others may move.
func TestTakenPorts(t *testing.T) {
	s := &state{}
	if err := s.settlePorts(); err != nil {
		t.Fatal(err)
	}
	listen := func(name string) (int, func()) {
		port := s.Ports[1][name]
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Skipf("port %d: %v", port, err)
		}
		return port, func() { _ = ln.Close() }
	}
	port, end := listen("hosts-port")
	if err := s.settlePorts(); err != nil || s.Ports[1]["hosts-port"] == port {
		t.Errorf("hosts-port stays %d, %v", port, err)
	}
	end()
	port, end = listen("etcd-peer-port")
	defer end()
	if err := s.settlePorts(); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("etcd-peer-port: %v", err)
	}
}
