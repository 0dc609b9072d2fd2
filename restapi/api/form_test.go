package api_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestTwoWriters: two that saw the same version change it; one wins, the other one is told.
func TestTwoWriters(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	for _, c := range []struct{ path, verb, body string }{
		{"/v1/volumes/" + w.Volume(1, "v").ID.String(), "PATCH", `{"size_bytes":33554432}`},
		{"/v1/devices/1", "POST", `{"action":"pause"}`},
	} {
		etag := w.call("GET", c.path, "").header.Get("ETag")
		at := c.path
		if c.verb == "POST" {
			at += "/scrub"
		}
		var statuses [2]int
		var wg sync.WaitGroup
		for i := range statuses {
			wg.Go(func() { statuses[i] = w.call(c.verb, at, c.body, "If-Match", `"1", `+etag).status })
		}
		wg.Wait()
		if slices.Sort(statuses[:]); statuses != [2]int{200, 412} {
			t.Errorf("%s %s: %v", c.verb, at, statuses)
		}
		if now := w.call("GET", c.path, "").header.Get("ETag"); now == etag || now == "" {
			t.Errorf("%s: ETag %q, then %q", c.path, etag, now)
		}
	}
}

// TestSparseFields: only what was asked for comes back, in lists of every item.
func TestSparseFields(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Volume(1, "v1")
	w.Volume(2, "v2")
	for path, want := range map[string]string{
		"/v1/pools/gold?fields=name,parity": `{"name":"gold","parity":1}`,
		"/v1/volumes?fields=name&limit=1":   `{"items":[{"name":"v1"}],"next":"*"}`,
		"/v1/volumes?fields=owner":          `{"items":[{},{}]}`,
		"/v1/cluster?fields=nodes":          `{"nodes":3}`,
	} {
		r := w.call("GET", path, "")
		var page struct{ Next string }
		r.into(t, &page)
		got := strings.TrimSpace(string(r.body))
		if page.Next != "" {
			got = strings.Replace(got, page.Next, "*", 1)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// TestLimits: who is too fast is told when to go on; a token and an address are counted apart.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	w.Limits = api.Limits{PerToken: 0.5}
	_, url := w.Serve(1)
	for i, want := range []int{200, 200, 429} { // 2 are saved up
		r := w.callAt(url, "GET", "/v1/cluster", "")
		if r.status != want {
			t.Errorf("call %d: %d %s", i, r.status, r.body)
		}
		if want == 429 && (r.problem.Code != wire.TooManyRequests || r.header.Get("Retry-After") != "2") {
			t.Errorf("call %d: %v %s", i, r.header, r.body)
		}
	}
	var token wire.Token
	w.call("POST", "/v1/tokens", `{"name":"o","role":"admin"}`).into(t, &token)
	if r := w.callAt(url, "GET", "/v1/cluster", "", "Authorization", "Bearer "+token.Secret); r.status != 200 {
		t.Errorf("another token: %d", r.status)
	}
	w.Limits = api.Limits{PerAddress: 0.25}
	_, url = w.Serve(1)
	for i, want := range []int{401, 429} {
		if r := w.callAt(url, "GET", "/v1/cluster", "", "Authorization", ""); r.status != want {
			t.Errorf("call %d without a token: %d", i, r.status)
		}
	}
}

// TestUpdateVolume: a patch changes what it names and nothing else; a name moves with its volume, and the old
// one is free. That is also how a volume is taken over under another name.
func TestUpdateVolume(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	at := volumes + "/" + w.Volume(1, "old").ID.String()
	w.Volume(2, "taken")
	patch := func(body string) (v wire.Volume) {
		t.Helper()
		w.call("PATCH", at, body).into(t, &v)
		return v
	}
	v := patch(`{"metadata":{"a":"1","b":"2"},"description":"mine"}`)
	v = patch(`{"name":"new","metadata":{"a":null,"c":"3","none":null},"size_bytes":33554432}`)
	if v.Name != "new" || v.Description != "mine" || v.Size != 32<<20 || v.ID != apitest.UUID(1) ||
		fmt.Sprint(v.Metadata) != "map[b:2 c:3]" {
		t.Errorf("got %+v", v)
	}
	if again := patch(`{"name":"new","metadata":{"a":null}}`); again.ETag != v.ETag {
		t.Errorf("changed by what is so already: %s, then %s", v.ETag, again.ETag)
	}
	if v = patch(`{"read_only":true}`); !v.ReadOnly || v.Name != "new" {
		t.Errorf("write protected: %+v", v)
	}
	r := w.call("PATCH", at, `{"name":"taken","read_only":false,"description":"x"}`)
	if r.status != 409 || r.problem.Field != "name" {
		t.Errorf("a name that is taken: %d %s", r.status, r.body)
	}
	if v := patch(`{}`); v.Description != "mine" || !v.ReadOnly {
		t.Errorf("half of a refused change was done: %+v", v)
	}
	var found wire.Page[wire.Volume]
	w.call("GET", volumes+"?name=new&fields=id,vuid", "").into(t, &found)
	if len(found.Items) != 1 || found.Items[0].ID != v.ID || found.Items[0].VUID != 1 {
		t.Errorf("found %+v", found)
	}
	w.Volume(3, "old")
	w.Audit()
}
