package stripe

import (
	"errors"
	"fmt"

	"github.com/klauspost/reedsolomon"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ErrTooFew says that more columns are missing than the code can stand: fewer than n are there.
var ErrTooFew = errors.New("too few columns")

// Codec computes the parities of block rows and what is missing of them. A shard is a column's part: any
// number of blocks (none too) of 4 KiB, all shards of one call of one length; block k of every shard
// makes one row. Buffers stay the caller's and shards must not overlap. A codec keeps scratch memory, so
// one goroutine at a time uses it; no call allocates.
type Codec interface {
	// Encode computes the parity shards from the data shards. shards has n+p slices.
	Encode(shards [][]byte)
	// Reconstruct fills the shards in missing (the slices are there, their content undefined) from n of the
	// shards in have, ErrTooFew if there are not so many. Nothing missing is no error. Shards in neither set
	// are not looked at and may be nil.
	Reconstruct(shards [][]byte, have, missing Cols) error
	// Delta applies a change of data column c, old xor new, to the p parity shards:
	// parity[i] ^= coefficient(i, c) * delta. Over zeroed shards it yields the deltas to send.
	Delta(c int, delta []byte, parity [][]byte)
}

// NewCodec makes the codec of a pool's code with n data and p parity columns.
func NewCodec(code cluster.Code, n, p int) (Codec, error) {
	if err := code.Validate(n, p); err != nil {
		return nil, fmt.Errorf("codec %s %d+%d: %w", code, n, p, err)
	}
	if code == cluster.CodeRDP {
		return newRDP(n), nil
	}
	return newRS(n, p), nil
}

// checkSets refuses sets that no caller should pass: overlapping, or with columns that do not exist.
func checkSets(n, p int, have, missing Cols) error {
	if have&missing != 0 || (have|missing)&^FirstCols(n+p) != 0 {
		return fmt.Errorf("reconstruct columns %v from %v: they must be disjoint and below %d", missing, have, n+p)
	}
	if missing != 0 && have.Len() < n {
		return fmt.Errorf("reconstruct columns %v: %w: need %d, have %v", missing, ErrTooFew, n, have)
	}
	return nil
}

// xorInto adds src to dst. The kernel of the library is about twice as fast as crypto/subtle's.
func xorInto(dst, src []byte) { reedsolomon.LowLevel{}.GalMulSliceXor(1, src, dst) }
