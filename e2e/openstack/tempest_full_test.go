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
	useOnce(t, c, nova, image)
	runTempest(t, c, openstack.TempestOptions{Include: "all.txt", Exclude: "excluded.txt", Workers: 3,
		Nova: nova, Image: image})
	left, err := storage.API.AllVolumes(t.Context(), "", "")
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cluster: %+v, %v", left, err)
	}
}

// useOnce has every service attach a volume once: the helper processes of os-brick that each starts may hang
// for ten minutes when what they are asked first is asked by several at once.
func useOnce(t *testing.T, c *openstack.Cinder, nova *openstack.Nova, image string) {
	t.Helper()
	ctx := t.Context()
	v, err := nova.CreateFromImage(ctx, "once", 1, image)
	if err != nil {
		t.Fatal(err)
	}
	s, err := nova.Boot(ctx, "once", image)
	if err != nil {
		t.Fatal(err)
	}
	if err := nova.Plug(ctx, s, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := nova.End(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := nova.Free(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.BackUp(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
}
