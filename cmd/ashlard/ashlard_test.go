package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/ashlar-storage/ashlar/cmd/internal/daemon"
	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// parse reads settings as `ashlard run` does.
func parse(t *testing.T, args ...string) (daemon.Options, error) {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addFlags(f)
	if err := f.Parse(args); err != nil {
		return daemon.Options{}, err
	}
	v, err := readSettings(f)
	if err != nil {
		return daemon.Options{}, err
	}
	return options(v)
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ashlard.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	o, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	want := daemon.Services{Hosts: "127.0.0.1:4420", Discovery: "127.0.0.1:8009", Nodes: "127.0.0.1:4421",
		REST: "127.0.0.1:7443", EtcdClient: "127.0.0.1:2379", EtcdPeer: "127.0.0.1:2380"}
	host, _ := os.Hostname()
	if o.Listen != want || o.Advertise != want || o.DataDir != "/var/lib/ashlar" || o.Name != host ||
		!o.Etcd.Member || o.Etcd.Heartbeat != 100*time.Millisecond || o.Shutdown != 30*time.Second {
		t.Fatalf("%+v", o)
	}
	if n := len(settings()); n > 36 {
		t.Errorf("%d settings, the limit is 36", n)
	}
}

// TestEverySettingCounts: whatever is set changes what the daemon is told, or is refused.
func TestEverySettingCounts(t *testing.T) {
	clouds := "--keystone=" + writeConfig(t, `{clouds: {ashlar: {auth: {auth_url: "https://k:5000/v3",
		username: ashlar, password: p, project_name: service, user_domain_name: Default,
		project_domain_name: Default}}}}`)
	told := func(args ...string) string {
		o, err := parse(t, append([]string{clouds}, args...)...)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%+v %+v", o, o.Keystone)
	}
	for _, s := range settings() {
		value := "x"
		switch v := s.value.(type) {
		case int:
			value = strconv.Itoa(v + 1)
		case bool:
			value = strconv.FormatBool(!v)
		}
		switch s.name {
		case "advertise-address":
			value = "192.0.2.1"
		case "log-format":
			value = "json"
		}
		if told("--"+s.name+"="+value) == told() {
			t.Errorf("--%s=%s changes nothing", s.name, value)
		}
	}
}

