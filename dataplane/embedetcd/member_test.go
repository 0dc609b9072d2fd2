package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ashlar-storage/ashlar/dataplane/freeport"
)

// patience bounds every wait of these tests; none of them takes this long on a healthy machine.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// freeURL finds a URL for etcd, which wants to know it before it listens.
func freeURL(tb testing.TB) string { return "http://" + freeport.Addr(tb) }

func memberConfig(t testing.TB, name string) Config {
	return Config{Name: name, DataDir: filepath.Join(t.TempDir(), name),
		ListenClient: freeURL(t), ListenPeer: freeURL(t), ClusterToken: t.Name()}
}

func start(t testing.TB, cfg Config) *Member {
	t.Helper()
	m, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func dial(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := Dial(endpoints, false, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually calls try until it returns nil.
func eventually(t testing.TB, ctx context.Context, what string, try func() error) {
	t.Helper()
	var last error
	for {
		if last = try(); last == nil {
			return
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			t.Fatalf("%s: gave up: %v", what, last)
		}
	}
}

// joinMember adds name to the cluster and starts it as a learner.
func joinMember(t testing.TB, ctx context.Context, c *clientv3.Client, name string) *Member {
	t.Helper()
	cfg := memberConfig(t, name)
	peers, err := AddLearner(ctx, c, name, cfg.ListenPeer)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Peers, cfg.ClusterToken = peers, "another token: a joining member takes the cluster's"
	m := start(t, cfg)
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOneMemberKeepsItsDataAcrossRestarts(t *testing.T) {
	ctx := testContext(t)
	cfg := memberConfig(t, "a")
	m := start(t, cfg)
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	c := dial(t, m.ClientURL())
	if _, err := c.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	m.Stop()
	<-m.Done()
	if m.Err() == nil {
		t.Fatal("a stopped member must say that it stopped")
	}
	m = start(t, cfg)
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(ctx, "k") // the client of before reconnects by itself
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Fatalf("after restart: %v, %v", got, err)
	}
}

// TestThreeMembers is the life of a cluster: one member, a second that stays a learner, a third that makes
// both vote; then one is lost and the rest goes on; two lost and nothing is acknowledged; back and all is
// there.
func TestThreeMembers(t *testing.T) {
	ctx := testContext(t)
	a := start(t, memberConfig(t, "a"))
	if err := a.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	ca := dial(t, a.ClientURL())
	b := joinMember(t, ctx, ca, "b")
	eventually(t, ctx, "the second member stays a learner", func() error {
		return wantCounts(ctx, ca, Counts{Voters: 1, Learners: 1})
	})
	c := joinMember(t, ctx, ca, "c")
	eventually(t, ctx, "three voters", func() error { return wantCounts(ctx, ca, Counts{Voters: 3}) })

	eps, err := Endpoints(ctx, ca)
	if err != nil || len(eps) != 3 {
		t.Fatalf("endpoints %v, %v", eps, err)
	}
	all := dial(t, eps...)
	a.Stop()
	eventually(t, ctx, "write without the first member", func() error { return put(ctx, all, "k", "1") })
	b.Stop()
	if err := put(ctx, all, "k", "2"); err == nil {
		t.Fatal("a write was acknowledged by one member of three")
	}
	b = start(t, b.cfg)
	a = start(t, a.cfg)
	for _, m := range []*Member{a, b, c} {
		if err := m.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, ctx, "write after the return", func() error { return put(ctx, all, "k", "3") })
	got, err := all.Get(ctx, "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "3" {
		t.Fatalf("after the return: %v, %v", got, err)
	}
}

func put(ctx context.Context, c *clientv3.Client, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := c.Put(ctx, key, value)
	return err
}

func wantCounts(ctx context.Context, c *clientv3.Client, want Counts) error {
	got, err := Settle(ctx, c)
	if err == nil && got != want {
		err = fmt.Errorf("members %+v, want %+v", got, want)
	}
	return err
}

func TestAddLearnerAgainBeforeTheMemberStarted(t *testing.T) {
	ctx := testContext(t)
	a := start(t, memberConfig(t, "a"))
	if err := a.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	c := dial(t, a.ClientURL())
	url := freeURL(t)
	first, err := AddLearner(ctx, c, "b", url)
	if err != nil {
		t.Fatal(err)
	}
	again, err := AddLearner(ctx, c, "b", url)
	if err != nil || fmt.Sprint(first) != fmt.Sprint(again) || len(again) != 2 {
		t.Fatalf("second call: %v, %v; first: %v", again, err, first)
	}
	if n, err := Settle(ctx, c); err != nil || n != (Counts{Voters: 1, Unstarted: 1}) {
		t.Fatalf("counts %+v, %v", n, err)
	}
	for _, name := range []string{"other", "a"} {
		if _, err := AddLearner(ctx, c, name, a.PeerURL()); !errors.Is(err, ErrHasRun) {
			t.Fatalf("the URL of a member that ran was accepted for %q: %v", name, err)
		}
	}
	if _, err := AddLearner(ctx, c, "c", freeURL(t)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := AddLearner(short, c, "d", freeURL(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a third learner: %v, want to have waited until the deadline", err)
	}
}

func TestStartRefusesBadSettings(t *testing.T) {
	good := memberConfig(t, "a")
	for name, change := range map[string]func(*Config){
		"member name":          func(c *Config) { c.Name = "a=b" },
		"data directory":       func(c *Config) { c.DataDir = "" },
		"client listen URL":    func(c *Config) { c.ListenClient = "127.0.0.1:2379" },
		"peer listen URL":      func(c *Config) { c.ListenPeer = "" },
		"client advertise URL": func(c *Config) { c.AdvertiseClient = "http://" },
		"election timeout":     func(c *Config) { c.Election = DefaultHeartbeat },
	} {
		cfg := good
		change(&cfg)
		m, err := Start(cfg)
		if err == nil {
			m.Stop()
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(strings.Fields(name)[0])) {
			t.Errorf("%s: the error does not name it: %v", name, err)
		}
	}
	if _, err := Dial(nil, false, nil, nil); err == nil {
		t.Error("a client without endpoints was made")
	}
}

// TestRestart: a member that starts again in the same process keeps what it had, clients find it by
// themselves, and nobody takes it for one that ended; then it stops like any other.
func TestRestart(t *testing.T) {
	ctx := testContext(t)
	m := start(t, memberConfig(t, "a"))
	if err := m.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	c := dial(t, m.ClientURL())
	id := m.ID()
	for i := range 2 {
		if _, err := c.Put(ctx, "k", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if err := m.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := c.Get(ctx, "k")
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != fmt.Sprint(i) || m.ID() != id {
			t.Fatalf("after restart %d: %v, %v", i, got, err)
		}
		if m.Err() != nil {
			t.Fatalf("ended: %v", m.Err())
		}
	}
	m.Stop()
	<-m.Done()
	if err := m.Restart(ctx); err == nil {
		t.Error("a stopped member started again")
	}
	m.Stop() // changes nothing
}
