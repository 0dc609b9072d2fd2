//go:build e2e && full

package openstack_test

import (
	"bytes"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestTempest has Tempest judge all that it knows of volumes, with servers, images, backups and a second
// backend to migrate to. Nothing is left in the cluster by that.
func TestTempest(t *testing.T) {
	host := loophost.Start(t)
	parity := 1
	pools := []wire.PoolCreate{{Name: cluster.PoolName, Parity: &parity}, {Name: "second", Parity: &parity}}
	storage := cluster.Start(t, cluster.Options{DiskSize: 4 * gib, Pools: pools})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c := openstack.Start(t, openstack.Options{Endpoints: endpoints, Token: storage.Token,
		Pool: cluster.PoolName, Second: "second", Host: host})
	nova := openstack.StartNova(t, c)
	c.StartBackup(t)
	image, err := nova.CreateImage(t.Context(), "tempest", bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	runTempest(t, c, openstack.TempestOptions{Include: "all.txt", Exclude: "excluded.txt", Workers: 4,
		Nova: nova, Image: image})
	left, err := storage.API.AllVolumes(t.Context(), "", "")
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cluster: %+v, %v", left, err)
	}
}
