package daemon

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const testHost = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-1111-1111-111111111111"

// whole is a cluster of one node with a device, a pool and a volume, all of it real.
type whole struct {
	t      testing.TB
	ctx    context.Context
	o      Options
	p      *process
	c      *client.Client
	token  string
	volume wire.Volume
}

func newWhole(t testing.TB, o Options) *whole {
	t.Helper()
	return newWholeOn(t, o, 128<<20)
}

// newWholeOn is newWhole with a device of that size.
func newWholeOn(t testing.TB, o Options, device uint64) *whole {
	t.Helper()
	o.First.Bootstrap, o.NewDataPlane = true, NewNode
	w := &whole{t: t, ctx: testContext(t), o: o}
	w.p = start(t, o)
	waitUp(t, w.ctx, o)
	w.c = admin(t, o)
	raw, err := os.ReadFile(filepath.Join(o.DataDir, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	w.token = strings.TrimSpace(string(raw))
	eventually(t, w.ctx, "the device is added", func() error {
		_, err := w.c.CreateDevice(w.ctx, wire.DeviceCreate{Node: 1, Path: filepath.Join(t.TempDir(), "disk"),
			Size: device})
		return err
	})
	eventually(t, w.ctx, "the pool is made", func() error {
		_, err := w.c.CreatePool(w.ctx, wire.PoolCreate{Name: "gold", Parity: new(int)})
		return err
	})
	if w.volume, err = w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: "disk1", Pool: "gold",
		Size: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	return w
}

// write writes so many blocks of the volume as a host, and reads them.
func (w *whole) write(blocks int) {
	w.t.Helper()
	if _, err := w.c.PutExport(w.ctx, w.volume.ID, testHost); err != nil {
		w.t.Fatal(err)
	}
	cfg := initiator.VolumeConfig{Portals: []string{w.o.Listen.Hosts}}
	cfg.SubNQN, cfg.HostNQN, cfg.HostID = w.volume.NQN, testHost, [16]byte{1}
	v, err := initiator.Open(w.ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	block := make([]byte, 4096)
	for i := range blocks {
		if err := v.Write(w.ctx, block, int64(i)*4096); err != nil {
			w.t.Fatal(err)
		}
		if err := v.Read(w.ctx, block, int64(i)*4096); err != nil {
			w.t.Fatal(err)
		}
	}
}

// get asks the node for a path that is no call of the API.
func (w *whole) get(url, token string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// TestMetrics scrapes a daemon while a host uses its volume, and after the volume is gone.
func TestMetrics(t *testing.T) {
	w := newWhole(t, testOptions(t, "a"))
	w.write(5)
	url := "http://" + w.o.Listen.REST + "/metrics"
	if status, text := w.get(url, ""); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, text)
	}
	status, text := w.get(url, w.token)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	labels := `pool="gold",volume="` + w.volume.ID.String() + `"`
	for _, want := range []string{
		`ashlar_volume_info{name="disk1",` + labels + "} 1\n",
		`ashlar_volume_operations_total{direction="write",` + labels + "} 5\n",
		`ashlar_volume_bytes_total{direction="read",` + labels + "} 20480\n",
		`ashlar_volume_latency_seconds_count{direction="write",` + labels + "} 5\n",
		`ashlar_volume_serving{` + labels + "} 1\n",
		`ashlar_pool_operations_total{direction="write",pool="gold"} 5` + "\n",
		`ashlar_device_open{device="1"} 1` + "\n",
		`ashlar_device_operations_total{device="1",kind="write"} `,
		`ashlar_store_commits_total{device="1"} `,
		`ashlar_nvmet_commands_total{target="hosts"} `,
		`ashlar_takeovers_total{outcome="served"} 1` + "\n",
		`ashlar_api_request_seconds_count{method="POST",route="/v1/volumes",status="2xx"} 1` + "\n",
		"etcd_server_has_leader 1\n", "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, "ashlar_lease_seconds -") {
		t.Error("no lease")
	}

	if err := w.c.DeleteExports(w.ctx, w.volume.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.c.DeleteVolume(w.ctx, w.volume.ID, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, w.ctx, "the series of the volume vanish", func() error {
		if _, text = w.get(url, w.token); strings.Contains(text, w.volume.ID.String()) {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	if !strings.Contains(text, `ashlar_pool_operations_total{direction="write",pool="gold"} 5`) {
		t.Error("the pool forgot what its volume did")
	}
}

// TestWhereMetricsAreShown: nowhere, to everybody, or at an address of their own.
func TestWhereMetricsAreShown(t *testing.T) {
	own := freeServices(t).REST
	for setting, where := range map[string]string{MetricsOff: "", MetricsPublic: "rest", own: own} {
		o := testOptions(t, "a")
		o.First.Bootstrap, o.Metrics = true, setting
		p := start(t, o)
		w := &whole{t: t, ctx: testContext(t), o: o}
		waitUp(t, w.ctx, o)
		want := http.StatusOK
		switch where {
		case "":
			want, where = http.StatusNotFound, o.Listen.REST
		case "rest":
			where = o.Listen.REST
		}
		if status, text := w.get("http://"+where+"/metrics", ""); status != want {
			t.Errorf("%s: %d %s", setting, status, text)
		}
		p.stop(t)
	}
	o := testOptions(t, "b")
	o.First.Bootstrap, o.Metrics = true, "nobody"
	if err := Run(testContext(t), o); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Errorf("error %v", err)
	}
}

// TestNoSecretLeaves plants secrets wherever people and programs put them, and looks for them in what the
// node writes for a support bundle.
func TestNoSecretLeaves(t *testing.T) {
	o := testOptions(t, "a")
	planted := []string{"planted-in-settings", "planted-in-metadata", "planted-in-log", "planted-in-url"}
	o.Settings = map[string]any{"rest-port": 7443, "db_password": planted[0], "nested": map[string]any{
		"token": planted[0]}}
	w := newWhole(t, o)
	secret, err := w.c.CreateToken(w.ctx, wire.TokenCreate{Name: "t", Role: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	state, err := LoadState(o.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	planted = append(planted, w.token, secret.Secret, strings.Split(secret.Secret, ".")[2], string(state.Secret),
		hex.EncodeToString(state.Secret), base64.StdEncoding.EncodeToString(state.Secret))
	if _, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: "v", Pool: "gold", Size: 1 << 20,
		Metadata: cluster.Metadata{"note": "planted-in-metadata"}}); err != nil {
		t.Fatal(err)
	}
	o.Log.WithField("join_token", "planted-in-log").Warn("called with Bearer " + w.token +
		" and password=planted-in-log")
	o.Log.Warnf("connect http://user:planted-in-url@host: secret %x, %v", state.Secret, state.Secret)
	w.write(1) // all is up
	raw, err := w.c.GetDiagnostics(w.ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, raw)
	for _, name := range []string{"version.json", "system.json", "settings.json", "state.json", "metrics.txt",
		"goroutines.txt", "log.jsonl"} {
		if len(files[name]) < 20 || strings.Contains(files[name], "this part failed") {
			t.Errorf("%s: %q", name, files[name])
		}
	}
	for name, text := range files {
		for _, s := range planted {
			if strings.Contains(text, s) {
				t.Errorf("%q is in %s", s, name)
			}
		}
	}
	for name, want := range map[string]string{"settings.json": `"rest-port": 7443`, "state.json": `"disk1"`,
		"metrics.txt": "ashlar_device_open", "log.jsonl": "the node is up", "goroutines.txt": "goroutine "} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
	if _, err := w.c.PutLogging(w.ctx, 1, wire.Logging{Level: "error"}); err != nil ||
		o.Log.GetLevel() != logrus.ErrorLevel {
		t.Errorf("log level %v, %v", o.Log.GetLevel(), err)
	}
}

func unpack(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for files := tar.NewReader(gz); ; {
		h, err := files.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(text)
	}
}
