//go:build e2e && full

package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestPair has two services cinder-volume, active-active, that come to the cluster as a tenant, and meet the
// bounds of its project.
func TestPair(t *testing.T) {
	plan := openstack.NewPlan(t)
	storage := cluster.Start(t, cluster.Options{})
	token, err := storage.API.CreateToken(t.Context(),
		wire.TokenCreate{Name: "cinder", Role: string(auth.Tenant), Project: "cinder"})
	if err != nil {
		t.Fatal(err)
	}
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c := cloud{cluster: storage, plan: plan, Cinder: openstack.Start(t, openstack.Options{
		Plan: plan, Endpoints: endpoints, Token: token.Secret, Pool: cluster.PoolName, Pair: true,
	})}
	t.Run("two services share the work", c.workIsShared)
	t.Run("one of two services is killed", c.oneIsKilled)
	t.Run("the quota of a project is a bound", c.quotaIsBound)
}

// workIsShared has many volumes live at once, and one be the source of many.
func (c cloud) workIsShared(t *testing.T) {
	const many = 4
	ctx, cancel := context.WithTimeout(t.Context(), 2*openstack.Patience)
	defer cancel()
	before, err := c.Calls()
	if err != nil {
		t.Fatal(err)
	}
	source := c.create(t, "source", 1)
	ids := make([]string, 2*many)
	g, gctx := errgroup.WithContext(ctx)
	for i := range many {
		g.Go(func() (err error) { ids[i], err = c.life(gctx, fmt.Sprint("alone-", i)); return err })
		g.Go(func() error {
			v, err := c.CreateFromVolume(gctx, fmt.Sprint("clone-", i), 1, source.ID)
			ids[many+i] = v.ID
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[:many] {
		c.expectSize(t, id, 2)
		c.expectHosts(t, id)
	}
	after, err := c.Calls()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("calls of each: %v, then %v", before, after)
	for i := range after {
		if after[i] <= before[i] {
			t.Errorf("service %d did nothing", i+1)
		}
	}
	c.audit(ctx, t)
	for _, id := range append(ids, source.ID) {
		if err := c.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		c.expectGone(t, id)
	}
}

// life is all that may happen to a volume but its end.
func (c cloud) life(ctx context.Context, name string) (id string, err error) {
	v, err := c.CreateVolume(ctx, name, 1)
	if err != nil {
		return "", err
	}
	a, err := c.Attach(ctx, v.ID, hostA())
	if err != nil {
		return v.ID, err
	}
	s, err := c.CreateSnapshot(ctx, v.ID, name)
	if err != nil {
		return v.ID, err
	}
	if _, err := c.Extend(ctx, v.ID, 2); err != nil {
		return v.ID, err
	}
	return v.ID, errors.Join(c.Detach(ctx, a), c.DeleteSnapshot(ctx, s.ID))
}

// oneIsKilled kills one service with calls of both under way. The other one goes on; what the first had begun
// waits for it.
func (c cloud) oneIsKilled(t *testing.T) {
	const many = 4
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	var ids []string
	for i := range many {
		ids = append(ids, c.create(t, fmt.Sprint("going-", i), 1).ID)
	}
	c.leaveKilled(t, 2*many, func() {
		for i := range many {
			id, err := c.Begin(ctx, fmt.Sprint("coming-", i), "", "")
			if err == nil {
				err = c.BeginDelete(ctx, ids[i])
			}
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
	})
	other := c.create(t, "by-the-other", 1)
	if err := c.Delete(ctx, other.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.StartVolumeService(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		status, err := c.Settled(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("volume %s: %q", id, status)
	}
	c.audit(ctx, t)
	for _, id := range ids {
		if status, err := c.Settled(ctx, id); err != nil || status != "" {
			if err := errors.Join(err, c.Delete(ctx, id)); err != nil {
				t.Fatal(err)
			}
		}
		c.expectGone(t, id)
	}
	c.audit(ctx, t)
}

// quotaIsBound asks for more volumes, and for more bytes, than the project may have in the cluster.
func (c cloud) quotaIsBound(t *testing.T) {
	ctx := t.Context()
	v := c.create(t, "within", 1)
	limit := func(q wire.Quota) {
		t.Helper()
		if _, err := c.cluster.API.SetQuota(ctx, "cinder", q); err != nil {
			t.Fatal(err)
		}
	}
	volumes, size := uint64(1), uint64(gib)
	limit(wire.Quota{Volumes: &volumes, Bytes: &size})
	refused, err := c.CreateVolume(ctx, "one-too-many", 1)
	var status *openstack.StatusError
	if !errors.As(err, &status) || status.Volume.Status != "error" {
		t.Fatalf("a volume over the quota: %v, should be in status error", err)
	}
	c.expectGone(t, refused.ID)
	if _, err := c.Extend(ctx, v.ID, 2); !errors.As(err, &status) || status.Volume.Status != "error_extending" {
		t.Fatalf("an extension over the quota: %v, should be in status error_extending", err)
	}
	c.expectSize(t, v.ID, 1)
	limit(wire.Quota{})
	if err := c.Reset(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Extend(ctx, v.ID, 2); err != nil {
		t.Fatal(err)
	}
	c.expectSize(t, v.ID, 2)
	for _, id := range []string{v.ID, refused.ID} {
		if err := c.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}
