package metrics

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// MaxVolumes bounds the volumes with series of their own: each has about eighty, 8 KB of text.
const MaxVolumes = 1000

// Options of the metrics of a node.
type Options struct {
	Version wire.Version
	// Figures gives those of the data plane; ok is false while there is none.
	Figures func() (f node.Figures, ok bool)
}

// Metrics is what a node shows. Any goroutine may use it.
type Metrics struct {
	o     Options
	descs map[string]*prometheus.Desc
	own   *prometheus.Registry
	calls *prometheus.HistogramVec
}

// New makes the metrics of a node.
func New(o Options) *Metrics {
	m := &Metrics{o: o, descs: make(map[string]*prometheus.Desc), own: prometheus.NewRegistry()}
	for _, f := range families() {
		if f.name == callSeconds {
			m.calls = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help,
				Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25}}, f.labelNames())
			continue
		}
		m.descs[f.name] = prometheus.NewDesc(f.name, f.help, f.labelNames(), nil)
	}
	m.own.MustRegister(m, m.calls)
	return m
}

const callSeconds = "ashlar_api_request_seconds"

// CallDone counts a call of the API. route is the pattern of its path.
func (m *Metrics) CallDone(method, route string, status int, took time.Duration) {
	class := string(rune('0'+status/100)) + "xx"
	m.calls.WithLabelValues(method, route, class).Observe(took.Seconds())
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	all := prometheus.Gatherers{m.own, selected{prometheus.DefaultGatherer}}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: 2})
}

// selected passes on the families named by foreign.
type selected struct{ from prometheus.Gatherer }

// Gather implements prometheus.Gatherer.
func (s selected) Gather() ([]*dto.MetricFamily, error) {
	all, err := s.from.Gather()
	var out []*dto.MetricFamily
	for _, f := range all {
		for _, prefix := range foreign() {
			if strings.HasPrefix(f.GetName(), prefix) {
				out = append(out, f)
				break
			}
		}
	}
	return out, err
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	s := scrape{m, ch}
	v := m.o.Version
	s.gauge("ashlar_build_info", 1, v.Version, v.Commit, v.Go)
	f, ok := m.o.Figures()
	if !ok {
		return
	}
	s.volumes(&f)
	s.pools(&f)
	s.gateway(&f)
	s.target("hosts", &f.Hosts)
	s.target("nodes", &f.Nodes)
	for i := range f.Devices {
		s.device(&f.Devices[i])
	}
}
