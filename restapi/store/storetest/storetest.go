// Package storetest is the conformance suite of package store: what every implementation must do, told as
// stories.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// Store is what the suite tests.
type Store interface {
	store.KV
	Await(ctx context.Context, key string, rev int64) error
	Hold(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Follow(ctx context.Context, prefix string, after int64,
		f func(rev int64, changes []store.Change) error) error
}

// deadline bounds every wait of the suite.
const deadline = 20 * time.Second

// Run runs the suite; fresh makes an empty store for each story.
func Run(t *testing.T, fresh func(t *testing.T) Store) {
	stories := []struct {
		name string
		tell func(t *testing.T, ctx context.Context, s Store)
	}{
		{"an absent key is an empty answer", absentKey},
		{"what was put is read with its revision", putThenRead},
		{"a list is in byte order, from after a key, up to a limit", lists},
		{"one read sees one revision", oneRevision},
		{"a moved revision refuses the whole transaction", conflicts},
		{"absence can be demanded", demandAbsence},
		{"that no key begins with a prefix can be demanded", demandEmptiness},
		{"a change of a key is awaited, whenever it came", awaits},
		{"a deleted key is absent, and new when it comes back", deleteAndReturn},
		{"a write nobody compared is refused", unguardedWrites},
		{"concurrent increments are all counted", increments},
		{"a held key goes when its holder does", holds},
		{"a key with a life goes by itself", lives},
		{"who follows misses nothing and goes on where it was", follows},
		{"a call that is cancelled is unavailable", cancelled},
		{"an owner is swapped once per revision", arbitration},
		{"an impossible owner is refused", impossibleOwners},
		{"snapshots change with their volume's owner record, or not at all", snapshotsWithOwner},
	}
	for _, st := range stories {
		t.Run(st.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			st.tell(t, ctx, fresh(t))
		})
	}
}

