package api_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/dataplane/watch"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// BenchmarkHosts is what a client waits for that asks who may attach what, of so many volumes that are each
// exported to one of a hundred hosts, etcd and the node's watch of it included.
func BenchmarkHosts(b *testing.B) {
	for _, have := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("have=%d", have), func(b *testing.B) {
			etcd := etcdtest.Run(b).Client()
			log := logrus.New()
			log.SetOutput(io.Discard)
			follows, err := watch.New(watch.Options{Client: etcd, Log: log})
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = follows.Run(b.Context()) }()
			c := apitest.NewFollowing(b, store.NewEtcd(etcd), follows)
			c.Pool()
			host := func(n int) string { return fmt.Sprintf("nqn.2014-08.org.nvmexpress:uuid:host-%d", n%100) }
			for n := range have {
				v := c.Volume(n+1, fmt.Sprintf("old-%d", n))
				if _, _, err := c.Manager.Allow(b.Context(), manager.OfVolume(v.ID), host(n), ""); err != nil {
					b.Fatal(err)
				}
			}
			now, err := c.Store.Read(b.Context(), store.Key(cluster.KeyCluster))
			if err == nil { // the watch is behind after so many changes in a row
				_, err = follows.At(b.Context(), now.Rev)
			}
			if err != nil {
				b.Fatal(err)
			}
			api, err := client.New(client.Options{Endpoints: []string{c.URL}, Token: c.Token})
			if err != nil {
				b.Fatal(err)
			}
			b.Run("list", func(b *testing.B) {
				measure(b, func() error {
					_, err := api.ListHosts(b.Context(), client.HostListOpts{ListOpts: client.ListOpts{Limit: 10}})
					return err
				})
			})
			b.Run("show", func(b *testing.B) {
				measure(b, func() error { _, err := api.GetHost(b.Context(), host(7)); return err })
			})
		})
	}
}
