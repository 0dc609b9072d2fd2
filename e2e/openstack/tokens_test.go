//go:build e2e && full

package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestTokens has tokens end while the driver is at work: those of Keystone, of which there is always a next
// one, and one of the cluster's own.
func TestTokens(t *testing.T) {
	plan := openstack.NewPlan(t)
	storage := cluster.Start(t, cluster.Options{Settings: []string{
		"--keystone", plan.Clouds(), "--keystone-roles", "service=operator", "--keystone-cache-seconds", "0"}})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c := cloud{cluster: storage, plan: plan, Cinder: openstack.Start(t, openstack.Options{
		Plan: plan, Endpoints: endpoints, Pool: cluster.PoolName, TokenLife: 35 * time.Second,
	})}
	t.Run("of Keystone, amid a call", c.keystoneTokenEnds)
	t.Run("of the cluster", c.ownTokenEnds)
}

// keystoneTokenEnds has a call wait at the nodes for longer than its token is good. The API refuses it then,
// and the driver makes the call with the next token.
func (c cloud) keystoneTokenEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	before := c.create(t, "before-the-end", 1)
	refused := c.logged(t, ": 401 in ")
	calls := c.calls(t)
	for _, n := range c.cluster.Nodes {
		n.Pause()
	}
	id, err := c.Begin(ctx, "over-the-end", "", "")
	c.must(t, err)
	c.cluster.Eventually("the call is under way", func() error {
		if c.calls(t) == calls {
			return errors.New("it is not")
		}
		return nil
	})
	err = c.TokenEnds(ctx, "cinder")
	for _, n := range c.cluster.Nodes {
		n.Resume()
	}
	c.must(t, err)
	if status, err := c.Settled(ctx, id); err != nil || status != "available" {
		t.Errorf("the volume is %q, %v; should be available", status, err)
	}
	if c.logged(t, ": 401 in ") == refused {
		t.Error("the API refused nothing: no token has ended amid a call")
	}
	for _, id := range []string{before.ID, id} {
		c.must(t, c.Delete(ctx, id))
		c.expectGone(t, id)
	}
}

// ownTokenEnds has the log of cinder-volume say that the token is refused, until there is another one.
func (c cloud) ownTokenEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*openstack.Patience)
	defer cancel()
	short, err := c.cluster.API.CreateToken(ctx, wire.TokenCreate{Name: "short", Role: string(auth.Operator),
		ExpiresSeconds: 45})
	c.must(t, err)
	c.must(t, c.UseToken(short.Secret))
	v := c.create(t, "with-a-short-token", 1)
	end, err := time.Parse(time.RFC3339, short.Expires)
	c.must(t, err)
	const why = "401 unauthenticated: "
	c.cluster.Eventually("the token has ended", func() error {
		if time.Now().Before(end) {
			return errors.New("it is good still")
		}
		return nil
	})
	late, err := c.CreateVolume(ctx, "with-an-old-token", 1)
	var status *openstack.StatusError
	if !errors.As(err, &status) || status.Volume.Status != "error" {
		t.Errorf("a volume with a token that has ended: %v, should be in status error", err)
	}
	if c.logged(t, why) == 0 {
		t.Errorf("the log of cinder-volume does not say %q", why)
	}
	long, err := c.cluster.API.CreateToken(ctx, wire.TokenCreate{Name: "long", Role: string(auth.Operator)})
	c.must(t, err)
	c.must(t, c.UseToken(long.Secret))
	for _, id := range []string{v.ID, late.ID} {
		c.must(t, c.Delete(ctx, id))
		c.expectGone(t, id)
	}
	c.audit(ctx, t)
}

// logged counts how often cinder-volume has logged something.
func (c cloud) logged(t *testing.T, what string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.LogDir(), "cinder-volume.log"))
	c.must(t, err)
	return bytes.Count(text, []byte(what))
}
