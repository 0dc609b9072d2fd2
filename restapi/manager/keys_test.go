package manager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// encrypted makes a cluster with the key k1 and an encrypted volume.
func encrypted(t *testing.T) (*apitest.Cluster, wire.Volume) {
	t.Helper()
	c := apitest.New(t)
	c.Pool()
	c.Key("k1")
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k1"}, ""); err != nil {
		t.Fatal(err)
	}
	return c, encryptedVolume(c, 1)
}

func encryptedVolume(c *apitest.Cluster, n int) wire.Volume {
	c.T.Helper()
	v, _, err := c.Manager.CreateVolume(c.T.Context(), wire.VolumeCreate{ID: apitest.UUID(n),
		Name: "secret" + apitest.UUID(n).String(), Pool: "gold", Size: apitest.MiB,
		Encryption: cluster.AES256XTS})
	if err != nil {
		c.T.Fatal(err)
	}
	return v
}

// encryption is what the record of a volume says.
func encryption(c *apitest.Cluster, id cluster.UUID) *cluster.Encryption {
	c.T.Helper()
	snap, err := c.Store.Read(c.T.Context(), store.Key(cluster.KeyVolume(id)))
	if err != nil {
		c.T.Fatal(err)
	}
	var rec cluster.Volume
	if err := json.Unmarshal(snap.One(0).Value, &rec); err != nil {
		c.T.Fatal(err)
	}
	return rec.Encryption
}

// ciphertext is what a data key makes of zeroes: equal for equal keys.
func ciphertext(t *testing.T, k seal.ClusterKey, e *cluster.Encryption) []byte {
	t.Helper()
	d, err := k.Unwrap(e.Wrapped, e.DataKey)
	if err != nil {
		t.Fatal(err)
	}
	x, err := seal.NewCipher(d)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, cluster.LBASize)
	x.Seal(b, 0)
	return b
}

// TestEncryptionFollowsPoolAndVolume: the volume's word counts before the pool's, and the pool's before none.
func TestEncryptionFollowsPoolAndVolume(t *testing.T) {
	c, v := encrypted(t)
	if v.Encryption != cluster.AES256XTS || v.ClusterKey != "k1" {
		t.Errorf("made %+v", v)
	}
	p, _, err := c.Manager.CreatePool(t.Context(), wire.PoolCreate{Name: "safe", Encryption: cluster.AES256XTS})
	if err != nil || p.Encryption != cluster.AES256XTS {
		t.Fatalf("%+v, %v", p, err)
	}
	for i, x := range []struct{ pool, asked, want string }{
		{"gold", "", cluster.EncryptionNone}, {"gold", cluster.EncryptionNone, cluster.EncryptionNone},
		{"gold", cluster.AES256XTS, cluster.AES256XTS}, {"safe", "", cluster.AES256XTS},
		{"safe", cluster.EncryptionNone, cluster.EncryptionNone},
	} {
		r := wire.VolumeCreate{ID: apitest.UUID(10 + i), Name: x.pool + string(rune('a'+i)), Pool: x.pool,
			Size: apitest.MiB, Encryption: x.asked}
		v, _, err := c.Manager.CreateVolume(t.Context(), r)
		if err != nil || v.Encryption != x.want || (v.ClusterKey != "") != (x.want != cluster.EncryptionNone) {
			t.Errorf("%+v: made %+v, %v", x, v, err)
		}
		again, created, err := c.Manager.CreateVolume(t.Context(), r)
		if err != nil || created || again.ETag != v.ETag {
			t.Errorf("%+v: repeated %v, %v", x, created, err)
		}
	}
	_, _, err = c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{Name: "x", Pool: "gold", Size: apitest.MiB,
		Encryption: "rot13"})
	if code(err) != wire.InvalidField {
		t.Errorf("rot13: %v", err)
	}
	c.Audit()
}

