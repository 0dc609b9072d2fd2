package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// BenchmarkCreateVolume makes volumes in a cluster of three etcd members, in clear and with etcd encrypted:
// what that costs a call (p50-ms, p99-ms). All nodes are in this process; run it with -benchtime=300x.
func BenchmarkCreateVolume(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		b.Run(fmt.Sprintf("encrypted=%v", encrypted), func(b *testing.B) {
			o := testOptions(b, "a")
			o.First.EncryptNodes = encrypted
			w := newWhole(b, o)
			for i, name := range []string{"b", "c"} {
				tok, err := w.c.CreateToken(w.ctx, wire.TokenCreate{Name: name, Role: "join", ExpiresSeconds: 600})
				if err != nil {
					b.Fatal(err)
				}
				n := testOptions(b, name)
				n.First = First{JoinURLs: []string{"http://" + o.Listen.REST}, JoinToken: tok.Secret}
				start(b, n)
				eventually(b, w.ctx, "the node is online", func() error { return online(w.ctx, w.c, i+2) })
			}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				_, err := w.c.CreateVolume(w.ctx, wire.VolumeCreate{Name: fmt.Sprintf("v%d", len(took)), Pool: "gold",
					Size: 1 << 20})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
		})
	}
}
