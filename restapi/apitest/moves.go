package apitest

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// Alive makes nodes look alive, until the test ends.
func (c *Cluster) Alive(nodes ...cluster.NodeID) {
	c.T.Helper()
	for _, n := range nodes {
		key := cluster.KeyNodeAlive(n)
		value := []byte(strconv.Quote("now"))
		if _, err := c.Store.Commit(c.T.Context(), store.Txn{Put: []store.Put{{Key: key, Value: value}},
			Blind: []string{key}}); err != nil {
			c.T.Fatal(err)
		}
	}
}

// Served has the gateway that a new volume was given to serve it.
func (c *Cluster) Served(key cluster.VolumeKey) {
	c.T.Helper()
	arbiter := store.NewArbiter(c.Store)
	owner, rev, err := arbiter.Owner(c.T.Context(), key)
	if err == nil {
		owner.Epoch, owner.Served = 1, 1
		_, err = arbiter.SwapOwner(c.T.Context(), key, rev, owner)
	}
	if err != nil {
		c.T.Fatal(err)
	}
}

// move has nodes take over what they are asked to.
func (c *Cluster) move(ctx context.Context, arbiter *store.Arbiter) error {
	read, err := c.Store.Read(ctx, store.All(cluster.PrefixVolumes))
	if err != nil {
		return err
	}
	for _, it := range read.Results[0].Items {
		var rec cluster.Volume
		if err := json.Unmarshal(it.Value, &rec); err != nil {
			return err
		}
		if rec.Move == nil {
			continue
		}
		owner, rev, err := arbiter.Owner(ctx, rec.Key)
		if err != nil {
			return err
		}
		if !rec.Move.Pending(&owner) {
			continue
		}
		owner.Gateway, owner.Epoch = rec.Move.Node, owner.Epoch+1
		owner.Served = owner.Epoch
		if _, err := arbiter.SwapOwner(ctx, rec.Key, rev, owner); err != nil {
			return err
		}
	}
	return nil
}
