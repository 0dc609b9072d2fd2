package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/ashlar-storage/ashlar/cmd/internal/daemon"
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
	if n := len(settings()); n > 20 {
		t.Errorf("%d settings, the limit is 20", n)
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
	err := c.ExecuteContext(context.WithoutCancel(t.Context()))
	return out.String(), err
}

// TestDevice walks through the life of a device without a daemon.
func TestDevice(t *testing.T) {
	const cluster = "11111111-2222-4333-8444-555555555555"
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	step := func(wantErr, want string, args ...string) {
		t.Helper()
		out, err := run(t, append([]string{"device"}, args...)...)
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Fatalf("%v: %v, want %q; printed %s", args, err, wantErr, out)
		}
		if !strings.Contains(out, want) {
			t.Fatalf("%v: printed %s, want %q", args, out, want)
		}
	}
	step("device is not", "", "check", disk)
	step("--cluster", "", "format", disk, "--cluster", "x")
	step("", "of cluster "+cluster, "format", disk, "--cluster", cluster)
	step("already", "", "format", disk, "--cluster", cluster)
	step("belongs to cluster", "", "format", disk, "--cluster", "99999999-2222-4333-8444-555555555555")
	step("", "is sound: 0 volumes", "check", "--data", disk)
	step("", cluster, "describe", disk)
	step("no such file", "", "check", disk+"x")
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
