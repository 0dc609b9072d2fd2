package apitest

import (
	"context"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// ClusterKeys are the cluster keys that a node has, by id.
type ClusterKeys map[string]seal.ClusterKey

// Key implements manager.Keys.
func (k ClusterKeys) Key(_ context.Context, id string) (seal.ClusterKey, error) {
	key, ok := k[id]
	if !ok {
		return key, fmt.Errorf("there is no key %q", id)
	}
	return key, nil
}

// Key gives the node a key, which follows from its id.
func (c *Cluster) Key(id string) seal.ClusterKey {
	c.T.Helper()
	raw := make([]byte, seal.ClusterKeySize)
	copy(raw, "key "+id)
	k, err := seal.ClusterKeyFrom(raw)
	if err != nil {
		c.T.Fatal(err)
	}
	c.Keys[id] = k
	return k
}
