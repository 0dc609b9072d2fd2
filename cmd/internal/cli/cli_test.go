package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// terminal is a user at a terminal, and the cluster behind it.
type terminal struct {
	t  *testing.T
	c  *apitest.Cluster
	in string // the configuration file
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	c := apitest.New(t)
	config := filepath.Join(t.TempDir(), "config.yaml")
	t.Setenv("ASHLAR_CONFIG", config)
	t.Setenv("ASHLAR_ENDPOINT", c.URL)
	t.Setenv("ASHLAR_TOKEN", c.Token)
	return &terminal{t: t, c: c, in: config}
}

// try runs a command line and returns what it prints on standard output and standard error.
func (x *terminal) try(line ...string) (out, notes string, err error) {
	x.t.Helper()
	var o, e bytes.Buffer
	root := New()
	root.SetArgs(line)
	root.SetOut(&o)
	root.SetErr(&e)
	err = root.ExecuteContext(x.t.Context())
	return o.String(), e.String(), err
}

// run is try for a command that must succeed.
func (x *terminal) run(line ...string) string {
	x.t.Helper()
	out, _, err := x.try(line...)
	if err != nil {
		x.t.Fatalf("ashlar %s: %s", strings.Join(line, " "), Explain(err))
	}
	return out
}

// fails is try for a command that must fail, and say so in these words.
func (x *terminal) fails(want string, line ...string) {
	x.t.Helper()
	out, _, err := x.try(line...)
	if err == nil {
		x.t.Fatalf("ashlar %s: succeeded with %q", strings.Join(line, " "), out)
	}
	if text := Explain(err); !strings.Contains(text, want) {
		x.t.Errorf("ashlar %s: %q does not say %q", strings.Join(line, " "), text, want)
	}
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

// TestADay walks through the life of a volume, as an administrator would.
func TestADay(t *testing.T) {
	x := newTerminal(t)
	x.c.Join(2)
	contains(t, x.run("node", "list"), "node1", "node2", "192.0.2.2:4420")
	contains(t, x.run("node", "show", "node2"), "NODE", "2", "az1/rack2", "http://192.0.2.2:7443")
	contains(t, x.run("device", "add", "node1", "/dev/nvme0n1"), "DEVICE", "1", "1 GiB (1073741824 bytes)")
	x.c.Device(2, 1)
	contains(t, x.run("device", "list", "--node", "1"), "/dev/nvme0n1", "online")
	contains(t, x.run("device", "show", "2"), "NODE", "2")
	contains(t, x.run("pool", "create", "gold", "--copies", "2"), "2 copies", "DEVICES", "1,2")
	contains(t, x.run("pool", "list"), "gold")
	contains(t, x.run("pool", "update", "gold", "--overcommit", "3"), "over-commit ratio 3", "thin unless")
	x.fails("ashlar pool update", "volume", "create", "large", "--pool", "gold", "--size", "1PiB")
	contains(t, x.run("volume", "create", "v1", "--pool", "gold", "--size", "16MiB", "--meta", "a=b"),
		"16 MiB (16777216 bytes)", "a=b")
	contains(t, x.run("volume", "list"), "v1", "gold", "16 MiB")
	contains(t, x.run("volume", "list", "--health", "ok"), "v1")
	none := x.run("volume", "list", "--meta", "team=nobody", "--host", apitest.HostB, "-o", "name")
	if none != "" {
		t.Errorf("volumes of nobody: %q", none)
	}
	x.fails("none of ok", "volume", "list", "--health", "fine")
	x.fails("leave the volume out", "snapshot", "list", "v1", "--meta", "a")
	x.run("snapshot", "list", "--meta", "a=b", "--host", apitest.HostB)

	out := x.run("volume", "allow", "v1", apitest.HostA)
	contains(t, out, "PORTAL", "tcp 192.0.2.1 port 4420 (node 1)",
		"nvme connect -t tcp -a 192.0.2.2 -s 4420 -n nqn.2026-11.io.ashlar:vol:", "-q "+apitest.HostA,
		"--ctrl-loss-tmo=-1")
	contains(t, x.run("volume", "exports", "gold/v1"), apitest.HostA, "192.0.2.1:4420,192.0.2.2:4420")
	x.fails("volume deny", "volume", "delete", "v1", "--yes")
	contains(t, x.run("volume", "resize", "v1", "+16MiB"), "32 MiB")
	x.fails("--shrink", "volume", "resize", "v1", "4MiB")
	x.fails("volume deny", "volume", "resize", "v1", "4MiB", "--shrink")
	x.run("volume", "deny", "v1", apitest.HostA)
	x.fails("--yes", "volume", "delete", "v1")
	x.run("volume", "delete", "v1", "--yes")
	x.fails("there is no volume", "volume", "show", "v1")
	contains(t, x.run("status"), "STATUS", "CLUSTER", apitest.UUID(999).String(), "DEVICES    2 of 2 online")
	x.c.Audit()
}

// TestProjects: an administrator gives a tenant a token and a quota; the tenant works within it.
func TestProjects(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.run("volume", "create", "v", "--pool", "gold", "--size", "4MiB")
	x.run("volume", "create", "v", "--pool", "gold", "--size", "4MiB", "--project", "rival")
	contains(t, x.run("project", "set", "acme", "--volumes", "2", "--bytes", "8MiB"), "acme", "2", "8 MiB")
	contains(t, x.run("project", "set", "acme", "--volumes", unbounded), unbounded, "8 MiB")
	x.fails("--bytes", "project", "set", "acme", "--bytes", "much")
	secret := x.run("token", "create", "t", "--role", "tenant", "--project", "acme")
	contains(t, x.run("token", "list"), "tenant", "acme")
	contains(t, x.run("volume", "list", "--project", "rival"), "rival")
	t.Setenv("ASHLAR_TOKEN", strings.TrimSpace(secret))
	x.run("volume", "create", "v", "--pool", "gold", "--size", "4MiB")
	contains(t, x.run("volume", "show", "v"), "PROJECT", "acme")
	x.fails("sets its quota", "volume", "resize", "v", "16MiB")
	contains(t, x.run("project", "list"), "acme", "4 MiB", "8 MiB")
	x.fails("docs/security.md", "project", "set", "acme", "--bytes", "1PiB")
	t.Setenv("ASHLAR_TOKEN", x.c.Token)
	contains(t, x.run("audit"), "PUT /v1/projects/:project", "acme", "409 quota_exceeded", "403 forbidden")
	contains(t, x.run("audit", "--node", "node1", "--last", "1"), "403 forbidden")
	x.fails("--last", "audit", "--last", "0")
	x.c.Audit()
}

// TestALostDisk is a pool of an erasure code that grows and then loses a disk.
// TestScrub: an operator looks, hurries it, slows it down and stops it.
func TestScrub(t *testing.T) {
	x := newTerminal(t)
	d := x.c.Device(1, 1)
	x.c.Device(1, 2)
	contains(t, x.run("device", "scrub", "status", "1"), "its node says nothing", "32 MiB/s", "168h0m0s")
	contains(t, x.run("device", "scrub", "start", "1"), "DEVICE", "1")
	contains(t, x.run("device", "scrub", "pause", "1"), "paused")
	contains(t, x.run("device", "scrub", "set", "1", "2", "--rate", "1MiB", "--interval", "24h"), "1 MiB/s",
		"24h0m0s", "yes", "no")
	contains(t, x.run("device", "scrub", "set", "1", "--interval", "0"), "1 MiB/s", "only when asked for")
	contains(t, x.run("device", "scrub", "set", "1", "--rate", "0"), "0 B/s")
	x.fails("--rate, --interval or both", "device", "scrub", "set", "1")
	x.fails("negative", "device", "scrub", "set", "1", "--interval", "-1h")
	x.fails("does not exist", "device", "scrub", "start", "77")
	st := cluster.NodeStats{Node: 1, Devices: []cluster.DeviceStats{{Device: d, Healthy: true, Bad: 3,
		Scrub: &cluster.ScrubStats{State: cluster.ScrubRunning, Percent: 40, Began: 1e9, Found: 7, Rate: 5 << 20}}}}
	if err := x.c.Manager.PublishStats(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	contains(t, x.run("device", "scrub", "status", "1"), "running, 40 %", "5 MiB/s", "2001-09-09", "7", "3")
	contains(t, x.run("device", "show", "1"), "BAD BLOCKS", "running, 40 %")
	contains(t, x.run("device", "scrub", "status", "1", "-o", "json"), `"found_blocks": 7`, `"bad_blocks": 3`)
}

func TestALostDisk(t *testing.T) {
	x := newTerminal(t)
	for d := 1; d <= 7; d++ {
		x.c.Device(1, d)
	}
	contains(t, x.run("pool", "create", "ec", "--code", "rs", "--data", "4", "--parity", "2",
		"--domain", "device", "--device", "1,2,3,4,5,6", "--min-columns", "5"),
		"rs 4+2", "5 of 6", "67 %", "there are 6, 6 needed; no spare")
	x.fails("Add a device to the pool first", "device", "fail", "3", "--yes")
	contains(t, x.run("pool", "add-device", "ec", "7"), "1,2,3,4,5,6,7", "there are 7, 6 needed")
	x.fails("--yes", "device", "fail", "3")
	contains(t, x.run("device", "fail", "3", "--yes"), "STATE", "failed")
	contains(t, x.run("pool", "reweight", "ec", "7", "8"), "ec")
	contains(t, x.run("pool", "show", "ec"), "1,2,4,5,6,7", "LAST CHANGE", "its weight 8 asks for", "DEVICE 7")
	contains(t, x.run("pool", "show", "ec", "-o", "json"), `"balance"`, `"usable_fraction"`)
	contains(t, x.run("device", "remove", "3", "--yes"), "removed")
	x.fails("is on it", "device", "remove", "4", "--yes")
	x.fails("failure domains", "pool", "remove-device", "ec", "4")
	x.fails("rs 4+2 on devices 1,2,4,5,6,7", "pool", "delete", "ec")
	x.fails("no number of a device", "pool", "add-device", "ec", "x")
	x.fails("no weight", "pool", "reweight", "ec", "7", "much")
	x.fails("say --copies", "pool", "create", "p", "--parity", "2")
	x.fails("say --data", "pool", "create", "p", "--code", "rs", "--copies", "2")
	x.run("volume", "create", "v", "--pool", "ec", "--size", "1MiB")
	x.fails("1 volumes", "pool", "delete", "ec", "--yes")
	x.run("volume", "delete", "v", "--yes")
	x.fails("ashlar task list --kind purge", "pool", "delete", "ec", "--yes")
	x.run("pool", "create", "spare", "--copies", "1", "--device", "7")
	x.run("pool", "delete", "spare", "--yes")
	x.fails("does not exist", "pool", "delete", "spare", "--yes")
	x.c.Audit()
}

func TestTokens(t *testing.T) {
	x := newTerminal(t)
	secret, notes, err := x.try("node", "join-token", "--expires", "10m")
	if err != nil || !strings.HasPrefix(secret, "ashlar.") || strings.Count(secret, "\n") != 1 {
		t.Fatalf("%q, %v", secret, err)
	}
	contains(t, notes, "ashlard run --join "+x.c.URL, "10m")
	contains(t, x.run("token", "list"), "bootstrap", "join")
	var made wire.Token
	if err := json.Unmarshal([]byte(x.run("token", "create", "cinder", "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ASHLAR_TOKEN", made.Secret)
	contains(t, x.run("node", "list"), "node1")
	contains(t, x.run("token", "show", made.ID.String()), "cinder", "admin")
	x.run("token", "revoke", made.ID.String())
	x.fails("ASHLAR_TOKEN", "node", "list")
}

// TestOutputForms asks for one thing in all forms: they must say the same.
func TestOutputForms(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(7, "v7")
	var fromJSON, fromYAML []map[string]any
	if err := json.Unmarshal([]byte(x.run("volume", "list", "-o", "json")), &fromJSON); err != nil {
		t.Fatal(err)
	}
	text := x.run("volume", "list", "-o", "yaml")
	if err := yaml.Unmarshal([]byte(text), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if len(fromJSON) != 1 || len(fromYAML) != 1 || fromJSON[0]["id"] != fromYAML[0]["id"] ||
		fromYAML[0]["size_bytes"] != 16<<20 {
		t.Fatalf("%v\n%v", fromJSON, fromYAML)
	}
	contains(t, text, "- id: "+apitest.UUID(7).String(), "name: v7")
	for _, kind := range []string{"node", "device", "pool", "volume", "token"} {
		for _, form := range forms() {
			if out := x.run(kind, "list", "-o", form); out == "" {
				t.Errorf("%s list -o %s prints nothing", kind, form)
			}
		}
	}
	x.fails("none of table, wide, json, yaml, name", "node", "list", "-o", "xml")
}

func TestEmptyListsAreLists(t *testing.T) {
	x := newTerminal(t)
	for _, kind := range []string{"device", "pool", "volume"} {
		if out := x.run(kind, "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
			t.Errorf("%s list -o json: %q", kind, out)
		}
	}
}

func TestMistakesAreExplained(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "a")
	x.fails("unit \"G\"", "volume", "create", "b", "--pool", "gold", "--size", "1G")
	x.fails("size_bytes", "volume", "create", "b", "--pool", "gold", "--size", "1GB")
	x.fails("pool: has", "volume", "create", "b", "--size", "1GiB", "--pool", "no such pool")
	x.fails("say --pool and --size", "volume", "create", "b", "--size", "1GiB")
	x.fails("there is no node", "node", "show", "elsewhere")
	x.fails("no number of a device", "device", "show", "x")
	x.fails("does not exist", "device", "show", "77")
	x.fails("more nodes", "pool", "create", "wide", "--copies", "3", "--device", "1,2")
	x.fails("at least 1", "pool", "create", "none", "--copies", "0")
	x.fails("give the NQN", "volume", "allow", "a")
	x.fails("not both", "volume", "allow", "a", apitest.HostA, "--this-host")
	x.fails("host", "volume", "allow", "a", "host")
	x.fails("no id of a token", "token", "revoke", "x")
	x.fails("ext4", "device", "add", "1", "/foreign/disk")
	x.fails("no context", "node", "list", "--context", "lab")
	t.Setenv("ASHLAR_TOKEN", "")
	x.fails("ASHLAR_TOKEN", "node", "list")
	x.fails("--endpoint", "node", "list", "--endpoint", "http://127.0.0.1:1")
	x.fails("http(s)", "node", "list", "--endpoint", "localhost")
	x.fails("token file", "node", "list", "--token-file", "/nowhere/token")
}

// TestContexts keeps two clusters apart.
func TestContexts(t *testing.T) {
	x := newTerminal(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(x.c.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ASHLAR_TOKEN", "")
	x.run("context", "set", "Lab", "--token-file", file)
	x.run("context", "set", "other", "--endpoint", "http://127.0.0.1:1,http://127.0.0.1:2")
	t.Setenv("ASHLAR_ENDPOINT", "")
	x.fails("127.0.0.1:1", "node", "list")
	contains(t, x.run("node", "list", "--context", "lab"), "node1")
	x.run("context", "use", "lab")
	contains(t, x.run("node", "list"), "node1")
	contains(t, x.run("context", "list"), "*", "lab", "http://127.0.0.1:1,http://127.0.0.1:2", file)
	x.fails("no context", "context", "use", "third")
	if st, err := os.Stat(x.in); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("configuration file: %v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(x.in, []byte("contexts: {lab: {endpoint: x}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.fails("endpoint", "node", "list")
}

func TestVersionAndHelp(t *testing.T) {
	x := newTerminal(t)
	contains(t, x.run("version"), "client", "node", "test")
	contains(t, x.run("version", "--client", "-o", "yaml"), "client:", "api: v1")
	contains(t, x.run("volume", "allow", "--help"), "Examples:", "--this-host")
	contains(t, x.run("completion", "bash"), "__start_ashlar")
	x.fails("unknown command", "volumes")
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "4096": 4096, "4096B": 4096, "1KiB": 1024, "10GiB": 10 << 30, "10 GiB": 10 << 30, "1.5TiB": 3 << 39,
		"1KB": 1000, "0.5PB": 5e14, "7EiB": 0, "7PiB": 7 << 50,
	} {
		got, err := ParseSize(text)
		if (err != nil) != (text == "7EiB") || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1G", "1gib", "0.3B", "99999999PiB", "1.2.3KiB",
		"NaN", "1e9"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d", text, got)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB",
		10 << 30: "10 GiB", 1<<64 - 1: "16 EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"10GiB", "1.5TB", "", "9223372036854775807", "0x10", "1__0KiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && n > 1<<63-1 {
			t.Fatalf("%q gave %d", s, n)
		}
	})
}

// TestKeys: an encrypted volume needs a cluster key, of which only the id is ever shown.
func TestKeys(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	create := []string{"volume", "create", "v", "--pool", "gold", "--size", "1MiB", "--encryption",
		"aes-256-xts"}
	x.fails("ashlard key add", create...)
	x.fails("key file", "key", "rotate", "--to", "2026-11")
	k := x.c.Key("2026-11")
	contains(t, x.run("key", "rotate", "--to", "2026-11"), "2026-11", "since")
	contains(t, x.run(create...), "aes-256-xts, wrapped by cluster key 2026-11")
	out := x.run("key", "list", "-o", "json")
	contains(t, out, `"volumes": 1`)
	if strings.Contains(out, k.Reveal()) {
		t.Error("the key is shown")
	}
	contains(t, x.run("pool", "create", "safe", "--encryption", "aes-256-xts", "-o", "json"),
		`"encryption": "aes-256-xts"`)
}

// TestLimits: what is not given stays, unlimited lifts a bound.
func TestLimits(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "v")
	contains(t, x.run("pool", "qos", "gold", "--iops", "1000", "--volume-bandwidth", "20MiB", "--burst", "1s"),
		"of each volume 20 MiB/s, burst 1s; of all 1000 commands/s, burst 1s")
	contains(t, x.run("pool", "qos", "gold", "--iops", "unlimited"),
		"of each volume 20 MiB/s, burst 1s; of all unlimited")
	contains(t, x.run("volume", "qos", "v", "--iops", "50"), "50 commands/s")
	contains(t, x.run("volume", "qos", "v", "--bandwidth", "1GiB"), "50 commands/s, 1 GiB/s")
	x.fails("10", "volume", "qos", "v", "--iops", "3")
	x.fails("no limit", "volume", "qos", "v", "--iops", "many")
	if out := x.run("volume", "qos", "v", "--as-pool"); strings.Contains(out, "LIMITS") {
		t.Errorf("it has limits of its own:\n%s", out)
	}
}

// TestMove: another node serves the volume, or it is said why not.
func TestMove(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	v := x.c.Volume(1, "v")
	x.fails("required", "volume", "move", "v")
	x.fails("alive", "volume", "move", "v", "--to", "node1")
	x.c.Alive(1, 2, 3)
	x.fails("nobody has served", "volume", "move", "v", "--to", "node1")
	x.c.Served(cluster.VolumeKey(v.VolumeNumbers))
	x.c.Own()
	for _, to := range []string{"node1", "3", "3"} {
		contains(t, x.run("volume", "move", "v", "--to", to), "OWNER", "node "+to[len(to)-1:])
	}
}

// TestHomes: a volume's own word counts, else its pool's.
func TestHomes(t *testing.T) {
	x := newTerminal(t)
	x.c.Pool()
	x.c.Volume(1, "v")
	contains(t, x.run("pool", "show", "gold"), "BALANCE")
	contains(t, x.run("pool", "update", "gold", "--home", "az1/rack1"), "HOME", "az1/rack1", "BALANCE")
	out := x.run("pool", "update", "gold", "--balance=false", "--home", "")
	if strings.Contains(out, "BALANCE") || strings.Contains(out, "HOME") {
		t.Errorf("the pool is settled:\n%s", out)
	}
	x.fails("no node lies in", "pool", "update", "gold", "--home", "az7")
	x.fails("at least one", "volume", "home", "v")
	contains(t, x.run("volume", "home", "v", "--at", "az1/rack2/2"), "HOME", "az1/rack2/2")
	contains(t, x.run("volume", "home", "v", "--at", ""), "HOME", "none")
	if out := x.run("volume", "home", "v", "--as-pool"); strings.Contains(out, "HOME") {
		t.Errorf("it has a home of its own:\n%s", out)
	}
}
