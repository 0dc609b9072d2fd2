package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Store { return store.NewMem() })
}

func TestEtcd(t *testing.T) {
	c := etcdtest.Run(t).Client()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		if _, err := c.Delete(t.Context(), "", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		return store.NewEtcd(c)
	})
}

// TestTwins gives both stores the same random transactions: they must agree on every outcome and every
// content. Revisions differ, so conditions are drawn as "what it has now", "absent" or "stale".
func TestTwins(t *testing.T) {
	c := etcdtest.Run(t).Client()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		base := fmt.Sprintf("/twin/%d/", round)
		mem, etcd := store.NewMem(), store.NewEtcd(c)
		steps := rapid.IntRange(1, 8).Draw(rt, "steps")
		for i := range steps {
			kind := rapid.SliceOfN(rapid.IntRange(0, 5), 3, 3).Draw(rt, "kinds")
			errM := step(rt, mem, base, kind, i)
			errE := step(rt, etcd, base, kind, i)
			if errors.Is(errM, cluster.ErrConflict) != errors.Is(errE, cluster.ErrConflict) ||
				(errM == nil) != (errE == nil) {
				rt.Fatalf("step %d %v: memory says %v, etcd says %v", i, kind, errM, errE)
			}
			if a, b := content(rt, mem, base), content(rt, etcd, base); a != b {
				rt.Fatalf("step %d %v: memory holds %s, etcd holds %s", i, kind, a, b)
			}
		}
	})
}

// step does one transaction over three keys; kind says per key what is demanded and done.
func step(rt *rapid.T, s store.KV, base string, kind []int, i int) error {
	var txn store.Txn
	for k, what := range kind {
		key := base + strconv.Itoa(k)
		snap, err := s.Read(context.Background(), store.Key(key))
		if err != nil {
			rt.Fatal(err)
		}
		now := snap.One(0).Rev
		value := []byte(strconv.Itoa(i))
		switch what {
		case 0, 1: // put on what is there
			txn.If = append(txn.If, store.Cond{Key: key, Rev: now})
			txn.Put = append(txn.Put, store.Put{Key: key, Value: value})
		case 2: // create
			txn.If = append(txn.If, store.Cond{Key: key})
			txn.Put = append(txn.Put, store.Put{Key: key, Value: value})
		case 3: // delete what is there
			txn.If = append(txn.If, store.Cond{Key: key, Rev: now})
			txn.Delete = append(txn.Delete, key)
		case 4: // stale
			txn.If = append(txn.If, store.Cond{Key: key, Rev: now + 1000})
		}
	}
	_, err := s.Commit(context.Background(), txn)
	return err
}

func content(rt *rapid.T, s store.KV, base string) string {
	snap, err := s.Read(context.Background(), store.All(base))
	if err != nil {
		rt.Fatal(err)
	}
	out := ""
	for _, it := range snap.Results[0].Items {
		out += it.Key[len(base):] + "=" + string(it.Value) + " "
	}
	return out
}

// TestEtcdGone: a store whose etcd went away says so, with the error callers decide by.
func TestEtcdGone(t *testing.T) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := store.NewEtcd(c).Read(ctx, store.Key("/a")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	err = store.NewEtcd(c).Hold(ctx, "/a", nil, time.Second)
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("hold: %v", err)
	}
}

// TestFollowAfterCompaction: what is not known any more is not passed over in silence.
func TestFollowAfterCompaction(t *testing.T) {
	c := etcdtest.Run(t).Client()
	s := store.NewEtcd(c)
	var rev int64
	for range 5 {
		var err error
		txn := store.Txn{Put: []store.Put{{Key: "/k"}}, Blind: []string{"/k"}}
		if rev, err = s.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	err := s.Follow(t.Context(), "/", rev-4, func(int64, []store.Change) error { return nil })
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("got %v", err)
	}
}
