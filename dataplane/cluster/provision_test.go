package cluster

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestWhatAPoolTakes: what fits still fits when there is less of it, and with ratio 1 all of it has room at
// the same time.
func TestWhatAPoolTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(0, 1<<50)
		total, want := size.Draw(t, "total"), Provisioned{Thin: size.Draw(t, "thin"), Thick: size.Draw(t, "thick")}
		p := Pool{Overcommit: rapid.SampledFrom([]float64{0, 1, 1.5, 10}).Draw(t, "ratio")}
		if !p.Fits(want, total) {
			return
		}
		if want.Thick > total || p.Overcommit == 1 && want.Thick+want.Thin > total {
			t.Fatalf("%+v fits into %d", want, total)
		}
		less := want.Minus(Provisioned{Thin: size.Draw(t, "less"), Thick: size.Draw(t, "less")})
		if !p.Fits(less, total) {
			t.Fatalf("%+v fits into %d, %+v does not", want, total, less)
		}
	})
	for ratio, ok := range map[float64]bool{0: true, 1: true, 1000: true, 0.5: false, -1: false, 1001: false,
		math.NaN(): false, math.Inf(1): false} {
		if err := ValidateOvercommit("overcommit", ratio); (err == nil) != ok {
			t.Errorf("ratio %g: %v", ratio, err)
		}
	}
}
