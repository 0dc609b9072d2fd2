package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// keyFile makes a key file with a new key.
func keyFile(t *testing.T, id string) string {
	t.Helper()
	k, err := seal.NewClusterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := keyring.File{Path: filepath.Join(t.TempDir(), "keys")}
	if err := f.Add(id, k); err != nil {
		t.Fatal(err)
	}
	return f.Path
}

// replaceFile puts what one file holds in the place of another.
func replaceFile(t *testing.T, path, by string) {
	t.Helper()
	text, err := os.ReadFile(by)
	if err == nil {
		err = writeFile(path, text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// isWrapped looks at what a node keeps of the authority's record.
func isWrapped(o Options, by string) error {
	text, err := os.ReadFile(filepath.Join(o.DataDir, issuerFile))
	if err != nil {
		return err
	}
	var rec cluster.Authority
	if err := json.Unmarshal(text, &rec); err != nil {
		return err
	}
	if rec.ClusterKey != by || bytes.Contains(text, []byte("PRIVATE KEY")) {
		return errors.New("it is not wrapped with " + by)
	}
	return nil
}

// TestTheAuthorityIsLocked by a cluster key, on the disk of the node, too. While that key cannot be had, a
// node that has a certificate starts with it, one that has none waits, and so does one that wants to join.
func TestTheAuthorityIsLocked(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	good, bad := keyFile(t, "k1"), keyFile(t, "other")
	now := filepath.Join(t.TempDir(), "now")
	replaceFile(t, now, good)
	a := encryptedOptions(t, "a")
	a.KeyFile = now
	pa := start(t, a)
	c, fingerprint := trusting(t, ctx, a)
	if _, err := c.RotateKey(ctx, wire.KeyRotation{To: "k1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "the authority is wrapped", func() error { return isWrapped(a, "k1") })

	restart := func() {
		pa.stop(t)
		a.First = First{}
		pa = start(t, a)
	}
	replaceFile(t, now, bad)
	restart()
	eventually(t, ctx, "it is back with the certificate that it had", func() error { return online(ctx, c, 1) })

	b := joiner(t, ctx, c, a, fingerprint, "b")
	b.KeyFile = good
	if _, err := c.RotateKey(ctx, wire.KeyRotation{To: "k1"}); !missing(err) {
		t.Errorf("the node finds the key that was taken away: %v", err)
	}
	start(t, b)
	replaceFile(t, now, good)
	eventually(t, ctx, "the other one joins when the key is there", func() error { return online(ctx, c, 2) })
	eventually(t, ctx, "it has the record as it is in etcd", func() error { return isWrapped(b, "k1") })

	replaceFile(t, now, bad)
	if err := os.Remove(filepath.Join(a.DataDir, nodeFile)); err != nil {
		t.Fatal(err)
	}
	restart()
	_ = pause(ctx, time.Second) // time enough to do what it must not
	if _, err := os.Stat(filepath.Join(a.DataDir, nodeFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it made a certificate without a key: %v", err)
	}
	replaceFile(t, now, good)
	eventually(t, ctx, "it is back when the key is there", func() error { return online(ctx, c, 2) })
}

func missing(err error) bool {
	var answer *client.Error
	return errors.As(err, &answer) && answer.Code == wire.KeyMissing
}
