package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ashlar-storage/ashlar/cmd/internal/metrics"
	"github.com/ashlar-storage/ashlar/cmd/internal/tracing"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/restapi/api"
)

// Where metrics are shown; anything else is the address of a listener of their own.
const (
	MetricsToken  = "token"  // on the REST listener, to whoever has a token
	MetricsPublic = "public" // on the REST listener, to everybody
	MetricsOff    = "off"
)

// scrapeTimeout bounds reading a request and writing an answer on the listener for metrics.
const scrapeTimeout = 30 * time.Second

// exposition is what the REST server shows of the node's metrics, and what serves their own listener, if they
// have one.
func (d *daemon) exposition(m *metrics.Metrics) (api.Metrics, func(context.Context) error, error) {
	shown := api.Metrics{CallDone: m.CallDone}
	switch d.opt.Metrics {
	case MetricsToken, "":
		shown.Handler = m.Handler()
	case MetricsPublic:
		shown.Handler, shown.Public = m.Handler(), true
	case MetricsOff:
	default:
		ln, err := net.Listen("tcp", d.opt.Metrics)
		if err != nil {
			return shown, nil, fmt.Errorf("metrics: %w", err)
		}
		return shown, func(ctx context.Context) error { return serveMetrics(ctx, ln, m.Handler()) }, nil
	}
	return shown, nil, nil
}

// sampledWaiting is how many samples of I/O may wait for their export; more are dropped.
const sampledWaiting = 256

// trace is what traces calls and I/O, and what goes on meanwhile, if the node is to do that.
func (d *daemon) trace(ctx context.Context) (api.Tracer, func(context.Context) error, error) {
	o := d.opt.Traces
	if o.Collector == "" {
		return nil, nil, nil
	}
	t, err := tracing.Dial(ctx, o.Collector, d.state.NodeName, d.opt.Version.Version, d.log)
	if err != nil {
		return nil, nil, err
	}
	samples := make(chan gateway.Sample, sampledWaiting)
	d.sampling = gateway.Sampling{Every: o.IOEvery, To: samples}
	return t, func(ctx context.Context) error { t.Follow(ctx, samples); return t.Stop() }, nil
}

// figures are those of the data plane, once there is one.
func (d *daemon) figures() (node.Figures, bool) {
	p := d.plane.Load()
	if p == nil {
		return node.Figures{}, false
	}
	return (*p).Figures(), true
}

func serveMetrics(ctx context.Context, ln net.Listener, h http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	s := &http.Server{Handler: mux, ReadTimeout: scrapeTimeout, WriteTimeout: scrapeTimeout}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}
