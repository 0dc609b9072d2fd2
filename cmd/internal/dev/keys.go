package dev

import (
	"context"
	"crypto/rand"
	"path/filepath"

	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// firstKey is the cluster key of a new development cluster.
const firstKey = "dev-1"

// makeKey makes the key file of a cluster, unless it is there.
func makeKey(dir string) (path string, err error) {
	f := keyring.File{Path: filepath.Join(dir, "keys")}
	if _, err := f.Keys(); err == nil {
		return f.Path, nil
	}
	k, err := seal.NewClusterKey(rand.Reader)
	if err != nil {
		return "", err
	}
	return f.Path, f.Add(firstKey, k)
}

// useKey makes the cluster wrap data keys with the key, unless it has another one already.
func (d *devCluster) useKey(ctx context.Context) error {
	return d.retry(ctx, "set the cluster key", func() error {
		k, err := d.api.ListKeys(ctx)
		if err == nil && k.Current == "" {
			_, err = d.api.RotateKey(ctx, wire.KeyRotation{To: firstKey})
		}
		return err
	})
}
