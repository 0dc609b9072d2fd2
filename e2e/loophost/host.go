package loophost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// patience bounds the start and the end of an agent.
const patience = 2 * time.Minute

// Host is a running agent. Its devices end with it, it ends with the test.
type Host struct {
	t      testing.TB
	dir    string
	cmd    *exec.Cmd
	ended  chan struct{}
	client http.Client
}

// Start starts an agent. It skips the test where nobody could have one.
func Start(t testing.TB) *Host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts and loop devices are root's; who is not root tests with guests (packages kernel and brick)")
	}
	h := &Host{t: t, ended: make(chan struct{})}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.Socket())
	}
	h.client.Transport = &http.Transport{DialContext: dial}
	if err := h.start(); err != nil {
		t.Fatalf("start a host: %v", err)
	}
	return h
}

func (h *Host) start() (err error) {
	// A name as long as that of t.TempDir would be too long for a socket.
	if h.dir, err = os.MkdirTemp("", "ashlar-loophost-*"); err != nil {
		return err
	}
	h.t.Cleanup(func() { _ = os.RemoveAll(h.dir) })
	mounts := filepath.Join(h.dir, "mounts")
	if err := os.Mkdir(mounts, 0o700); err != nil {
		return err
	}
	program, err := build.Program("e2e/loophost/serve", false)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(h.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	h.cmd = exec.Command(program, "-socket", h.Socket(), "-mounts", mounts)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = h.cmd.Wait() // how it ended is in its log
		close(h.ended)
	}()
	h.t.Cleanup(h.stop)
	return h.listening()
}

func (h *Host) listening() error {
	end := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", h.Socket())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-h.ended:
			return fmt.Errorf("it ended: %s", h.log())
		case <-end:
			return err
		}
	}
}

// Socket is where the agent listens.
func (h *Host) Socket() string { return filepath.Join(h.dir, "socket") }

// Kill ends the agent at once. Its devices give I/O errors while somebody has them open, and then are gone.
func (h *Host) Kill() {
	_ = h.cmd.Process.Kill() // it may have ended
	<-h.ended
}

// stop ends the agent as it should end: every device detached, or the test has left one in use.
func (h *Host) stop() {
	_ = h.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-h.ended:
		if state := h.cmd.ProcessState; state.Exited() && !state.Success() {
			h.t.Errorf("the host did not detach all: %s", h.log())
		}
	case <-time.After(patience):
		h.t.Errorf("the host does not end: %s", h.log())
		h.Kill()
	}
	if h.t.Failed() {
		h.t.Logf("log of the host:\n%s", h.log())
	}
}

func (h *Host) log() string {
	text, err := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Attach attaches a volume.
func (h *Host) Attach(ctx context.Context, id uuid.UUID, t Target) (Device, error) {
	return h.call(ctx, http.MethodPut, id.String(), t)
}

// Show describes a device.
func (h *Host) Show(ctx context.Context, id uuid.UUID) (Device, error) {
	return h.call(ctx, http.MethodGet, id.String(), nil)
}

// Rescan gives the device the size that the volume has now.
func (h *Host) Rescan(ctx context.Context, id uuid.UUID) (Device, error) {
	return h.call(ctx, http.MethodPost, id.String()+"/rescan", nil)
}

// Detach flushes a device and takes it away.
func (h *Host) Detach(ctx context.Context, id uuid.UUID) error {
	d, err := h.Show(ctx, id)
	if err == nil {
		err = flush(d.Path)
	}
	if err != nil {
		return err
	}
	_, err = h.call(ctx, http.MethodDelete, id.String(), nil)
	return err
}

func flush(path string) error {
	dev, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dev.Sync(), dev.Close())
}

func (h *Host) call(ctx context.Context, method, what string, in any) (Device, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return Device{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://host/devices/"+what, bytes.NewReader(body))
	if err != nil {
		return Device{}, err
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return Device{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		return Device{}, fmt.Errorf("%s %s: %s: %s", method, what, resp.Status, text)
	}
	var d Device
	if resp.StatusCode == http.StatusNoContent {
		return d, nil
	}
	return d, json.NewDecoder(resp.Body).Decode(&d)
}