// TestKeystoneSettings: the service user comes from a file; what cannot work is refused before anything runs.
func TestKeystoneSettings(t *testing.T) {
	clouds := writeConfig(t, `{clouds: {ashlar: {auth: {auth_url: "https://k:5000/v3", username: ashlar,
		password: p, project_name: service, user_domain_name: Default, project_domain_name: Default}}}}`)
	o, err := parse(t, "--keystone", clouds, "--keystone-cache-seconds", "5", "--keystone-roles", "boss=admin")
	if err != nil || o.Keystone.Roles["boss"] != "admin" || o.Keystone.CacheFor != 5*time.Second ||
		o.Keystone.Login.Username != "ashlar" {
		t.Errorf("%+v, %v", o.Keystone, err)
	}
	for want, args := range map[string][]string{
		"clouds file not found": {"--keystone", "/nowhere"},
		"keystone-roles":        {"--keystone", clouds, "--keystone-roles", "boss"},
		"believed for":          {"--keystone", clouds, "--keystone-cache-seconds", "4000"},
	} {
		if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestOrderOfPrecedence: file, then environment, then flag.
func TestOrderOfPrecedence(t *testing.T) {
	file := writeConfig(t, "name: file\nrest-port: 1\nhosts-port: 2\nnodes-port: 3\n"+
		"advertise: [hosts=a.example:5]\n")
	t.Setenv("ASHLARD_HOSTS_PORT", "20")
	t.Setenv("ASHLARD_NODES_PORT", "30")
	o, err := parse(t, "--config", file, "--nodes-port", "300", "--advertise-address", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if o.Name != "file" || o.Listen.REST != "127.0.0.1:1" || o.Listen.Hosts != "127.0.0.1:20" ||
		o.Listen.Nodes != "127.0.0.1:300" ||
		o.Advertise.Hosts != "a.example:5" || o.Advertise.Nodes != "192.0.2.1:300" {
		t.Fatalf("%+v", o)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for want, args := range map[string][]string{
		"rest-port: 70000":       {"--rest-port", "70000"},
		"log-level":              {"--log-level", "loud"},
		"log-format":             {"--log-format", "xml"},
		"etcd-election-ms":       {"--etcd-election-ms", "100"},
		"service=host:port":      {"--advertise", "hosts"},
		"unknown service":        {"--advertise", "host=a:1"},
		"no setting \"potr\"":    {"--config", writeConfig(t, "potr: 1\n")},
		"configuration file":     {"--config", "/nowhere/ashlard.yaml"},
		"ashlard.yaml: ":         {"--config", writeConfig(t, ":")},
		"unknown flag: --potr":   {"--potr", "1"},
		"invalid argument \"x\"": {"--rest-port", "x"},
	} {
		if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want one that says %q", args, err, want)
		}
	}
}

// run is a command line of ashlard.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetIn(strings.NewReader(""))
	err := c.ExecuteContext(context.WithoutCancel(t.Context()))
	return out.String(), err
}

// TestDevice walks through the life of a device without a daemon.
func TestDevice(t *testing.T) {
	const own, other = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	step := func(wantErr string, status int, want string, args ...string) string {
		t.Helper()
		out, err := run(t, append([]string{"device"}, args...)...)
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Fatalf("%v: %v, want %q; printed %s", args, err, wantErr, out)
		}
		if err != nil && exitStatus(err) != status {
			t.Fatalf("%v: exit status %d, want %d: %v", args, exitStatus(err), status, err)
		}
		if !strings.Contains(out, want) {
			t.Fatalf("%v: printed %s, want %q", args, out, want)
		}
		return out
	}
	step("device is not", exitForeign, "", "check", disk)
	step("device is not", exitForeign, `"sound": false`, "check", "-o", "json", disk)
	step("--cluster", exitFailed, "", "format", disk, "--cluster", "x")
	step("nothing was changed", exitFailed, "Type yes", "format", disk, "--cluster", own)
	step("device is not", exitForeign, "superblock 0: ", "dump", disk)
	step("", 0, "of cluster "+own, "format", disk, "--cluster", own, "--yes")
	step("already", exitForeign, "", "format", disk, "--cluster", own, "--yes")
	step("", 0, "of cluster "+own, "format", disk, "--cluster", own, "--yes", "--force")
	step("belongs to cluster", exitForeign, "", "format", disk, "--cluster", other, "--yes")
	step("belongs to cluster", exitForeign, "", "format", disk, "--cluster", other, "--yes", "--force")
	step("", 0, "is sound: 0 volumes", "check", "--data", disk)
	step("no such file", exitFailed, "", "check", disk+"x")
	step("neither text nor json", exitFailed, "", "check", disk, "-o", "xml")
	var found []struct {
		Sound  bool
		Report struct{ DeviceUUID string }
	}
	out := step("", 0, `"sound": true`, "check", "-o", "json", disk)
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 || !found[0].Sound {
		t.Fatalf("%v, %+v", err, found)
	}
	step("", 0, ", trusted", "dump", disk, "--only", "superblock")
	step("", 0, `{"kind":"superblock","item":{"copy":0,"trusted":true,`, "dump", disk, "-o", "json")
	step("none of superblock", exitFailed, "", "dump", disk, "--only", "blocks")
	step("--volume", exitFailed, "", "dump", disk, "--volume", "seven")
	step("it is device", exitForeign, "", "wipe", disk, "--device", other, "--yes")
	step("nothing was changed", exitFailed, "loses all", "wipe", disk, "--device", found[0].Report.DeviceUUID)
	step("", 0, "no device of a cluster", "wipe", disk, "--device", found[0].Report.DeviceUUID, "--yes")
	step("", 0, "of cluster "+other, "format", disk, "--cluster", other, "--yes")
}

// TestADeviceIsConfirmed by whoever sits at a terminal.
func TestADeviceIsConfirmed(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{"no\n", "\n", "y\n", "yes\n"} {
		c := root()
		c.SetArgs([]string{"device", "format", disk, "--cluster", "11111111-2222-4333-8444-555555555555"})
		c.SetIn(strings.NewReader(answer))
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		err := c.ExecuteContext(t.Context())
		if (err == nil) != (answer == "yes\n") {
			t.Fatalf("answer %q: %v", answer, err)
		}
	}
}

// TestADeviceInUse is looked at by nobody else.
func TestADeviceInUse(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	dev, err := blockdev.OpenFile(disk, blockdev.FileOptions{Create: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, args := range [][]string{{"check", disk}, {"dump", disk}, {"wipe", disk, "--yes", "--device",
		"11111111-2222-4333-8444-555555555555"}, {"format", disk, "--yes", "--cluster",
		"11111111-2222-4333-8444-555555555555"}} {
		_, err := run(t, append([]string{"device"}, args...)...)
		if !errors.Is(err, blockdev.ErrInUse) || exitStatus(err) != exitFailed {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestADamagedDevice is told from others by the exit status; damage of one counts more than others' trouble.
func TestADamagedDevice(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "device", "format", disk, "--yes", "--cluster",
		"11111111-2222-4333-8444-555555555555"); err != nil {
		t.Fatal(err)
	}
	dev, err := blockdev.OpenFile(disk, blockdev.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := pagestore.Check(t.Context(), dev, pagestore.CheckOptions{})
	if err = errors.Join(err, dev.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, area := range []uint64{rep.Regions.CheckpointA, rep.Regions.CheckpointB} {
		noise := bytes.Repeat([]byte{0xdb}, int(rep.Regions.CheckpointBlocks)*pagestore.BlockSize)
		if _, err := f.WriteAt(noise, int64(area)*pagestore.BlockSize); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "device", "check", disk+"x", disk); exitStatus(err) != exitDamaged {
		t.Fatalf("check: %v", err)
	}
	out, err := run(t, "device", "dump", disk)
	if exitStatus(err) != exitDamaged || !strings.Contains(out, "superblock 0: device") {
		t.Fatalf("dump: %v, printed %s", err, out)
	}
}

func TestFirstStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := runCommand()
	if err := c.ParseFlags([]string{"--join", "http://a:1,http://b:1", "--token-file", file}); err != nil {
		t.Fatal(err)
	}
	v, err := readSettings(c.Flags())
	if err != nil {
		t.Fatal(err)
	}
	f, err := firstStart(v)
	if err != nil || len(f.JoinURLs) != 2 || f.JoinToken != "secret" {
		t.Fatalf("%+v, %v", f, err)
	}
	t.Setenv("ASHLARD_TOKEN", "other")
	if _, err := firstStart(v); err == nil {
		t.Fatal("two tokens were accepted")
	}
}

// TestSettingsPage keeps docs/settings.md in step; ASHLAR_REWRITE=1 writes it.
func TestSettingsPage(t *testing.T) {
	const path = "../../docs/settings.md"
	want := "# Settings of ashlard\n\n" +
		"Made by `ashlard settings`; a test keeps it in step. A setting stands in the configuration file " +
		"(`/etc/ashlar/ashlard.yaml`, or `--config`), in the environment as `ASHLARD_<NAME>` with `_` for `-`, " +
		"or on the command line as `--name`; the later wins.\n\n" + settingsTable()
	if os.Getenv("ASHLAR_REWRITE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("%s is out of step (%v): run ASHLAR_REWRITE=1 go test ./cmd/ashlard", path, err)
	}
}
