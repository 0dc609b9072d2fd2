package manager_test

import (
	"context"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/dataplane/watch"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// TestOneHost: whoever asks for a host gets what that one may attach, and nothing of hosts whose names begin
// with its name, or of things that are called like it; whatever characters the name has.
// It reads all records, or knows them from the node's watch.
func TestOneHost(t *testing.T) {
	t.Run("read", func(t *testing.T) { oneHost(t, apitest.New(t)) })
	t.Run("followed", func(t *testing.T) {
		etcd := etcdtest.Run(t).Client()
		log := logrus.New()
		log.SetOutput(io.Discard)
		w, err := watch.New(watch.Options{Client: etcd, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = w.Run(t.Context()) }()
		states := &counted{States: w}
		oneHost(t, apitest.NewFollowing(t, store.NewEtcd(etcd), states))
		if states.known == 0 {
			t.Error("the watch was never up with the store")
		}
	})
}

// TestHostsWhileTheWatchIsAway: what the node does not know in time is read.
func TestHostsWhileTheWatchIsAway(t *testing.T) {
	oneHost(t, apitest.NewFollowing(t, store.NewMem(), away{}))
}

// away is a watch that never catches up.
type away struct{}

func (away) At(ctx context.Context, _ int64) (*cluster.State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// counted counts how often what it follows was up with the store.
type counted struct {
	manager.States
	known int
}

func (c *counted) At(ctx context.Context, revision int64) (*cluster.State, error) {
	s, err := c.States.At(ctx, revision)
	if err == nil {
		c.known++
	}
	return s, err
}

func oneHost(t *testing.T, c *apitest.Cluster) {
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
	defer c.Own()()
	c.Snapshot(apitest.UUID(2), 10, "s")
	snapshot := manager.OfSnapshot(apitest.UUID(10))
	if _, _, err := c.Manager.Allow(t.Context(), snapshot, host, ""); err != nil {
		t.Fatal(err)
	}
	got, err := c.Manager.Hosts(t.Context(), host)
	if err != nil || len(got) != 1 || got[0].NQN != host || len(got[0].Access) != 2 ||
		got[0].Access[0].Volume != apitest.UUID(1) || got[0].Access[1].Snapshot != apitest.UUID(10) {
		t.Errorf("the host: %+v, %v", got, err)
	}
	if all, err := c.Manager.Hosts(t.Context(), ""); err != nil || len(all) != 2 {
		t.Errorf("all hosts: %+v, %v", all, err)
	}
	if err := c.Manager.Revoke(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Manager.Hosts(t.Context(), host); err != nil || len(got) != 0 {
		t.Errorf("after everything was taken from it: %+v, %v", got, err)
	}
	var left cluster.UUID
	if got, err := c.Manager.Hosts(t.Context(), host+"c"); err == nil && len(got) == 1 {
		left = got[0].Access[0].Volume
	}
	if left != apitest.UUID(2) {
		t.Errorf("the other host has lost volume 2")
	}
}
