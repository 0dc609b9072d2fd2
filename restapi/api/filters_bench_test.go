package api_test

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// BenchmarkFilters is what it takes to list all of 10,000 volumes, and those of them that a filter lets
// through: one of a hundred, or all. etcd is included, nodes have published nothing.
func BenchmarkFilters(b *testing.B) {
	c := apitest.NewOn(b, store.NewEtcd(etcdtest.Run(b).Client()))
	c.Pool()
	for n := range 10_000 {
		r := wire.VolumeCreate{ID: apitest.UUID(n + 1), Name: fmt.Sprint("v", n), Pool: "gold",
			Size: apitest.MiB, Metadata: cluster.Metadata{"team": fmt.Sprint("team-", n%100)}}
		v, _, err := c.Manager.CreateVolume(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		if n%100 == 7 {
			if _, _, err := c.Manager.Allow(b.Context(), manager.OfVolume(v.ID), apitest.HostA, ""); err != nil {
				b.Fatal(err)
			}
			c.Served(cluster.VolumeKey(v.VolumeNumbers))
		}
	}
	api, err := client.New(client.Options{Endpoints: []string{c.URL}, Token: c.Token})
	if err != nil {
		b.Fatal(err)
	}
	for _, x := range []struct {
		name string
		opts client.VolumeListOpts
		want int
	}{
		{"all", client.VolumeListOpts{}, 10_000},
		{"host", client.VolumeListOpts{Use: client.Use{Host: apitest.HostA}}, 100},
		{"metadata", client.VolumeListOpts{Use: client.Use{Metadata: []string{"team=team-7"}}}, 100},
		{"degraded", client.VolumeListOpts{Health: wire.Degraded}, 100},
		{"well", client.VolumeListOpts{Health: wire.OK}, 9_900},
	} {
		b.Run(x.name, func(b *testing.B) {
			measure(b, func() error {
				list, err := api.FindVolumes(b.Context(), x.opts)
				if err == nil && len(list) != x.want {
					err = fmt.Errorf("%d volumes, want %d", len(list), x.want)
				}
				return err
			})
		})
	}
}
