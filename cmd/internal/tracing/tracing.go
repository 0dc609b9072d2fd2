// Package tracing exports spans to an OpenTelemetry collector: one for each call of the API, with those that
// it causes on other nodes below it, and one for each of the few I/Os of hosts that the data path samples.
//
// The data path knows nothing of it: it puts samples into a channel, and drops them when nobody is quick
// enough.
package tracing

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ashlar-storage/ashlar/dataplane/gateway"
)

// Tracing makes spans. Any goroutine may use it.
type Tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	form     propagation.TraceContext
}

// Dial begins to export to the collector (OTLP over gRPC, without TLS) at an address. It does not wait for
// it, and spans are dropped while it is away; the log says so, once a minute.
func Dial(ctx context.Context, address, node, version string, log logrus.FieldLogger) (*Tracing, error) {
	var mu sync.Mutex
	var told time.Time
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(told) >= time.Minute {
			told = now
			log.WithError(err).Warn("traces are lost")
		}
	}))
	to, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(address), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return New(to, node, version), nil
}

// New exports to anything.
func New(to sdk.SpanExporter, node, version string) *Tracing {
	p := sdk.NewTracerProvider(sdk.WithBatcher(to), sdk.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "ashlard"), attribute.String("service.version", version),
		attribute.String("service.instance.id", node))))
	return &Tracing{provider: p, tracer: p.Tracer("github.com/ashlar-storage/ashlar")}
}

// Begin implements api.Tracer: the span of a call, below the one that its headers name.
func (t *Tracing) Begin(ctx context.Context, method string,
	h http.Header) (context.Context, func(route string, status int)) {
	ctx, span := t.tracer.Start(t.form.Extract(ctx, propagation.HeaderCarrier(h)), method,
		trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(route string, status int) {
		span.SetName(method + " " + route)
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		span.End()
	}
}

// Inject implements api.Tracer: the headers of a call to another node name the span of ctx.
func (t *Tracing) Inject(ctx context.Context, h http.Header) {
	t.form.Inject(ctx, propagation.HeaderCarrier(h))
}

// Follow makes a span of each sample until ctx ends.
func (t *Tracing) Follow(ctx context.Context, samples <-chan gateway.Sample) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-samples:
			_, span := t.tracer.Start(ctx, "I/O "+s.Direction.String(), trace.WithTimestamp(s.Began),
				trace.WithAttributes(attribute.String("ashlar.volume", s.Volume.String()),
					attribute.Int64("ashlar.offset", int64(s.Offset)), attribute.Int64("ashlar.bytes", int64(s.Bytes))))
			if !s.OK {
				span.SetStatus(codes.Error, "failed")
			}
			span.End(trace.WithTimestamp(s.Began.Add(s.Took)))
		}
	}
}

// Stop exports what is left, for a moment.
func (t *Tracing) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