// TestVolumesHaveKeysOfTheirOwn, and no key is in the records in the clear.
func TestVolumesHaveKeysOfTheirOwn(t *testing.T) {
	c, v := encrypted(t)
	w := encryptedVolume(c, 2)
	k := c.Keys["k1"]
	a, b := encryption(c, v.ID), encryption(c, w.ID)
	if a.DataKey == b.DataKey || bytes.Equal(ciphertext(t, k, a), ciphertext(t, k, b)) {
		t.Error("two volumes have the same key")
	}
	if all := records(t, c.Store); strings.Contains(all, k.Reveal()) || strings.Contains(all, "key k1") {
		t.Errorf("a cluster key is in the records:\n%s", all)
	}
}

func TestWithoutKeysNothingIsEncrypted(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	r := wire.VolumeCreate{Name: "x", Pool: "gold", Size: apitest.MiB, Encryption: cluster.AES256XTS}
	if _, _, err := c.Manager.CreateVolume(t.Context(), r); code(err) != wire.KeyMissing {
		t.Errorf("no current key: %v", err)
	}
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k9"}, ""); code(err) != wire.KeyMissing {
		t.Errorf("a key that this node does not have: %v", err)
	}
	_, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "a b"}, "")
	if code(err) != wire.InvalidField {
		t.Errorf("no id: %v", err)
	}
	c.Key("k1")
	if _, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k1"}, ""); err != nil {
		t.Fatal(err)
	}
	delete(c.Keys, "k1")
	if _, _, err := c.Manager.CreateVolume(t.Context(), r); code(err) != wire.KeyMissing {
		t.Errorf("this node lost the key: %v", err)
	}
}

