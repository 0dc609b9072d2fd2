package stripe

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// BenchmarkCodec measures what a gateway does to a row write or a degraded read. MB/s are user data of
// whole rows for encode and reconstruct, of the changed column for delta.
func BenchmarkCodec(b *testing.B) {
	for _, s := range []shape{{cluster.CodeRS, 2, 1}, {cluster.CodeRS, 4, 2}, {cluster.CodeRS, 8, 2},
		{cluster.CodeRDP, 2, 2}, {cluster.CodeRDP, 4, 2}, {cluster.CodeRDP, 8, 2}} {
		for _, blocks := range []int{1, 16} {
			c, row := s.codec(b), s.row(b, rand.New(rand.NewPCG(1, 1)), blocks)
			name := fmt.Sprintf("%s/%d+%d/%dKiB/", s.code, s.n, s.p, len(row[0])>>10)
			run := func(what string, bytes int, f func()) {
				b.Run(name+what, func(b *testing.B) {
					b.SetBytes(int64(bytes))
					b.ReportAllocs()
					for b.Loop() {
						f()
					}
				})
			}
			run("encode", s.n*len(row[0]), func() { c.Encode(row) })
			run("delta", len(row[0]), func() { c.Delta(1, row[0], row[s.n:]) })
			for lost := 1; lost <= s.p; lost++ {
				missing := FirstCols(lost)
				run(fmt.Sprintf("reconstruct%d", lost), s.n*len(row[0]), func() {
					if err := c.Reconstruct(row, FirstCols(s.n+s.p)&^missing, missing); err != nil {
						b.Fatal(err)
					}
				})
			}
		}
	}
}