// put writes keys that must be absent and returns the revision.
func put(t *testing.T, ctx context.Context, s store.KV, pairs ...string) int64 {
	t.Helper()
	var txn store.Txn
	for i := 0; i < len(pairs); i += 2 {
		txn.If = append(txn.If, store.Cond{Key: pairs[i]})
		txn.Put = append(txn.Put, store.Put{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	rev, err := s.Commit(ctx, txn)
	if err != nil {
		t.Fatalf("put %v: %v", pairs, err)
	}
	return rev
}

func read(t *testing.T, ctx context.Context, s store.KV, q ...store.Query) store.Snapshot {
	t.Helper()
	snap, err := s.Read(ctx, q...)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if len(snap.Results) != len(q) {
		t.Fatalf("read: %d results for %d queries", len(snap.Results), len(q))
	}
	return snap
}

// wantItems checks "key=value" pairs of a result.
func wantItems(t *testing.T, r store.Result, more bool, want ...string) {
	t.Helper()
	got := make([]string, len(r.Items))
	for i, it := range r.Items {
		got[i] = it.Key + "=" + string(it.Value)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || r.More != more {
		t.Errorf("got %v (more %v), want %v (more %v)", got, r.More, want, more)
	}
}

func absentKey(t *testing.T, ctx context.Context, s Store) {
	snap := read(t, ctx, s, store.Key("/a"), store.All("/b/"))
	wantItems(t, snap.Results[0], false)
	wantItems(t, snap.Results[1], false)
	if it := snap.One(0); it.Rev != 0 || it.Value != nil {
		t.Errorf("absent key: %+v", it)
	}
}

func putThenRead(t *testing.T, ctx context.Context, s Store) {
	r1 := put(t, ctx, s, "/a", "one", "/b", "two")
	r2 := put(t, ctx, s, "/c", "three")
	if r2 <= r1 {
		t.Errorf("revision %d after %d", r2, r1)
	}
	snap := read(t, ctx, s, store.Key("/a"), store.Key("/b"), store.Key("/c"))
	for i, want := range []int64{r1, r1, r2} {
		if got := snap.One(i).Rev; got != want {
			t.Errorf("key %d: revision %d, want %d", i, got, want)
		}
	}
	wantItems(t, snap.Results[1], false, "/b=two")
	if snap.Rev != r2 {
		t.Errorf("snapshot of revision %d, want %d", snap.Rev, r2)
	}
}

func lists(t *testing.T, ctx context.Context, s Store) {
	put(t, ctx, s, "/l/10", "x", "/l/2", "y", "/l/1", "z", "/m", "no", "/l", "no", "/l0", "no")
	snap := read(t, ctx, s, store.All("/l/"),
		store.Query{Prefix: "/l/", Limit: 2}, store.Query{Prefix: "/l/", After: "/l/10", Limit: 2},
		store.Query{Prefix: "/l/", After: "/l/1", Limit: 1}, store.Query{Prefix: "/l/", After: "/l/2"},
		store.Query{Prefix: "/l/", After: "/a"}, store.Query{Prefix: "/l/", After: "/z"},
		store.Query{Prefix: "/l/", Limit: 3})
	wantItems(t, snap.Results[0], false, "/l/1=z", "/l/10=x", "/l/2=y")
	wantItems(t, snap.Results[1], true, "/l/1=z", "/l/10=x")
	wantItems(t, snap.Results[2], false, "/l/2=y")
	wantItems(t, snap.Results[3], true, "/l/10=x")
	wantItems(t, snap.Results[4], false)
	wantItems(t, snap.Results[5], false, "/l/1=z", "/l/10=x", "/l/2=y")
	wantItems(t, snap.Results[6], false)
	wantItems(t, snap.Results[7], false, "/l/1=z", "/l/10=x", "/l/2=y")
}

// oneRevision has a writer keep two keys equal while a reader looks.
func oneRevision(t *testing.T, ctx context.Context, s Store) {
	put(t, ctx, s, "/x", "0", "/y/1", "0")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; i <= 20; i++ {
			snap, err := s.Read(ctx, store.Key("/x"), store.Key("/y/1"))
			if err != nil {
				t.Errorf("writer reads: %v", err)
				return
			}
			v := []byte(strconv.Itoa(i))
			_, err = s.Commit(ctx, store.Txn{
				If:  []store.Cond{{Key: "/x", Rev: snap.One(0).Rev}, {Key: "/y/1", Rev: snap.One(1).Rev}},
				Put: []store.Put{{Key: "/x", Value: v}, {Key: "/y/1", Value: v}},
			})
			if err != nil {
				t.Errorf("writer: %v", err)
				return
			}
		}
	})
	for range 40 {
		snap := read(t, ctx, s, store.Key("/x"), store.All("/y/"))
		if a, b := string(snap.One(0).Value), string(snap.One(1).Value); a != b {
			t.Errorf("one read saw x=%s y=%s", a, b)
		}
	}
	wg.Wait()
}

func conflicts(t *testing.T, ctx context.Context, s Store) {
	r := put(t, ctx, s, "/a", "1", "/b", "1")
	r2, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/a", Rev: r}},
		Put: []store.Put{{Key: "/a", Value: []byte("2")}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(ctx, store.Txn{
		If:     []store.Cond{{Key: "/b", Rev: r}, {Key: "/a", Rev: r}, {Key: "/c"}},
		Put:    []store.Put{{Key: "/a", Value: []byte("3")}, {Key: "/c", Value: []byte("3")}},
		Delete: []string{"/b"},
	})
	if !errors.Is(err, cluster.ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	snap := read(t, ctx, s, store.All("/"))
	wantItems(t, snap.Results[0], false, "/a=2", "/b=1")
	if snap.Rev != r2 {
		t.Errorf("a refused transaction moved the revision from %d to %d", r2, snap.Rev)
	}
}

func demandAbsence(t *testing.T, ctx context.Context, s Store) {
	r := put(t, ctx, s, "/a", "1")
	_, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/a"}}, Put: []store.Put{{Key: "/a"}}})
	if !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("create over an existing key: %v", err)
	}
	_, err = s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/n", Rev: r}}, Put: []store.Put{{Key: "/n"}}})
	if !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("update of an absent key: %v", err)
	}
	wantItems(t, read(t, ctx, s, store.All("/")).Results[0], false, "/a=1")
}

func deleteAndReturn(t *testing.T, ctx context.Context, s Store) {
	r := put(t, ctx, s, "/a", "1")
	if _, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/a", Rev: r}},
		Delete: []string{"/a"}}); err != nil {
		t.Fatal(err)
	}
	wantItems(t, read(t, ctx, s, store.Key("/a")).Results[0], false)
	r2 := put(t, ctx, s, "/a", "1")
	if r2 <= r {
		t.Errorf("the key came back with revision %d, it had %d before", r2, r)
	}
	_, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/a", Rev: r}}, Delete: []string{"/a"}})
	if !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("delete by the revision of its predecessor: %v", err)
	}
}