// TestRotation: another key becomes current; volumes are wrapped again once every node that is alive has it,
// and their data key stays.
func TestRotation(t *testing.T) {
	c, v := encrypted(t)
	before := ciphertext(t, c.Keys["k1"], encryption(c, v.ID))
	alive, stop := context.WithCancel(t.Context())
	defer stop()
	for n := cluster.NodeID(1); n <= 2; n++ {
		go func() { _ = c.Manager.KeepAlive(alive, n) }()
	}
	has := func(n cluster.NodeID, keys ...string) {
		t.Helper()
		if err := c.Manager.PublishStats(t.Context(), cluster.NodeStats{Node: n, Keys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	c.Key("k2")
	has(1, "k1", "k2")
	has(2, "k1")
	has(3) // not alive
	waitFor(t, "both nodes are alive", func() bool {
		k, err := c.Manager.RotateKey(t.Context(), wire.KeyRotation{To: "k2"}, "")
		if err != nil || len(k.Keys) != 2 || k.Current != "k2" || k.Keys[0].Volumes != 1 ||
			k.Keys[1].Volumes != 0 {
			t.Fatalf("%+v, %v", k, err)
		}
		return len(k.Keys[1].Missing) == 1 && k.Keys[1].Missing[0] == 2 && len(k.Keys[0].Missing) == 0
	})
	if _, err := c.Manager.RewrapVolume(t.Context(), v.ID); code(err) != wire.KeyMissing {
		t.Errorf("wrapped again although node 2 lacks the key: %v", err)
	}
	has(2, "k1", "k2")
	for _, want := range []bool{true, false} {
		if changed, err := c.Manager.RewrapVolume(t.Context(), v.ID); err != nil || changed != want {
			t.Fatalf("changed %v, %v", changed, err)
		}
	}
	e := encryption(c, v.ID)
	if e.ClusterKey != "k2" || !bytes.Equal(ciphertext(t, c.Keys["k2"], e), before) {
		t.Errorf("the data key changed: %+v", e)
	}
	if _, err := c.Keys["k1"].Unwrap(e.Wrapped, e.DataKey); err == nil {
		t.Error("the former key still opens it")
	}
	if k, err := c.Manager.Keys(t.Context()); err != nil || len(k.Keys) != 1 || k.Keys[0].Volumes != 1 {
		t.Errorf("%+v, %v", k, err)
	}
	c.Audit()
}

// TestDestroyKey: not while a host may use the volume, nor while a clone needs the key; then it is gone.
func TestDestroyKey(t *testing.T) {
	c, v := encrypted(t)
	ctx := t.Context()
	plain := c.Volume(5, "plain")
	if err := c.Manager.DestroyKey(ctx, plain.ID, ""); code(err) != wire.NotSupported {
		t.Errorf("a volume without a key: %v", err)
	}
	if _, _, err := c.Manager.Allow(ctx, manager.OfVolume(v.ID), apitest.HostA, ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Manager.DestroyKey(ctx, v.ID, ""); code(err) != wire.VolumeExported {
		t.Errorf("an exported volume: %v", err)
	}
	if err := c.Manager.DisallowAll(ctx, manager.OfVolume(v.ID), ""); err != nil {
		t.Fatal(err)
	}
	shared(c, v.ID, plain.ID)
	if err := c.Manager.DestroyKey(ctx, v.ID, ""); code(err) != wire.Conflict {
		t.Errorf("a key that another volume needs: %v", err)
	}
	if err := c.Manager.DeleteVolume(ctx, plain.ID, "", false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Manager.DestroyKey(ctx, v.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	if e := encryption(c, v.ID); len(e.Wrapped) > 0 || e.Validate() != nil {
		t.Errorf("left: %+v", e)
	}
	now, err := c.Manager.Volume(ctx, v.ID)
	if err != nil || now.Encryption != cluster.AES256XTS || now.ClusterKey != "" {
		t.Errorf("shown: %+v, %v", now, err)
	}
	if changed, err := c.Manager.RewrapVolume(ctx, v.ID); changed || err != nil {
		t.Errorf("wrapped again: %v, %v", changed, err)
	}
}

// shared gives a volume the encryption of another, as a clone has it.
func shared(c *apitest.Cluster, from, to cluster.UUID) {
	c.T.Helper()
	snap, err := c.Store.Read(c.T.Context(), store.Key(cluster.KeyVolume(to)))
	if err != nil {
		c.T.Fatal(err)
	}
	var rec cluster.Volume
	if err := json.Unmarshal(snap.One(0).Value, &rec); err != nil {
		c.T.Fatal(err)
	}
	rec.Encryption = encryption(c, from)
	text, err := json.Marshal(rec)
	if err != nil {
		c.T.Fatal(err)
	}
	key := cluster.KeyVolume(to)
	if _, err := c.Store.Commit(c.T.Context(), store.Txn{If: []store.Cond{{Key: key, Rev: snap.One(0).Rev}},
		Put: []store.Put{{Key: key, Value: text}}}); err != nil {
		c.T.Fatal(err)
	}
}

// TestARefusalIsWhyAVolumeIsDegraded: the node that should serve it says why it does not.
func TestARefusalIsWhyAVolumeIsDegraded(t *testing.T) {
	c, v := encrypted(t)
	now := func() wire.Volume {
		t.Helper()
		x, err := c.Manager.Volume(t.Context(), v.ID)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if h := now().Health; h != wire.OK {
		t.Errorf("before anybody served it: %v", h)
	}
	for n := cluster.NodeID(1); n <= 3; n++ {
		if err := c.Manager.PublishStats(t.Context(), cluster.NodeStats{Node: n, Volumes: []cluster.VolumeStats{
			{Key: cluster.VolumeKey{VUID: v.VUID, Generation: v.Generation}, State: "refusing",
				Reason: "nobody has cluster key k1"}}}); err != nil {
			t.Fatal(err)
		}
	}
	x := now()
	if x.Health != wire.Degraded || !strings.Contains(strings.Join(x.Reasons, " "), "cluster key k1") {
		t.Errorf("%v %q", x.Health, x.Reasons)
	}
}
