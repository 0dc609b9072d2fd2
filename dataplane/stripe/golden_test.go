package stripe

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestGoldenParities pins parity bytes: they are on disks. testdata/golden.txt says how its data are made.
func TestGoldenParities(t *testing.T) {
	datadriven.RunTest(t, "testdata/golden.txt", func(t *testing.T, d *datadriven.TestData) string {
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			s := shape{code: cluster.Code(d.Cmd)}
			if _, err := fmt.Sscanf(line, "%d+%d", &s.n, &s.p); err != nil {
				d.Fatalf(t, "%q: %v", line, err)
			}
			shards := make([][]byte, s.n+s.p)
			for c := range shards {
				shards[c] = make([]byte, cluster.BlockSize)
				x := uint32(c + 1)
				for k := 0; c < s.n && k < len(shards[c]); k++ {
					x = x*1664525 + 1013904223
					shards[c][k] = byte(x >> 24)
				}
			}
			s.codec(t).Encode(shards)
			for i, b := range shards[s.n:] {
				fmt.Fprintf(&out, "%d+%d %c: %x .. sha256 %x\n", s.n, s.p, "PQR"[i], b[:16], sha256.Sum256(b))
			}
		}
		return out.String()
	})
}

// TestParitiesAreAsDefined compares the codecs with the formulas of the package doc, written down as they
// stand.
func TestParitiesAreAsDefined(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, s := range shapes() {
		row := s.row(t, r, 1)
		want := definedRS(row[:s.n], s.p)
		if s.code == cluster.CodeRDP {
			want = definedRDP(row[:s.n])
		}
		for i := range want {
			if !bytes.Equal(row[s.n+i], want[i]) {
				t.Errorf("%v: parity %d is not as defined", s, i)
			}
		}
	}
}

// definedRS: row i has the coefficients 2^(i*c), in GF(2^8) modulo 0x11d.
func definedRS(data [][]byte, p int) [][]byte {
	times2 := func(x int) int {
		if x *= 2; x >= 0x100 {
			x ^= 0x11d
		}
		return x
	}
	out := make([][]byte, p)
	for i := range out {
		out[i] = make([]byte, cluster.BlockSize)
		for c, d := range data {
			for k, b := range d {
				x := int(b)
				for range i * c {
					x = times2(x)
				}
				out[i][k] ^= byte(x)
			}
		}
	}
	return out
}

// definedRDP goes cell by cell through the array of the package doc, imaginary columns and diagonal
// included.
func definedRDP(data [][]byte) [][]byte {
	prime := 3
	for _, next := range []int{5, 17} {
		if len(data) >= prime {
			prime = next
		}
	}
	sub := cluster.BlockSize / (prime - 1)
	array := make([][]byte, prime)
	for c := range array {
		array[c] = make([]byte, cluster.BlockSize)
		if c < len(data) {
			copy(array[c], data[c])
		}
	}
	p := array[prime-1]
	for _, d := range data {
		for k, b := range d {
			p[k] ^= b
		}
	}
	diagonals := make([]byte, prime*sub)
	for c := range array {
		for r := range prime - 1 {
			for k := range sub {
				diagonals[(r+c)%prime*sub+k] ^= array[c][r*sub+k]
			}
		}
	}
	return [][]byte{p, diagonals[:cluster.BlockSize]}
}