func unguardedWrites(t *testing.T, ctx context.Context, s Store) {
	put1 := func(k string) []store.Put { return []store.Put{{Key: k, Value: []byte("1")}} }
	var many []store.Cond
	for i := range store.MaxOps + 1 {
		many = append(many, store.Cond{Key: "/" + strconv.Itoa(i)})
	}
	for name, txn := range map[string]store.Txn{
		"put":              {Put: put1("/a")},
		"delete":           {Delete: []string{"/a"}},
		"other key":        {If: []store.Cond{{Key: "/b"}}, Put: put1("/a")},
		"twice":            {If: []store.Cond{{Key: "/a"}}, Put: append(put1("/a"), put1("/a")...)},
		"put and delete":   {If: []store.Cond{{Key: "/a"}}, Put: put1("/a"), Delete: []string{"/a"}},
		"empty key":        {If: []store.Cond{{}}, Put: put1("")},
		"too many to hold": {If: many},
	} {
		if _, err := s.Commit(ctx, txn); err == nil || errors.Is(err, cluster.ErrConflict) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	wantItems(t, read(t, ctx, s, store.All("/")).Results[0], false)
	if _, err := s.Commit(ctx, store.Txn{Put: put1("/a"), Blind: []string{"/a"}}); err != nil {
		t.Errorf("declared blind: %v", err)
	}
}

func increments(t *testing.T, ctx context.Context, s Store) {
	const workers, each = 4, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				snap, err := s.Read(ctx, store.Key("/n"))
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(snap.One(0).Value))
				_, err = s.Commit(ctx, store.Txn{
					If:  []store.Cond{{Key: "/n", Rev: snap.One(0).Rev}},
					Put: []store.Put{{Key: "/n", Value: []byte(strconv.Itoa(n + 1))}},
				})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, cluster.ErrConflict):
					t.Errorf("commit: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	wantItems(t, read(t, ctx, s, store.Key("/n")).Results[0], false, "/n="+strconv.Itoa(workers*each))
}

// until repeats a look until it says yes; every look is a round trip, so it does not spin.
func until(t *testing.T, ctx context.Context, what string, look func() bool) {
	t.Helper()
	for !look() {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func holds(t *testing.T, ctx context.Context, s Store) {
	has := func() bool { return read(t, ctx, s, store.Key("/alive/1")).One(0).Rev != 0 }
	holding, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Hold(holding, "/alive/1", []byte("x"), 5*time.Second) }()
	until(t, ctx, "the key appears", has)
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Hold ended with %v", err)
	}
	until(t, ctx, "the key goes", func() bool { return !has() })
}

func lives(t *testing.T, ctx context.Context, s Store) {
	lasting := store.Put{Key: "/long", Value: []byte("1")}.Lasting(time.Hour)
	brief := store.Put{Key: "/brief", Value: []byte("1")}.Lasting(time.Second)
	again := store.Put{Key: "/again", Value: []byte("1")}.Lasting(time.Second)
	blind := []string{"/long", "/brief", "/again"}
	rev, err := s.Commit(ctx, store.Txn{Put: []store.Put{lasting, brief, again}, Blind: blind})
	if err != nil {
		t.Fatal(err)
	}
	again.TTL = 0
	anew := store.Txn{Put: []store.Put{again}, If: []store.Cond{{Key: "/again", Rev: rev}}}
	if _, err := s.Commit(ctx, anew); err != nil {
		t.Fatal(err)
	}
	for {
		snap := read(t, ctx, s, store.Key("/long"), store.Key("/brief"), store.Key("/again"))
		if snap.One(0).Rev != rev || snap.One(2).Rev <= rev {
			t.Fatal("a key went that should stay")
		}
		if snap.One(1).Rev == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the key stays")
		}
	}
}

