package brick

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/guest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

//go:embed host.py
var program []byte

// callsPort is where host.py listens in the guest.
const callsPort = 4500

// Release is an os-brick that a host can have: one of PyPI, or Debian.
type Release string

const (
	Current Release = "7.1.1"
	Debian  Release = "Debian 12's" // 6.1.0
)

// Types of connection information, and so the connectors that answer to them.
const (
	Stock  = "nvmeof" // os-brick's own
	Ashlar = "ashlar" // ashlar_brick
)

// Host is a guest with os-brick.
type Host struct {
	*guest.Guest
	NQN string

	t        testing.TB
	patience time.Duration
	conn     net.Conn
	answers  *bufio.Reader
}

// Start boots a host. Its end is the test's.
func Start(t testing.TB, o guest.Options, r Release) *Host {
	t.Helper()
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	python, err := interpreter(root, r)
	if err != nil {
		t.Fatalf("start a host with os-brick: %v", err)
	}
	o.HostRoot, o.Expose = true, []int{callsPort}
	o.Files = map[string][]byte{
		"/files/host.py": program,
		// A microvm has no DMI tables; Debian's os-brick then wants this program, and bears its failure.
		"/files/bin/dmidecode": []byte("#!/bin/sh\nexit 1\n"),
	}
	h := &Host{t: t, NQN: o.HostNQN, patience: 2 * time.Minute, Guest: guest.Start(t, o)}
	if h.NQN == "" {
		h.NQN = guest.HostNQN
	}
	began := time.Now()
	ours := "/run/host" + filepath.Join(root, "os-brick-connector")
	job := h.Go(fmt.Sprintf("mkdir -p /tmp/locks && cp /tmp/files/bin/* /tmp/bin/ && PYTHONDONTWRITEBYTECODE=1 "+
		"PYTHONPATH=%s exec %s /tmp/files/host.py %d /tmp/locks", ours, python, callsPort))
	job.WaitOutput("listening")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("os-brick of %s says:\n%s", h.NQN, job.Output())
		}
	})
	h.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.Exposed(callsPort)))
	if err != nil {
		t.Fatalf("call os-brick in the guest: %v", err)
	}
	t.Cleanup(func() { _ = h.conn.Close() })
	h.answers = bufio.NewReader(h.conn)
	t.Logf("os-brick ready after %v", time.Since(began).Round(time.Millisecond))
	return h
}

// interpreter returns the Python of a release, at the path where the guest sees it.
func interpreter(root string, r Release) (string, error) {
	setup := exec.Command(filepath.Join(root, "e2e", "brick", "setup.sh"), string(r))
	if r == Debian {
		setup = exec.Command(filepath.Join(root, "e2e", "openstack", "setup.sh"))
	}
	out, err := setup.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return "", fmt.Errorf("%s: %w", setup, err)
	}
	if r == Debian {
		return "/usr/bin/python3", nil
	}
	return filepath.Join("/run/host"+strings.TrimSpace(string(out)), "bin", "python"), nil
}

// Error is an exception of os-brick.
type Error string

func (e Error) Error() string { return string(e) }

// call has os-brick do something and decodes what it returns. An Error is os-brick's own.
func (h *Host) call(name, protocol string, multipath bool, result any, args ...any) error {
	h.t.Helper()
	if args == nil {
		args = []any{}
	}
	if err := h.conn.SetDeadline(time.Now().Add(h.patience)); err != nil {
		h.t.Fatal(err)
	}
	if err := json.NewEncoder(h.conn).Encode(map[string]any{"call": name, "protocol": protocol,
		"multipath": multipath, "args": args}); err != nil {
		h.t.Fatalf("%s: %v", name, err)
	}
	line, err := h.answers.ReadBytes('\n')
	if err != nil {
		h.t.Fatalf("%s: no answer of os-brick: %v", name, err)
	}
	answer := struct {
		Result  any
		Error   *Error
		Seconds float64
	}{Result: result}
	if err := json.Unmarshal(line, &answer); err != nil {
		h.t.Fatalf("%s: %v: %s", name, err, line)
	}
	h.t.Logf("%s of %s took %.2f s", name, protocol, answer.Seconds)
	if answer.Error != nil {
		return *answer.Error
	}
	return nil
}

// Properties are what the host says about itself to Cinder.
func (h *Host) Properties() map[string]any {
	h.t.Helper()
	var p map[string]any
	if err := h.call("get_connector_properties", Stock, true, &p); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// Volume is an attachment of a volume to a host: what Nova keeps of it.
type Volume struct {
	Connector string         // Stock or Ashlar
	Multipath bool           // Nova's volume_use_multipath
	Info      map[string]any // connection information, as the Cinder driver makes it

	device map[string]any // what connect_volume returned
}

// NewVolume is what the Cinder driver would tell the host that may use an export.
func NewVolume(connector string, multipath bool, e wire.Export, id string) *Volume {
	portals := make([][3]string, 0, len(e.Portals))
	for _, p := range e.Portals {
		portals = append(portals, [3]string{p.Address, fmt.Sprint(p.Port), "tcp"})
	}
	return &Volume{Connector: connector, Multipath: multipath, Info: map[string]any{"target_nqn": e.NQN,
		"vol_uuid": id, "portals": portals, "host_nqn": e.Host, "discard": true}}
}

// Path of the block device, once connected.
func (v *Volume) Path() string { return fmt.Sprint(v.device["path"]) }

// Connect attaches a volume.
func (h *Host) Connect(v *Volume) error {
	h.t.Helper()
	return h.call("connect_volume", v.Connector, v.Multipath, &v.device, v.Info)
}

// Extend has the host see a volume's new size, and returns that in bytes.
func (h *Host) Extend(v *Volume) (size uint64, err error) {
	h.t.Helper()
	err = h.call("extend_volume", v.Connector, v.Multipath, &size, v.with())
	return size, err
}

// Disconnect detaches a volume.
func (h *Host) Disconnect(v *Volume) error {
	h.t.Helper()
	return h.call("disconnect_volume", v.Connector, v.Multipath, nil, v.with(), v.device)
}

// with is the connection information as Nova keeps it after an attach: with the device's path.
func (v *Volume) with() map[string]any {
	info := map[string]any{"device_path": v.device["path"]}
	for k, value := range v.Info {
		info[k] = value
	}
	return info
}
