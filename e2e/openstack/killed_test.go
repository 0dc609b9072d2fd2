//go:build e2e && full

package openstack_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestKilled kills cinder-volume in the middle of every call of the driver: before the driver has done
// anything, between two calls of the cluster, and when all is done and only Cinder does not know. Then what
// an operator does puts the rest right, and the cluster has nothing more and nothing less than Cinder.
func TestKilled(t *testing.T) {
	host := loophost.Start(t)
	plan := openstack.NewPlan(t)
	parity := 1
	storage := cluster.Start(t, cluster.Options{DiskSize: 2 * gib, Pools: []wire.PoolCreate{
		{Name: cluster.PoolName, Parity: &parity}, {Name: otherPool, Parity: &parity}}})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	l := library{host: host, cloud: cloud{cluster: storage, plan: plan, Cinder: openstack.Start(t,
		openstack.Options{Plan: plan, Endpoints: endpoints, Token: storage.Token, Pool: cluster.PoolName,
			Host: host, Images: true, Second: cluster.PoolName + "," + otherPool, Watched: true})}}
	l.Glance = openstack.StartGlance(t, l.Cinder)
	l.StartBackup(t)
	if err := l.Specify(t.Context(), inFirst()); err != nil {
		t.Fatal(err)
	}
	l.must(t, l.CreateType(t.Context(), "movable", nil))
	t.Run("amid what makes and deletes", l.volumeServiceKilled)
	t.Run("amid changes", l.changesKilled)
	t.Run("amid calls about groups", l.groupCallsKilled)
	t.Run("amid a detach, and lists", l.answersKilled)
	t.Run("amid taking over", l.managingKilled)
	t.Run("amid letting go", l.unmanagingKilled)
	t.Run("amid a move without a copy", l.moveKilled)
	t.Run("amid a move with a copy", l.copyKilled)
	t.Run("amid a download", l.downloadKilled)
	t.Run("amid a clone of an image", l.imageCloneKilled)
	t.Run("amid an upload", l.uploadKilled)
	t.Run("amid a backup", l.backupKilled)
	t.Run("no call was left out", l.everyCallIsMet)
}

// everyCallIsMet checks that each method of the driver was under way at a kill, or is spared with a reason.
func (l library) everyCallIsMet(t *testing.T) {
	text, err := os.ReadFile("watched/spared.txt")
	if err != nil {
		t.Fatal(err)
	}
	spared := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, why, ok := strings.Cut(strings.TrimSpace(line), " # "); ok && why != "" {
			spared[name] = true
		}
	}
	calls, err := l.DriverCalls(t.Context())
	if err != nil || len(calls) == 0 {
		t.Fatalf("calls of the driver: %v, %v", calls, err)
	}
	met := l.Met()
	t.Logf("killed amid %v", met)
	for _, name := range calls {
		if met[name] == 0 && !spared[name] {
			t.Errorf("cinder-volume was never killed amid %s", name)
		}
	}
	for name := range spared {
		if !slices.Contains(calls, name) {
			t.Errorf("%s is spared, but nobody calls it", name)
		}
	}
}

// killAt has calls of the driver wait at moments, kills cinder-volume when all of them do, and starts it
// again.
func (c cloud) killAt(t *testing.T, moments []string, begin func()) {
	t.Helper()
	c.Hold(moments...)
	begin()
	if err := c.AllHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.killNow(t)
}

func (c cloud) killNow(t *testing.T) {
	t.Helper()
	if err := c.KillVolumeService(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartVolumeService(); err != nil {
		t.Fatal(err)
	}
}

// both are the moments of calls to be killed at, one round each.
func both(calls ...string) (rounds [][]string) {
	for _, when := range []string{"before ", "after "} {
		var round []string
		for _, name := range calls {
			round = append(round, when+name)
		}
		rounds = append(rounds, round)
	}
	return rounds
}

// unanswered makes calls that nobody is left to answer, and returns what ends them.
func unanswered(ctx context.Context, calls ...func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{}, len(calls))
	for _, call := range calls {
		go func() {
			call(ctx)
			done <- struct{}{}
		}()
	}
	return func() {
		cancel()
		for range calls {
			<-done
		}
	}
}

