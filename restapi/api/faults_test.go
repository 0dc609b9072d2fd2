package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (w *world) dump() []string {
	w.T.Helper()
	snap, err := w.Store.Read(w.T.Context(), store.All(cluster.Prefix))
	if err != nil {
		w.T.Fatal(err)
	}
	var out []string
	for _, it := range snap.Results[0].Items {
		out = append(out, fmt.Sprintf("%s@%d=%s", it.Key, it.Rev, it.Value))
	}
	return out
}

// broken is a store that can be switched off.
type broken struct {
	*store.Mem
	off bool
}

func (b *broken) Read(ctx context.Context, q ...store.Query) (store.Snapshot, error) {
	if b.off {
		return store.Snapshot{}, fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	return b.Mem.Read(ctx, q...)
}

func (b *broken) Commit(ctx context.Context, t store.Txn) (int64, error) {
	if b.off {
		return 0, fmt.Errorf("commit: %w", store.ErrUnavailable)
	}
	return b.Mem.Commit(ctx, t)
}

// TestWithoutEtcd: the API stays up, says what is wrong, and believes whom it knew.
func TestWithoutEtcd(t *testing.T) {
	s := &broken{Mem: store.NewMem()}
	w := &world{Cluster: apitest.NewOn(t, s), contract: loadContract(t)}
	w.Pool()
	w.call("GET", "/v1/volumes", "")
	s.off = true
	if r := w.call("GET", "/v1/health", "", "Authorization", ""); r.status != 200 {
		t.Errorf("liveness: %d", r.status)
	}
	var h wire.Health
	w.call("GET", "/v1/health/detail", "").into(t, &h)
	if h.Status != wire.Down || h.Etcd.Status != wire.Down || h.Etcd.Detail == "" {
		t.Errorf("health: %+v", h)
	}
	for _, c := range [][2]string{{"GET", "/v1/volumes"}, {"GET", "/v1/cluster"}, {"GET", "/v1/pools/gold"}} {
		r := w.call(c[0], c[1], "")
		if r.status != 503 || r.problem.Code != wire.Unavailable || r.header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", c, r.status, r.body)
		}
	}
	r := w.call("POST", "/v1/volumes", `{"name":"n","pool":"gold","size_bytes":4096}`)
	if r.status != 503 {
		t.Errorf("create: %d %s", r.status, r.body)
	}
	if r := w.call("GET", "/v1/volumes", "", "Authorization", "Bearer xxxxxxxxx"); r.status != 401 {
		t.Errorf("a stranger: %d %s", r.status, r.body)
	}
	s.off = false
	w.Audit()
}

// bug is a verifier with one.
type bug struct{}

func (bug) Verify(context.Context, string) (auth.Principal, error) { panic("a bug of ours") }

// TestPanicIsAnswered: a bug costs one call, is logged with its request id, and does not show itself to the
// caller.
func TestPanicIsAnswered(t *testing.T) {
	w := newWorld(t)
	log := logrus.New()
	var text bytes.Buffer
	log.SetOutput(&text)
	s, err := api.New(api.Options{Manager: w.Manager, Verifier: bug{}, Self: 1, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	r := w.callAt(h.URL, "GET", "/v1/volumes", "", "X-Request-Id", "req-7")
	h.Close() // after this the log is complete
	if r.status != 500 || r.problem.Code != wire.Internal || strings.Contains(string(r.body), "bug") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if !strings.Contains(text.String(), "a bug of ours") || !strings.Contains(text.String(), "req-7") {
		t.Errorf("logged %s", text.String())
	}
}

// TestGarbledRecord: what nobody of us wrote is an internal error that does not show itself to the caller.
func TestGarbledRecord(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	vol := w.Volume(1, "v")
	key := cluster.KeyVolume(vol.ID)
	_, err := w.Store.Commit(t.Context(), store.Txn{
		Put: []store.Put{{Key: key, Value: []byte(`{"size":"secret"}`)}}, Blind: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	r := w.call("GET", "/v1/volumes/"+vol.ID.String(), "")
	if r.status != 500 || r.problem.Code != wire.Internal || strings.Contains(string(r.body), "secret") {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

// TestTruncatedBody: a caller that breaks off in the middle leaves nothing behind.
func TestTruncatedBody(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.call("GET", "/v1/cluster", "") // the token's first use is kept in its record
	before := w.records()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /v1/volumes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"name\":\"n\",\"pool\":\"gold\"", w.Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 64)
	n, _ := conn.Read(answer)
	_ = conn.Close()
	if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400") {
		t.Errorf("got %q", answer[:n])
	}
	if after := w.records(); after != before {
		t.Errorf("a broken call changed records")
	}
}

// TestServe: the server ends when its context does, and lets a call under way finish.
func TestServe(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Server.Serve(ctx, ln) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/v1/health")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve does not end")
	}
	if err := w.Server.Serve(t.Context(), ln); err == nil {
		t.Error("Serve on a closed listener succeeded")
	}
}

// FuzzBodies feeds any bytes to the decoders of all bodies: they accept or refuse with a 4xx, and what they
// accept is accepted again in its own JSON form.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"name":"n","pool":"gold","size_bytes":4096}`, `{"name":"p","parity":1,"devices":[1,2]}`,
		`{"token":"t","uuid":"00000000-0000-4000-8000-000000000001","addresses":{"host":"a:1"}}`,
		`{"name":"ci","role":"join","expires_in_seconds":60}`, `{"node":1,"path":"/dev/x","size_bytes":1}`,
		`{"metadata":{"a":"b"}}`, `{"a":[[[[`, `{"name":null}`, `{"name":"\ud800"}`, `{}{}`, ``, `{"NAME":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&wire.VolumeCreate{}, &wire.VolumeUpdate{}, &wire.PoolCreate{},
			&wire.DeviceCreate{}, &wire.JoinRequest{}, &wire.TokenCreate{}} {
			if err := api.Decode(data, v); err != nil {
				if status := api.Status(err); status < 400 || status > 499 {
					t.Fatalf("%q: %v is a %d", data, err, status)
				}
				continue
			}
			checkRoundTrip(t, v)
		}
	})
}

// checkRoundTrip encodes an accepted body and decodes it again.
func checkRoundTrip(t *testing.T, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	if p, ok := v.(*wire.PoolCreate); ok && p.Parity == nil {
		return // required, so it has no form without
	}
	again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
	if err := api.Decode(text, again); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
