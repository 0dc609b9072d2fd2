package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func (w *world) kinds(path string, headers ...string) []string {
	w.T.Helper()
	var page wire.Page[wire.Event]
	w.call("GET", path, "", headers...).into(w.T, &page)
	var out []string
	for _, e := range page.Items {
		out = append(out, e.Kind+" "+e.Subject.ID)
	}
	return out
}

// TestEvents: every change leaves one event, the newest is listed first, and a tenant sees its own.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	v, other := w.volumeOf("acme", 1, "v"), w.volumeOf("rival", 2, "v")
	w.Advance(time.Second)
	at := volumes + "/" + v.ID.String()
	w.call("PATCH", at, `{"size_bytes":8388608}`)
	w.call("PATCH", at, `{"size_bytes":8388608}`) // changes nothing
	w.Advance(time.Second)
	w.call("PUT", at+"/exports/"+apitest.HostA, "")
	w.Advance(time.Second)
	w.call("DELETE", at+"/exports", "")
	w.Advance(time.Second)
	w.call("DELETE", at, "")
	id := " " + v.ID.String()
	want := []string{"volume.deleted" + id, "volume.exported" + id, "volume.exported" + id,
		"volume.resized" + id, "volume.created" + id}
	if got := w.kinds("/v1/events?subject=" + v.ID.String()); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := w.kinds("/v1/events?kind=volume.created"); len(got) != 2 {
		t.Errorf("by kind: %q", got)
	}
	if got := w.kinds("/v1/events?severity=error"); len(got) != 0 {
		t.Errorf("errors: %q", got)
	}
	var page wire.Page[wire.Event]
	w.call("GET", "/v1/events?limit=2&kind=volume", "").into(t, &page)
	next := w.kinds("/v1/events?limit=2&kind=volume&cursor=" + page.Next)
	if len(page.Items) != 2 || !slices.Equal(next, want[2:4]) {
		t.Errorf("pages %v, %q", page.Items, next)
	}
	tenant := w.token(auth.Tenant, "rival")
	if got := w.kinds("/v1/events", "Authorization", "Bearer "+tenant); !slices.Equal(got,
		[]string{"volume.created " + other.ID.String()}) {
		t.Errorf("a tenant sees %q", got)
	}
}

// TestNodesComeAndGo: whoever looks, each change is one event.
func TestNodesComeAndGo(t *testing.T) {
	w := newWorld(t)
	look := func() []string {
		for range 2 {
			if err := w.Manager.LookAtNodes(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Advance(time.Second)
		return w.kinds("/v1/events?kind=node")
	}
	if got := look(); !slices.Equal(got, []string{"node.down 1"}) {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.Manager.KeepAlive(ctx, 1) }()
	for w.nodeStatus(1) != "online" {
		if t.Context().Err() != nil {
			t.Fatal("the node does not come up")
		}
	}
	if got := look(); !slices.Equal(got, []string{"node.up 1", "node.down 1"}) {
		t.Errorf("got %q", got)
	}
	cancel()
	<-ended
	if got := look(); !slices.Equal(got, []string{"node.down 1", "node.up 1", "node.down 1"}) {
		t.Errorf("got %q", got)
	}
}

func (w *world) nodeStatus(n cluster.NodeID) string {
	node, err := w.Manager.Node(w.T.Context(), n)
	if err != nil {
		w.T.Fatal(err)
	}
	return node.Status
}

// follow opens the stream; the function it returns reads one message, as "kind data id".
func (w *world) follow(url, token, last string) (next func() (kind, data, id string), hangUp func()) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 20*time.Second)
	req, _ := http.NewRequestWithContext(ctx, "GET", url+"/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.T.Fatalf("got %v, %v", resp, err)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (kind, data, id string) {
		w.T.Helper()
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				kind = value
			case "data":
				data = value
			case "id":
				id = value
			case "":
				return kind, data, id
			}
		}
		w.T.Fatalf("the stream ended: %v", lines.Err())
		return
	}, func() { cancel(); _ = resp.Body.Close() }
}

// TestStream: changes and events come in order; a stream that breaks off goes on at another node without a
// gap; a tenant's stream is silent about others.
func TestStream(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	_, url2 := w.Serve(2)
	next, hangUp := w.follow(w.URL, w.Token, "")
	if kind, _, id := next(); kind != "begin" || id == "" {
		t.Fatalf("got %s %s", kind, id)
	}
	v := w.volumeOf("acme", 1, "v")
	wantChange := func(kind, data, action, etag string) {
		t.Helper()
		var c wire.Change
		if err := json.Unmarshal([]byte(data), &c); err != nil || kind != "change" || c.Action != action ||
			c.ID != v.ID.String() || c.Type != "volume" || c.ETag != etag {
			t.Errorf("got %s %s, %v", kind, data, err)
		}
	}
	seen := map[string]string{}
	last := ""
	for range 3 { // of one transaction: the volume, the project, the event
		kind, data, id := next()
		var s wire.Change
		_ = json.Unmarshal([]byte(data), &s)
		seen[kind+s.Type] = data
		last = id
	}
	wantChange("change", seen["changevolume"], wire.Created, v.ETag)
	if !strings.Contains(seen["event"], "volume.created") || last == "" || seen["changeproject"] == "" {
		t.Errorf("got %q, id %q", seen, last)
	}
	hangUp()
	w.volumeOf("rival", 2, "v")
	w.call("DELETE", volumes+"/"+v.ID.String(), "")
	next, hangUp = w.follow(url2, w.token(auth.Tenant, "acme"), last)
	defer hangUp()
	if kind, _, id := next(); kind != "begin" || id != last {
		t.Fatalf("got %s %s, want to go on from %s", kind, id, last)
	}
	for range 3 {
		kind, data, _ := next()
		if strings.Contains(data, "rival") || strings.Contains(data, apitest.UUID(2).String()) {
			t.Errorf("a tenant was told %s", data)
		}
		if kind == "change" && strings.Contains(data, `"volume"`) {
			wantChange(kind, data, wire.Deleted, "")
		}
	}
}

// TestStreamRefusals: what is no stream.
func TestStreamRefusals(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ path, last, field string }{
		{"/v1/events", "x", "Last-Event-ID"}, {"/v1/events", "-1", "Last-Event-ID"},
		{"/v1/events?kind=volume", "", "Accept"},
	} {
		r := w.call("GET", c.path, "", "Accept", "text/event-stream", "Last-Event-ID", c.last)
		if r.status != 400 || r.problem.Field != c.field {
			t.Errorf("%v: %d %s", c, r.status, r.body)
		}
	}
}

// TestClientFollows: the client goes on at the other node when one breaks off.
func TestClientFollows(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	_, url2 := w.Serve(2)
	c, err := client.New(client.Options{Endpoints: []string{"http://127.0.0.1:1", w.URL, url2}, Token: w.Token})
	if err != nil {
		t.Fatal(err)
	}
	enough := fmt.Errorf("enough")
	err = c.Follow(t.Context(), func(m wire.Message) error {
		switch {
		case m.Change == nil && m.Event == nil:
			w.volumeOf("acme", 1, "v")
		case m.Event != nil && m.Event.Kind == "volume.created":
			return enough
		}
		return nil
	})
	if err != enough {
		t.Errorf("got %v", err)
	}
}
