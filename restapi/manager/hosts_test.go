package manager_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/dataplane/watch"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestOneHost: whoever asks for a host gets what that one may attach, and nothing of hosts whose names begin
// with its name, or of things that are called like it; whatever characters the name has.
// It reads the records, or knows them from the node's watch, and then reads none.
func TestOneHost(t *testing.T) {
	t.Run("read", func(t *testing.T) { oneHost(t, store.NewMem(), nil, false) })
	t.Run("followed", func(t *testing.T) {
		etcd := etcdtest.Run(t).Client()
		log := logrus.New()
		log.SetOutput(io.Discard)
		w, err := watch.New(watch.Options{Client: etcd, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = w.Run(t.Context()) }()
		oneHost(t, store.NewEtcd(etcd), awaited{w}, true)
	})
}

// TestHostsWhileTheWatchIsAway: what the node does not know in time is read.
func TestHostsWhileTheWatchIsAway(t *testing.T) {
	oneHost(t, store.NewMem(), away{}, false)
}

// away is a watch that never catches up.
type away struct{}

func (away) At(ctx context.Context, _ int64) (*cluster.State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// awaited is a watch that is given all the time that it takes to catch up.
type awaited struct{ manager.States }

func (a awaited) At(ctx context.Context, revision int64) (*cluster.State, error) {
	return a.States.At(context.WithoutCancel(ctx), revision)
}

// spy counts the reads of records of volumes and snapshots.
type spy struct {
	manager.Store
	reads atomic.Int64
}

func (s *spy) Read(ctx context.Context, queries ...store.Query) (store.Snapshot, error) {
	for _, q := range queries {
		at := q.Key + q.Prefix
		if strings.HasPrefix(at, cluster.PrefixVolumes) || strings.HasPrefix(at, cluster.PrefixSnapshots) {
			s.reads.Add(1)
		}
	}
	return s.Store.Read(ctx, queries...)
}

// oneHost asks for hosts of which something is read, or everything is known.
func oneHost(t *testing.T, s manager.Store, states manager.States, known bool) {
	records := &spy{Store: s}
	c := apitest.NewFollowing(t, records, states)
	c.Pool()
	const host = "nqn.2014-08.org.example:<a>&\"b/ö"
	c.Volume(1, "mine")
	c.Volume(2, "others")
	c.Volume(3, "hidden")
	for id, nqn := range map[int]string{1: host, 2: host + "c"} {
		if _, _, err := c.Manager.Allow(t.Context(), manager.OfVolume(apitest.UUID(id)), nqn, ""); err != nil {
			t.Fatal(err)
		}
	}
	stop := c.Own()
	c.Snapshot(apitest.UUID(2), 10, "s")
	snapshot := manager.OfSnapshot(apitest.UUID(10))
	if _, _, err := c.Manager.Allow(t.Context(), snapshot, host, ""); err != nil {
		t.Fatal(err)
	}
	stop() // it reads records, too
	hosts := func(nqn string) []wire.Host {
		t.Helper()
		before := records.reads.Load()
		got, err := c.Manager.Hosts(t.Context(), nqn)
		if err != nil {
			t.Errorf("the host %q: %v", nqn, err)
		}
		if n := records.reads.Load() - before; (n == 0) != known {
			t.Errorf("the host %q: %d reads of records; they are known from the watch: %v", nqn, n, known)
		}
		return got
	}
	if got := hosts(host); len(got) != 1 || got[0].NQN != host || len(got[0].Access) != 2 ||
		got[0].Access[0].Volume != apitest.UUID(1) || got[0].Access[1].Snapshot != apitest.UUID(10) {
		t.Errorf("the host: %+v", got)
	}
	if all := hosts(""); len(all) != 2 {
		t.Errorf("all hosts: %+v", all)
	}
	connected := []wire.Host{{NQN: host, Connections: []wire.HostConnection{
		{NQN: cluster.VolumeNQN(apitest.UUID(3))}, {NQN: cluster.SnapshotNQN(apitest.UUID(10))},
		{NQN: cluster.VolumeNQN(apitest.UUID(4))}}}}
	before := records.reads.Load()
	if got, err := c.Manager.Connected(t.Context(), connected); err != nil || len(got) != 1 ||
		len(got[0].Connections) != 2 || got[0].Connections[0].Volume != apitest.UUID(3) ||
		got[0].Connections[1].Snapshot != apitest.UUID(10) {
		t.Errorf("its connections: %+v, %v", got, err)
	}
	if n := records.reads.Load() - before; (n == 0) != known {
		t.Errorf("its connections: %d reads of records; they are known from the watch: %v", n, known)
	}
	if err := c.Manager.Revoke(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if got := hosts(host); len(got) != 0 {
		t.Errorf("after everything was taken from it: %+v", got)
	}
	if got := hosts(host + "c"); len(got) != 1 || got[0].Access[0].Volume != apitest.UUID(2) {
		t.Errorf("the other host has lost volume 2: %+v", got)
	}
}
