package manager_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// useKey makes a cluster key the current one, which node 1 then says to have.
func useKey(c *apitest.Cluster, id string) {
	c.T.Helper()
	c.Key(id)
	if _, err := c.Manager.RotateKey(c.T.Context(), wire.KeyRotation{To: id}, ""); err != nil {
		c.T.Fatal(err)
	}
	var held []string
	for k := range c.Keys {
		held = append(held, k)
	}
	if err := c.Manager.PublishStats(c.T.Context(), cluster.NodeStats{Node: 1, Keys: held}); err != nil {
		c.T.Fatal(err)
	}
}

// authority is the record, which must be one that can be opened.
func authority(c *apitest.Cluster) cluster.Authority {
	c.T.Helper()
	rec, err := c.Manager.Authority(c.T.Context())
	if err == nil {
		_, err = manager.OpenAuthority(c.T.Context(), c.Keys, &rec)
	}
	if err != nil {
		c.T.Fatal(err)
	}
	return rec
}

// expectWrapped looks whether an authority is wrapped with a cluster key, and none in clear in the records.
func expectWrapped(c *apitest.Cluster, rec cluster.AuthorityKey, by string) {
	c.T.Helper()
	if rec.ClusterKey != by || rec.Key != "" || len(rec.Wrapped) == 0 {
		c.T.Errorf("wrapped with %q, in clear: %v", rec.ClusterKey, rec.Key != "")
	}
	if strings.Contains(records(c.T, c.Store), "PRIVATE KEY") {
		c.T.Error("a key is in the records")
	}
}

// TestAuthorityIsWrapped as soon as there is a cluster key, and again when that is replaced; nodes follow it,
// and the certificate stays.
func TestAuthorityIsWrapped(t *testing.T) {
	c := apitest.New(t)
	alive(t, c, 1)
	if changed, err := c.Manager.RewrapAuthority(t.Context()); changed || err != nil {
		t.Errorf("without an authority: %v, %v", changed, err)
	}
	first := authority(c)
	certificate := first.Certificate
	if first.Key == "" {
		t.Fatal("it is wrapped with nothing")
	}
	for n, id := range []string{"k1", "k2"} {
		useKey(c, id)
		for i, want := range []bool{true, false} {
			if changed, err := c.Manager.RewrapAuthority(t.Context()); changed != want || err != nil {
				t.Fatalf("%s, time %d: %v, %v", id, i, changed, err)
			}
		}
		now := authority(c)
		expectWrapped(c, now.AuthorityKey, id)
		if now.Generation != uint64(n+1) || now.Certificate != certificate {
			t.Errorf("generation %d, the same certificate: %v", now.Generation, now.Certificate == certificate)
		}
	}
	keys, err := c.Manager.Keys(t.Context())
	if err != nil || len(keys.Keys) != 1 || !keys.Keys[0].Authority {
		t.Errorf("in use: %+v, %v", keys.Keys, err)
	}
}

// TestAuthorityIsDrawnWrapped where there is a cluster key already: the first one, and one that replaces it.
func TestAuthorityIsDrawnWrapped(t *testing.T) {
	r := replacing{apitest.New(t), t}
	useKey(r.Cluster, "k1")
	before := authority(r.Cluster)
	expectWrapped(r.Cluster, before.AuthorityKey, "k1")
	if _, err := r.rotate(0, false); err != nil {
		t.Fatal(err)
	}
	expectWrapped(r.Cluster, authority(r.Cluster).Next.AuthorityKey, "k1")
	useKey(r.Cluster, "k2")
	if changed, err := r.Manager.RewrapAuthority(t.Context()); !changed || err != nil {
		t.Fatalf("both: %v, %v", changed, err)
	}
	expectWrapped(r.Cluster, authority(r.Cluster).Next.AuthorityKey, "k2")
	for range 3 {
		r.follow(1)
		r.advance()
	}
	now := authority(r.Cluster)
	expectWrapped(r.Cluster, now.AuthorityKey, "k2")
	if now.Stage() != cluster.AuthoritySettled || now.Certificate == before.Certificate {
		t.Errorf("%s, the same certificate: %v", now.Stage(), now.Certificate == before.Certificate)
	}
}

// TestALockedAuthority: while this node does not have the cluster key, what needs the authority's own is
// refused with the code that says so; an authority that is lost with a cluster key can be replaced.
func TestALockedAuthority(t *testing.T) {
	r := replacing{apitest.New(t), t}
	alive(t, r.Cluster, 1)
	useKey(r.Cluster, "k1")
	rec := authority(r.Cluster)
	delete(r.Keys, "k1")
	if _, err := manager.OpenAuthority(t.Context(), r.Keys, &rec); !manager.IsKeyMissing(err) {
		t.Errorf("opened: %v", err)
	}
	if _, err := r.rotate(time.Hour, false); code(err) != wire.KeyMissing {
		t.Errorf("drew another: %v", err)
	}
	useKey(r.Cluster, "k2")
	if changed, err := r.Manager.RewrapAuthority(t.Context()); changed || code(err) != wire.KeyMissing {
		t.Errorf("wrapped again: %v, %v", changed, err)
	}
	if _, err := r.rotate(0, false); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.follow(1)
		r.advance()
	}
	expectWrapped(r.Cluster, authority(r.Cluster).AuthorityKey, "k2")
}
