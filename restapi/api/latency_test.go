package api_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// BenchmarkVolumes is what a client waits for over loopback, etcd with its disk included, in a cluster that
// has so many volumes already: the median and the 99th percentile.
func BenchmarkVolumes(b *testing.B) {
	for _, have := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("have=%d", have), func(b *testing.B) {
			c := apitest.NewOn(b, store.NewEtcd(etcdtest.Run(b).Client()))
			c.Pool()
			for n := range have {
				c.Volume(n+1, fmt.Sprintf("old-%d", n))
			}
			api, err := client.New(client.Options{Endpoints: []string{c.URL}, Token: c.Token})
			if err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			var made []cluster.UUID
			b.Run("create", func(b *testing.B) {
				measure(b, func() error {
					v, err := api.CreateVolume(ctx, wire.VolumeCreate{Name: fmt.Sprintf("new-%d", len(made)), Pool: "gold",
						Size: apitest.MiB})
					made = append(made, v.ID)
					return err
				})
			})
			b.Run("clone", func(b *testing.B) {
				of, err := api.CreateVolume(ctx, wire.VolumeCreate{Name: "origin", Pool: "gold", Size: apitest.MiB})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Own()()
				s, err := api.CreateSnapshot(ctx, wire.SnapshotCreate{Volume: of.ID, Name: "base"})
				if err != nil {
					b.Fatal(err)
				}
				clones := 0
				measure(b, func() error {
					clones++
					_, err := api.CreateVolume(ctx, wire.VolumeCreate{Name: fmt.Sprintf("clone-%d", clones),
						Source: &wire.Source{Snapshot: s.ID}})
					return err
				})
			})
			b.Run("snapshot", func(b *testing.B) {
				defer c.Own()() // looks every millisecond; how long a real owner takes is in package node
				snapshotLatency(b, api, made[0])
			})
			b.Run("show", func(b *testing.B) {
				measure(b, func() error { _, err := api.GetVolume(ctx, made[0]); return err })
			})
			b.Run("delete", func(b *testing.B) {
				measure(b, func() error {
					if len(made) == 0 {
						b.Skip("all deleted")
					}
					id := made[0]
					made = made[1:]
					return api.DeleteVolume(ctx, id, "")
				})
			})
		})
	}
}

func snapshotLatency(b *testing.B, api *client.Client, of cluster.UUID) {
	var taken wire.Snapshot
	remove := func() error {
		if taken.ID.IsZero() {
			return nil
		}
		return api.DeleteSnapshot(b.Context(), taken.ID, "")
	}
	measureAfter(b, remove, func() (err error) {
		taken, err = api.CreateSnapshot(b.Context(), wire.SnapshotCreate{Volume: of, Name: "s"})
		return err
	})
	if err := remove(); err != nil {
		b.Fatal(err)
	}
}

// measure reports how long do takes.
func measure(b *testing.B, do func() error) { measureAfter(b, func() error { return nil }, do) }

// measureAfter prepares each time, which does not count.
func measureAfter(b *testing.B, prepare, do func() error) {
	var took []time.Duration
	for b.Loop() {
		if err := prepare(); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
