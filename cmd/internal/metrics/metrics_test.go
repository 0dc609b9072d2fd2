package metrics

import (
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const document = "../../../docs/metrics.md"

// marks around the table in the document.
const begin, end = "<!-- families -->\n", "<!-- end -->\n"

var rewrite = flag.Bool("rewrite", false, "write the table of docs/metrics.md")

// TestTheDocumentIsInStep compares docs/metrics.md with families.go.
func TestTheDocumentIsInStep(t *testing.T) {
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(raw), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", document, begin, end)
	}
	if table == Table() {
		return
	}
	if !*rewrite {
		t.Fatalf("%s is not in step with families.go; run this test with -rewrite", document)
	}
	if err := os.WriteFile(document, []byte(head+begin+Table()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// busy is a node with one of everything.
func busy() node.Figures {
	var io stats.IO
	for d := range io {
		io[d].Count(4096, 1_000_000, true)
		io[d].Count(4096, 1<<40, false)
	}
	key := cluster.VolumeKey{VUID: 1, Generation: 1}
	f := node.Figures{Names: map[cluster.VolumeKey]string{key: "disk1"},
		Peers: map[cluster.NodeID]bool{2: true}}
	f.Gateway.Volumes = []gateway.VolumeFigures{{Key: key, UUID: cluster.UUID{1}, Pool: "gold", Serving: true,
		Size: 1 << 30, IO: &io, Stages: new(stats.StageTimes)}}
	f.Gateway.Pools = []gateway.PoolFigures{{ID: 1, Name: "gold", IO: io}}
	f.Devices = []node.DeviceFigures{{Device: 7, Open: true}, {Device: 8}}
	return f
}

// scraped is what a scrape of a node gives, by name.
func scraped(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(io.Reader(w.Body))
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: %d, %v", w.Code, err)
	}
	return all
}

// TestEveryFamilyIsShown: what is listed is shown, what is shown is listed, with the type and the labels that
// the list gives.
func TestEveryFamilyIsShown(t *testing.T) {
	f := busy()
	m := New(Options{Version: wire.Version{Version: "1", Go: "go"}, Figures: func() (node.Figures, bool) {
		return f, true
	}})
	m.CallDone("GET", "/v1/nodes", 200, time.Second)
	all := scraped(t, m)
	for _, want := range families() {
		got := all[want.name]
		if got == nil {
			t.Errorf("%s is listed and not shown", want.name)
			continue
		}
		if kind := kind(strings.ToLower(got.GetType().String())); kind != want.kind {
			t.Errorf("%s is a %s, listed as %s", want.name, kind, want.kind)
		}
		if n := len(got.Metric[0].Label); n != len(want.labelNames()) {
			t.Errorf("%s has %d labels, listed are %s", want.name, n, want.labels)
		}
		delete(all, want.name)
	}
	if all["go_goroutines"] == nil {
		t.Error("nothing of Go's runtime")
	}
	for name := range all {
		ours := true
		for _, prefix := range foreign() {
			ours = ours && !strings.HasPrefix(name, prefix)
		}
		if ours {
			t.Errorf("%s is shown and not listed", name)
		}
	}
}

// TestValues: histograms are in seconds, cumulative, and what exceeds them is in the last bucket only.
func TestValues(t *testing.T) {
	f := busy()
	m := New(Options{Figures: func() (node.Figures, bool) { return f, true }})
	h := scraped(t, m)["ashlar_pool_latency_seconds"].Metric[0].Histogram
	if h.GetSampleCount() != 2 || h.GetSampleSum() < 1099 {
		t.Errorf("%v", h)
	}
	for _, b := range h.Bucket {
		if want := b.GetUpperBound() > 0.001; (b.GetCumulativeCount() >= 1) != want {
			t.Errorf("%d below %v s", b.GetCumulativeCount(), b.GetUpperBound())
		}
	}
}

// TestCardinalityIsBounded: many volumes share the series of their pool, and stale ones vanish.
func TestCardinalityIsBounded(t *testing.T) {
	var f node.Figures
	for i := range MaxVolumes + 5 {
		f.Gateway.Volumes = append(f.Gateway.Volumes, gateway.VolumeFigures{Pool: "p",
			IO: new(stats.IO), Stages: new(stats.StageTimes), UUID: cluster.UUID{byte(i >> 8), byte(i)}})
	}
	m := New(Options{Figures: func() (node.Figures, bool) { return f, true }})
	all := scraped(t, m)
	if n := len(all["ashlar_volume_size_bytes"].Metric); n != MaxVolumes {
		t.Errorf("%d volumes have series", n)
	}
	if n := all["ashlar_volumes_without_series"].Metric[0].Gauge.GetValue(); n != 5 {
		t.Errorf("%v are said to have none", n)
	}
	f.Gateway.Volumes = nil
	if all = scraped(t, m); all["ashlar_volume_size_bytes"] != nil {
		t.Error("series of volumes that are gone")
	}
}

func TestANodeWithoutADataPlaneIsShown(t *testing.T) {
	m := New(Options{Figures: func() (node.Figures, bool) { return node.Figures{}, false }})
	if all := scraped(t, m); all["ashlar_build_info"] == nil || all["ashlar_lease_seconds"] != nil {
		t.Errorf("%d families", len(all))
	}
}

// BenchmarkScrape is what a scrape of a node with so many volumes costs.
func BenchmarkScrape(b *testing.B) {
	f := busy()
	v := f.Gateway.Volumes[0]
	f.Gateway.Volumes = nil
	for i := range 100 {
		v.UUID[1] = byte(i)
		f.Gateway.Volumes = append(f.Gateway.Volumes, v)
	}
	m := New(Options{Figures: func() (node.Figures, bool) { return f, true }})
	for b.Loop() {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		b.ReportMetric(float64(w.Body.Len()), "bytes")
	}
}