func follows(t *testing.T, ctx context.Context, s Store) {
	first := put(t, ctx, s, "/f/a", "1", "/f/b", "1", "/other", "1")
	enough := errors.New("enough")
	var got []string
	note := func(most int) func(int64, []store.Change) error {
		return func(rev int64, changes []store.Change) error {
			for _, c := range changes {
				if c.Rev != rev {
					t.Errorf("a change of revision %d came with %d", c.Rev, rev)
				}
				got = append(got, fmt.Sprintf("%s:%s>%s", c.Key, c.Before, c.Value))
			}
			if len(got) >= most {
				return enough
			}
			return nil
		}
	}
	begun := make(chan int64, 1)
	ended := make(chan error, 1)
	go func() {
		f := note(2)
		ended <- s.Follow(ctx, "/f/", 0, func(rev int64, changes []store.Change) error {
			if len(changes) == 0 {
				begun <- rev
			}
			return f(rev, changes)
		})
	}()
	if rev := <-begun; rev < first {
		t.Errorf("begins at %d, before %d", rev, first)
	}
	second, err := s.Commit(ctx, store.Txn{Put: []store.Put{{Key: "/f/a", Value: []byte("2")}},
		Delete: []string{"/f/b", "/other"}, Blind: []string{"/f/a", "/f/b", "/other"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, enough) {
		t.Fatalf("ended with %v", err)
	}
	slices.Sort(got)
	if want := []string{"/f/a:1>2", "/f/b:1>"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	put(t, ctx, s, "/f/c", "1")
	got = nil
	if err := s.Follow(ctx, "/f/", second, note(1)); !errors.Is(err, enough) || got[0] != "/f/c:>1" {
		t.Errorf("from there on: %q, %v", got, err)
	}
	got = nil
	if err := s.Follow(ctx, "/f/", first, note(3)); !errors.Is(err, enough) || got[2] != "/f/c:>1" {
		t.Errorf("from the beginning: %q, %v", got, err)
	}
}

func cancelled(t *testing.T, ctx context.Context, s Store) {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Read(gone, store.Key("/a")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	_, err := s.Commit(gone, store.Txn{If: []store.Cond{{Key: "/a"}}, Put: []store.Put{{Key: "/a"}}})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("commit: %v", err)
	}
}

func demandEmptiness(t *testing.T, ctx context.Context, s Store) {
	none := store.Txn{If: []store.Cond{{Key: "/dir/"}, {Key: "/a"}}, Put: []store.Put{{Key: "/a"}}}
	r := put(t, ctx, s, "/dir/x", "1", "/dirt", "1")
	if _, err := s.Commit(ctx, none); !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("a key begins with /dir/: %v", err)
	}
	if _, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/dir/x", Rev: r}},
		Delete: []string{"/dir/x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, none); err != nil {
		t.Errorf("no key begins with /dir/: %v", err)
	}
	none.If[0].Rev = r
	if _, err := s.Commit(ctx, none); err == nil || errors.Is(err, cluster.ErrConflict) {
		t.Errorf("all keys at one revision make no sense: %v", err)
	}
}

func awaits(t *testing.T, ctx context.Context, s Store) {
	r := put(t, ctx, s, "/a", "1")
	changed := make(chan error, 1)
	go func() { changed <- s.Await(ctx, "/a", r) }()
	put(t, ctx, s, "/b", "1")
	select {
	case err := <-changed:
		t.Fatalf("another key has changed: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	r2, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/a", Rev: r}}, Put: []store.Put{{Key: "/a"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-changed; err != nil {
		t.Errorf("a key was written: %v", err)
	}
	if err := s.Await(ctx, "/a", r); err != nil {
		t.Errorf("a key was written before: %v", err)
	}
	go func() { changed <- s.Await(ctx, "/a", r2) }()
	if _, err := s.Commit(ctx, store.Txn{If: []store.Cond{{Key: "/a", Rev: r2}},
		Delete: []string{"/a"}}); err != nil {
		t.Fatal(err)
	}
	if err := <-changed; err != nil {
		t.Errorf("a key was deleted: %v", err)
	}
	if err := s.Await(ctx, "/a", r2); err != nil {
		t.Errorf("a key was deleted before: %v", err)
	}
	brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := s.Await(brief, "/b", r2); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("nothing happened: %v", err)
	}
}
