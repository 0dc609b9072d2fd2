//go:build e2e && full

package openstack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// keeper is the user by whom nodes ask for keys: a reader of another project than that of the keys, who may
// have what he was allowed by name.
const keeper = "keeper"

// locked is a cluster whose keys are Barbican's.
type locked struct {
	keys    *openstack.KeyManager
	cluster *cluster.Cluster
	first   string // ids of keys
	second  string
}

func startLocked(t *testing.T) *locked {
	ctx := t.Context()
	i := openstack.StartIdentity(t)
	l := &locked{keys: openstack.StartKeyManager(t, i)}
	if _, err := i.AddUser(ctx, keeper, "storage", "reader"); err != nil {
		t.Fatal(err)
	}
	clouds, err := i.AddCloud(keeper, "storage")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", clouds)
	for _, key := range []*string{&l.first, &l.second} {
		if *key, err = l.keys.NewKey(ctx, "ashlar"); err != nil {
			t.Fatal(err)
		}
	}
	l.cluster = cluster.Start(t, cluster.Options{Settings: []string{"--key-cloud", keeper}})
	return l
}

// TestBarbican has a real Barbican keep the cluster's keys: nodes get them with the rights of a user who has
// no others, do without it while they run, wait for it when they start, and change the key.
func TestBarbican(t *testing.T) {
	l := startLocked(t)
	l.refusesKeys(t)
	l.use(t, l.first)
	data := random(1 << 20)
	secret, plain := l.volume(t, "secret", model.AES256XTS), l.volume(t, "plain", model.EncryptionNone)
	for _, v := range []wire.Volume{secret, plain} {
		if err := l.open(t, v).Write(t.Context(), data, 0); err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
	}

	t.Run("nodes that have the key go on without Barbican", func(t *testing.T) {
		if err := l.keys.Kill(); err != nil {
			t.Fatal(err)
		}
		owner := l.cluster.Owner(secret.ID)
		owner.Kill()
		l.reads(t, secret, data)
		owner.Restart()
		l.cluster.Back(owner)
	})
	t.Run("nodes that start wait for it", func(t *testing.T) {
		l.restart(t)
		l.reads(t, plain, data)
		l.cluster.Eventually("the cluster says why the volume is not served", func() error {
			v, err := l.cluster.API.GetVolume(t.Context(), secret.ID)
			if err == nil && (v.Health != wire.Degraded || !strings.Contains(fmt.Sprint(v.Reasons), "key manager")) {
				err = fmt.Errorf("it is %s: %q", v.Health, v.Reasons)
			}
			return err
		})
		if err := l.keys.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.reads(t, secret, data)
		l.cluster.Healthy()
	})
	t.Run("a new key takes the place of the old one", func(t *testing.T) {
		l.use(t, l.second)
		l.unused(t, l.first)
		l.hunt(t, l.first) // while it can still be had
		if err := l.keys.Delete(t.Context(), l.first); err != nil {
			t.Fatal(err)
		}
		l.restart(t)
		l.reads(t, secret, data)
		l.cluster.Healthy()
	})
	l.hunt(t, l.second)
}

// refusesKeys asks for keys that are not to be had.
func (l *locked) refusesKeys(t *testing.T) {
	for id, want := range map[string]string{
		l.first:                                "status 403",
		"00000000-0000-4000-8000-000000000000": "no secret",
	} {
		_, err := l.cluster.API.RotateKey(t.Context(), wire.KeyRotation{To: id})
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != wire.KeyMissing || !strings.Contains(err.Error(), want) {
			t.Errorf("use key %s: %v, should say %q", id, err, want)
		}
	}
}

// use lets the nodes have a key, and waits until all of them do.
func (l *locked) use(t *testing.T, id string) {
	t.Helper()
	if err := l.keys.Allow(t.Context(), id, keeper); err != nil {
		t.Fatal(err)
	}
	l.cluster.Eventually("the key is current", func() error {
		_, err := l.cluster.API.RotateKey(t.Context(), wire.KeyRotation{To: id})
		return err
	})
	l.cluster.Eventually("all nodes have the key", func() error {
		keys, err := l.cluster.API.ListKeys(t.Context())
		for _, k := range keys.Keys {
			if k.Current && len(k.Missing) > 0 || k.Current != (k.ID == id) {
				err = fmt.Errorf("there is %+v", keys.Keys)
			}
		}
		return err
	})
}

// unused waits until nothing is wrapped with a key any more.
func (l *locked) unused(t *testing.T, id string) {
	t.Helper()
	l.cluster.Eventually("the old key wraps nothing", func() error {
		keys, err := l.cluster.API.ListKeys(t.Context())
		for _, k := range keys.Keys {
			if k.ID == id {
				err = fmt.Errorf("it wraps the keys of %d volumes", k.Volumes)
			}
		}
		return err
	})
}

func (l *locked) volume(t *testing.T, name, encryption string) wire.Volume {
	t.Helper()
	v, err := l.cluster.API.CreateVolume(t.Context(), wire.VolumeCreate{Name: name, Pool: cluster.PoolName,
		Size: 64 << 20, Encryption: encryption})
	if err == nil {
		_, err = l.cluster.API.PutExport(t.Context(), v.ID, hostA().NQN)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// open connects a host to all nodes, until the test ends.
func (l *locked) open(t *testing.T, v wire.Volume) *initiator.Volume {
	t.Helper()
	info := openstack.ConnectionInfo{TargetNQN: v.NQN}
	c := initiator.VolumeConfig{Config: hostConfig(info, hostA().NQN), GiveUp: openstack.Patience}
	for _, n := range l.cluster.Nodes {
		c.Portals = append(c.Portals, net.JoinHostPort(n.Address, strconv.Itoa(n.Hosts)))
	}
	host, err := initiator.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("connect to %s: %v", v.Name, err)
	}
	t.Cleanup(func() { _ = host.Close() })
	return host
}

func (l *locked) reads(t *testing.T, v wire.Volume, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	err := l.open(t, v).Read(t.Context(), got, 0)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v, as written: %v", v.Name, err, bytes.Equal(got, want))
	}
}

// restart has all nodes forget what they know, at once.
func (l *locked) restart(t *testing.T) {
	t.Helper()
	for _, n := range l.cluster.Nodes {
		n.Kill()
	}
	for _, n := range l.cluster.Nodes {
		n.Restart()
	}
	for _, n := range l.cluster.Nodes {
		l.cluster.Back(n)
	}
}

// hunt looks for a key, in any form, in what nodes write: etcd, logs, audit, state. Its id, which is no
// secret, is found in the same way.
func (l *locked) hunt(t *testing.T, id string) {
	t.Helper()
	key, err := l.keys.Payload(t.Context(), id)
	if err != nil || len(key) != 32 {
		t.Fatalf("payload of %d bytes, %v", len(key), err)
	}
	named := 0
	for _, n := range l.cluster.Nodes {
		err := filepath.WalkDir(filepath.Dir(n.DataDir()), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // etcd takes its files away
			}
			if bytes.Contains(text, []byte(id)) {
				named++
			}
			for form, secret := range map[string][]byte{"bytes": key, "hex": []byte(hex.EncodeToString(key)),
				"base64": []byte(base64.StdEncoding.EncodeToString(key))} {
				if bytes.Contains(text, secret) {
					t.Errorf("%s has the key, as %s", path, form)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if named < 2*len(l.cluster.Nodes) {
		t.Errorf("only %d files name the key: etcd and logs should", named)
	}
}
