package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const newVolume = `{"name":"n","pool":"gold","size_bytes":4096}`

// TestIdempotencyKey: one key is one request with one answer, at every node, for this token, for an hour.
func TestIdempotencyKey(t *testing.T) {
	w := &world{contract: loadContract(t)}
	w.Cluster = apitest.NewOn(t, store.NewMemAt(func() time.Time { return w.clock() }))
	w.Pool()
	_, other := w.Serve(2)
	first := w.call("POST", volumes, newVolume, "Idempotency-Key", "k")
	var vol wire.Volume
	first.into(t, &vol)
	at := volumes + "/" + vol.ID.String()
	w.call("DELETE", at, "")
	again := w.callAt(other, "POST", volumes, newVolume, "Idempotency-Key", "k")
	if again.status != 201 || string(again.body) != string(first.body) ||
		again.header.Get("Location") != at || again.header.Get("ETag") != first.header.Get("ETag") ||
		again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("repeated at the other node: %d %v %s", again.status, again.header, again.body)
	}
	if r := w.call("GET", at, ""); r.status != 404 {
		t.Error("a late repetition made the volume again")
	}
	for _, c := range [][2]string{{volumes, newVolume + " "}, {"/v1/tokens", newVolume}} {
		r := w.callAt(other, "POST", c[0], c[1], "Idempotency-Key", "k")
		if r.status != 422 || r.problem.Code != wire.IdempotencyKeyReused || r.problem.Field != "Idempotency-Key" {
			t.Errorf("%s with the key of another request: %d %s", c[0], r.status, r.body)
		}
	}
	var token wire.Token
	w.call("POST", "/v1/tokens", `{"name":"o","role":"admin"}`).into(t, &token)
	r := w.call("POST", volumes, newVolume, "Idempotency-Key", "k", "Authorization", "Bearer "+token.Secret)
	if r.status != 201 || strings.Contains(string(r.body), vol.ID.String()) {
		t.Errorf("the same key of another token: %d %s", r.status, r.body)
	}
	w.Advance(2 * time.Hour)
	if r := w.call("POST", volumes, newVolume, "Idempotency-Key", "k"); r.problem.Field != "name" {
		t.Errorf("after an hour it is a new request: %d %s", r.status, r.body)
	}
}

// clock is the cluster's, or any while there is no cluster.
func (w *world) clock() time.Time {
	if w.Cluster == nil {
		return time.Time{}
	}
	return w.Now()
}

// TestRefusedKeyIsFree: a refusal is no answer to keep, and nothing was done: the same key may be used again.
func TestRefusedKeyIsFree(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]int{`{"name":"no pool yet"}`: 400, newVolume: 400} {
		if r := w.call("POST", volumes, body, "Idempotency-Key", "k"); r.status != want {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	w.Pool()
	if r := w.call("POST", volumes, newVolume, "Idempotency-Key", "k"); r.status != 201 {
		t.Errorf("now it is possible: %d %s", r.status, r.body)
	}
}

// failing is a store whose n-th call from now on is the last one that a process makes: it is done or not, and
// nobody learns which.
type failing struct {
	*store.Mem
	mu    sync.Mutex
	left  int // calls until then; negative: never
	after bool
}

func (f *failing) arm(n int, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.after = n, after
}

// step says whether a call is done, and whether it is heard of.
func (f *failing) step() (do, heard bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left < 0 {
		return true, true
	}
	if f.left > 0 {
		f.left--
	}
	return f.left > 0 || f.after, f.left > 0
}

func (f *failing) Read(ctx context.Context, q ...store.Query) (store.Snapshot, error) {
	if _, heard := f.step(); !heard {
		return store.Snapshot{}, fmt.Errorf("read: %w", store.ErrUnavailable)
	}
	return f.Mem.Read(ctx, q...)
}

func (f *failing) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	do, heard := f.step()
	f.mu.Lock()
	if !heard {
		f.after = false // the process is gone
	}
	f.mu.Unlock()
	if !do {
		return 0, fmt.Errorf("commit: %w", store.ErrUnavailable)
	}
	rev, err := f.Mem.Commit(ctx, txn)
	if !heard {
		return 0, fmt.Errorf("commit: %w", store.ErrUnavailable)
	}
	return rev, err
}

// TestCrashWithKey: the node dies at any step of a call with a key, before or after the step. Repeated at
// another node there is one volume, and one token whose secret works.
func TestCrashWithKey(t *testing.T) {
	calls := map[string]string{volumes: newVolume, "/v1/tokens": `{"name":"t","role":"admin"}`}
	for path, body := range calls {
		for _, after := range []bool{false, true} {
			done := false
			for n := 1; !done; n++ {
				s := &failing{Mem: store.NewMem(), left: -1}
				w := &world{Cluster: apitest.NewOn(t, s), contract: loadContract(t)}
				w.Pool()
				_, other := w.Serve(2)
				count := w.count(path)
				s.arm(n, after)
				first := w.call("POST", path, body, "Idempotency-Key", "k")
				s.arm(-1, false)
				done = first.status == 201 && n > 6 // no step is left that could be the last one
				second := w.callAt(other, "POST", path, body, "Idempotency-Key", "k")
				if first.status == 201 && string(first.body) != string(second.body) {
					t.Errorf("%s, step %d, after %v: answers %s and %s", path, n, after, first.body, second.body)
				}
				w.wantOneMore(path, count, second)
				w.Audit()
			}
		}
	}
}

func (w *world) count(path string) int {
	var list wire.Page[struct{}]
	w.call("GET", path+"?fields=name", "").into(w.T, &list)
	return len(list.Items)
}

func (w *world) wantOneMore(path string, before int, r reply) {
	w.T.Helper()
	var made struct {
		ID     cluster.UUID
		Secret string
	}
	r.into(w.T, &made)
	if now := w.count(path); now != before+1 {
		w.T.Errorf("%d of %s, want one more than %d", now, path, before)
	}
	if r := w.call("GET", path+"/"+made.ID.String(), ""); r.status != 200 {
		w.T.Errorf("what the answer names: %d", r.status)
	}
	if made.Secret != "" {
		if r := w.call("GET", "/v1/cluster", "", "Authorization", "Bearer "+made.Secret); r.status != 200 {
			w.T.Errorf("the token does not pass: %d", r.status)
		}
	}
}

// TestNothingToRead: what is kept of a call tells nothing to who reads etcd.
func TestNothingToRead(t *testing.T) {
	w := newWorld(t)
	var token wire.Token
	r := w.call("POST", "/v1/tokens", `{"name":"visible?","role":"admin"}`, "Idempotency-Key", "my-key")
	r.into(t, &token)
	for _, line := range w.dump() {
		key := strings.HasPrefix(line, cluster.PrefixRequests)
		if key && strings.Contains(line, "visible") || strings.Contains(line, "my-key") ||
			strings.Contains(line, token.Secret[len(token.Secret)-20:]) {
			t.Errorf("etcd holds %s", line)
		}
	}
}
