package stripe

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// shape is a code with its numbers of columns.
type shape struct {
	code cluster.Code
	n, p int
}

func (s shape) String() string { return fmt.Sprintf("%s %d+%d", s.code, s.n, s.p) }

func (s shape) codec(t testing.TB) Codec {
	t.Helper()
	c, err := NewCodec(s.code, s.n, s.p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shapes are all that a pool may have.
func shapes() (all []shape) {
	for p := range maxParity + 1 {
		all = append(all, shape{cluster.CodeReplica, 1, p})
		for n := 1; n <= maxData; n++ {
			all = append(all, shape{cluster.CodeRS, n, p})
		}
	}
	for n := 1; n <= maxData; n++ {
		all = append(all, shape{cluster.CodeRDP, n, 2})
	}
	return all
}

func random(r *rand.Rand, shards, size int) [][]byte {
	out := make([][]byte, shards)
	for i := range out {
		out[i] = make([]byte, size)
		for k := range out[i] {
			out[i][k] = byte(r.Uint32())
		}
	}
	return out
}

func clone(shards [][]byte) [][]byte {
	out := make([][]byte, len(shards))
	for i := range shards {
		out[i] = slices.Clone(shards[i])
	}
	return out
}

// row makes an encoded row of random data.
func (s shape) row(t testing.TB, r *rand.Rand, blocks int) [][]byte {
	shards := random(r, s.n+s.p, blocks*cluster.BlockSize)
	s.codec(t).Encode(shards)
	return shards
}

// TestEveryLossIsDecoded goes through every set of columns that are there, of n or more, and every set of
// the others that is asked for. What is in neither set must not be looked at: it is nil.
func TestEveryLossIsDecoded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range shapes() {
		if testing.Short() && s.n > 8 {
			continue
		}
		c, whole := s.codec(t), s.row(t, r, 1)
		all := FirstCols(s.n + s.p)
		for lost := Cols(0); lost <= all; lost++ {
			if lost.Len() > s.p {
				continue
			}
			for missing := lost; ; missing = (missing - 1) & lost { // every subset
				work := make([][]byte, len(whole))
				for col := range whole {
					switch {
					case missing.Has(col):
						work[col] = bytes.Repeat([]byte{0xee}, len(whole[col]))
					case !lost.Has(col):
						work[col] = whole[col]
					}
				}
				if err := c.Reconstruct(work, all&^lost, missing); err != nil {
					t.Fatalf("%v: lost %v, missing %v: %v", s, lost, missing, err)
				}
				for col := range missing.All() {
					if !bytes.Equal(work[col], whole[col]) {
						t.Fatalf("%v: lost %v, missing %v: column %d is wrong", s, lost, missing, col)
					}
				}
				if missing == 0 {
					break
				}
			}
		}
	}
}

// TestBlocksAreIndependent holds codecs to code block k of a long shard from the blocks k alone.
func TestBlocksAreIndependent(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range shapes() {
		long := s.row(t, r, 3)
		for k := range 3 {
			one := make([][]byte, len(long))
			for col := range long {
				one[col] = slices.Clone(long[col][k*cluster.BlockSize : (k+1)*cluster.BlockSize])
			}
			s.codec(t).Encode(one)
			for col := range long {
				if !bytes.Equal(one[col], long[col][k*cluster.BlockSize:(k+1)*cluster.BlockSize]) {
					t.Fatalf("%v: column %d of block %d differs when encoded alone", s, col, k)
				}
			}
		}
	}
}

// TestDeltaIsEncoding changes each data column, by a delta on one copy and by encoding on the other.
func TestDeltaIsEncoding(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, s := range shapes() {
		c := s.codec(t)
		for col := range s.n {
			row := s.row(t, r, 2)
			delta := random(r, 1, len(row[0]))[0]
			want := clone(row)
			for i := range delta {
				want[col][i] ^= delta[i]
			}
			c.Encode(want)
			c.Delta(col, delta, row[s.n:])
			for i := s.n; i < s.n+s.p; i++ {
				if !bytes.Equal(row[i], want[i]) {
					t.Fatalf("%v: delta of column %d: parity column %d is wrong", s, col, i)
				}
			}
		}
	}
}

func TestEmptyShards(t *testing.T) {
	for _, s := range shapes() {
		c, shards := s.codec(t), make([][]byte, s.n+s.p)
		c.Encode(shards)
		c.Delta(0, nil, shards[s.n:])
		if s.p > 0 {
			if err := c.Reconstruct(shards, FirstCols(s.n), ColsOf(s.n)); err != nil {
				t.Fatalf("%v: %v", s, err)
			}
		}
	}
}

func TestReconstructRefusesNonsense(t *testing.T) {
	for _, s := range shapes() {
		c, all := s.codec(t), FirstCols(s.n+s.p)
		shards := random(rand.New(rand.NewPCG(7, 8)), s.n+s.p, cluster.BlockSize)
		if err := c.Reconstruct(shards, all.Lowest(s.n-1), ColsOf(s.n-1)); !errors.Is(err, ErrTooFew) {
			t.Errorf("%v from %d columns: %v", s, s.n-1, err)
		}
		if c.Reconstruct(shards, all, ColsOf(0)) == nil {
			t.Errorf("%v: a column that is there was reconstructed", s)
		}
		if c.Reconstruct(shards, all, ColsOf(s.n+s.p)) == nil {
			t.Errorf("%v: a column that does not exist was reconstructed", s)
		}
	}
}

func TestShapesThatDoNotExist(t *testing.T) {
	for _, s := range []shape{{cluster.CodeReplica, 2, 1}, {cluster.CodeRS, 0, 1}, {cluster.CodeRS, 17, 1},
		{cluster.CodeRS, 4, 4}, {cluster.CodeRDP, 4, 1}, {"raid5", 4, 1}} {
		if _, err := NewCodec(s.code, s.n, s.p); err == nil {
			t.Errorf("%v was accepted", s)
		}
	}
}

// TestNothingIsAllocated holds the path of an I/O to its promise.
func TestNothingIsAllocated(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, s := range shapes() {
		c, row := s.codec(t), s.row(t, r, 2)
		all := FirstCols(s.n + s.p)
		allocs := testing.AllocsPerRun(10, func() {
			c.Encode(row)
			c.Delta(s.n-1, row[0], row[s.n:])
			for lost := range s.p + 1 {
				if err := c.Reconstruct(row, all&^FirstCols(lost), FirstCols(lost)); err != nil {
					t.Fatal(err)
				}
			}
		})
		if allocs != 0 {
			t.Errorf("%v: %v allocations", s, allocs)
		}
	}
}