// answersKilled is about calls whose answer somebody waits for. A detach can be asked for again.
func (l library) answersKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	for _, moments := range both("terminate_connection", "get_manageable_volumes", "get_manageable_snapshots") {
		v := l.create(t, "detached", 1)
		a := l.attach(t, v.ID)
		var end func()
		l.killAt(t, moments, func() {
			end = unanswered(ctx,
				func(ctx context.Context) { _ = l.Detach(ctx, a) },
				func(ctx context.Context) { _, _ = l.ManageableVolumes(ctx) },
				func(ctx context.Context) { _, _ = l.ManageableSnapshots(ctx) })
		})
		end()
		l.must(t, l.Detach(ctx, a))
		l.expectHosts(t, v.ID)
		l.audit(ctx, t)
		l.must(t, l.Delete(ctx, v.ID))
		l.expectGone(t, v.ID)
	}
}

// managingKilled is about volumes and snapshots that were there before Cinder. What Cinder has of them is not
// theirs: it goes away without them, and they can be taken over anew.
func (l library) managingKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	sizes := []string{"before manage_existing_get_size", "before manage_existing_snapshot_get_size"}
	rounds := append([][]string{sizes},
		both("manage_existing", "manage_existing_snapshot")...)
	for _, moments := range rounds {
		stranger := l.cluster.CreateVolume("stranger", gib)
		v := l.create(t, "with-a-stranger", 1)
		snap, err := l.cluster.API.CreateSnapshot(ctx, wire.SnapshotCreate{Volume: parse(t, v.ID), Name: "ours"})
		l.must(t, err)
		var managed, managedSnapshot string
		l.killAt(t, moments, func() {
			managed, err = l.BeginManage(ctx, stranger.ID.String())
			l.must(t, err)
			managedSnapshot, err = l.BeginManageSnapshot(ctx, v.ID, snap.ID.String())
			l.must(t, err)
		})
		l.audit(ctx, t)
		l.must(t, l.ResetTo(ctx, managed, "error"))
		l.must(t, l.Delete(ctx, managed))
		l.must(t, l.EndSnapshot(ctx, managedSnapshot))
		again, err := l.Manage(ctx, stranger.ID.String())
		l.must(t, err)
		s, err := l.ManageSnapshot(ctx, v.ID, snap.ID.String())
		l.must(t, err)
		l.audit(ctx, t)
		l.must(t, l.DeleteSnapshot(ctx, s.ID))
		for _, id := range []string{again.ID, v.ID} {
			l.must(t, l.Delete(ctx, id))
		}
		l.expectGone(t, stranger.ID.String())
		l.expectGone(t, v.ID)
	}
}

// unmanagingKilled is about letting go, which can be asked for again. Nothing is deleted.
func (l library) unmanagingKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	data := random(64 << 10)
	for _, moments := range both("unmanage", "unmanage_snapshot") {
		stranger, v := l.cluster.CreateVolume("let-go", gib), l.create(t, "snapped", 1)
		managed, err := l.Manage(ctx, stranger.ID.String())
		l.must(t, err)
		l.put(ctx, t, managed.ID, data)
		s := l.snap(t, v.ID, "let-go")
		l.killAt(t, moments, func() {
			l.must(t, l.BeginUnmanage(ctx, "volumes", managed.ID))
			l.must(t, l.BeginUnmanage(ctx, "snapshots", s.ID))
		})
		l.audit(ctx, t)
		l.must(t, l.ResetTo(ctx, managed.ID, "available"))
		l.must(t, l.ResetSnapshot(ctx, s.ID))
		l.expectData(ctx, t, managed.ID, data)
		l.must(t, l.Unmanage(ctx, managed.ID))
		l.must(t, l.UnmanageSnapshot(ctx, s.ID))
		if got := l.readSnapshot(ctx, t, s.ID, 4096); !bytes.Equal(got, make([]byte, 4096)) {
			t.Error("the snapshot is another one")
		}
		l.must(t, l.cluster.API.DeleteSnapshot(ctx, parse(t, s.ID), ""))
		l.must(t, l.cluster.API.DeleteVolume(ctx, stranger.ID, ""))
		l.must(t, l.Delete(ctx, v.ID))
	}
}

func (c cloud) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
