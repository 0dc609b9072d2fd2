package tracing

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/sirupsen/logrus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// collecting is an OpenTelemetry collector that counts spans.
type collecting struct {
	collector.UnimplementedTraceServiceServer
	names chan string
}

func (c *collecting) Export(_ context.Context, r *collector.ExportTraceServiceRequest,
) (*collector.ExportTraceServiceResponse, error) {
	for _, of := range r.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				c.names <- s.Name
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// TestACollectorGetsSpans: over the network, at the latest when the node stops.
func TestACollectorGetsSpans(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collecting{names: make(chan string, 10)}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, c)
	go func() { _ = s.Serve(ln) }()
	defer s.Stop()
	x, err := Dial(t.Context(), ln.Addr().String(), "node1", "test", logrus.New())
	if err != nil {
		t.Fatal(err)
	}
	_, end := x.Begin(t.Context(), "GET", http.Header{})
	end("/v1/nodes", 200)
	if err := x.Stop(); err != nil {
		t.Fatal(err)
	}
	if name := <-c.names; name != "GET /v1/nodes" {
		t.Errorf("a span %q", name)
	}
}
