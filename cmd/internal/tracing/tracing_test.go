package tracing

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// TestACallThatIsPassedOn: the span on the other node is below that on the first.
func TestACallThatIsPassedOn(t *testing.T) {
	out := tracetest.NewInMemoryExporter()
	x := New(out, "node1", "test")
	ctx, end := x.Begin(t.Context(), "GET", http.Header{})
	h := http.Header{}
	x.Inject(ctx, h)
	_, endThere := x.Begin(t.Context(), "GET", h)
	endThere("/v1/volumes/:volume", 500)
	end("/v1/volumes/:volume", 200)
	if err := x.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := out.GetSpans()
	if len(spans) != 2 || spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() ||
		spans[0].SpanContext.TraceID() != spans[1].SpanContext.TraceID() ||
		spans[1].Name != "GET /v1/volumes/:volume" || spans[0].Status.Code != codes.Error ||
		spans[1].Status.Code == codes.Error {
		t.Errorf("%+v", spans)
	}
}

func TestSamples(t *testing.T) {
	out := tracetest.NewInMemoryExporter()
	x := New(out, "node1", "test")
	samples := make(chan gateway.Sample)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { x.Follow(ctx, samples); close(done) }()
	began := time.Unix(1000, 0)
	samples <- gateway.Sample{Volume: cluster.UUID{1}, Direction: stats.Write, Bytes: 4096, Began: began,
		Took: time.Millisecond}
	stop()
	<-done
	if err := x.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := out.GetSpans()
	if len(s) != 1 || s[0].Name != "I/O write" || !s[0].StartTime.Equal(began) ||
		s[0].EndTime.Sub(began) != time.Millisecond || s[0].Status.Code != codes.Error {
		t.Errorf("%+v", s)
	}
}
