package stripe

import (
	"github.com/klauspost/reedsolomon"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

const (
	maxData   = cluster.MaxData
	maxParity = cluster.MaxParity
	maxWidth  = maxData + maxParity
)

// rs is Reed-Solomon with the matrix of the package doc. Of the library it uses the kernels that multiply a
// slice by a constant: its Encoder allocates in each call, and decoding at most three columns needs no
// more of it than the inverse of a 3 by 3 matrix.
type rs struct {
	n, p   int
	encode [maxParity]sum // the parity columns as sums of data columns
}

// sum says how to compute a column: the sum of coef[c] times column c.
type sum struct {
	target int
	coef   [maxWidth]byte
}

func newRS(n, p int) *rs {
	c := &rs{n: n, p: p}
	for i := range p {
		c.encode[i].target = n + i
		x, power := byte(1)<<i, byte(1) // row i has powers of 2^i
		for col := range n {
			c.encode[i].coef[col] = power
			power = mul(power, x)
		}
	}
	return c
}

// Encode implements Codec.
func (c *rs) Encode(shards [][]byte) { evaluate(shards, c.encode[:c.p]) }

// Delta implements Codec.
func (c *rs) Delta(col int, delta []byte, parity [][]byte) {
	for i := range c.p {
		reedsolomon.LowLevel{}.GalMulSliceXor(c.encode[i].coef[col], delta, parity[i])
	}
}

// Reconstruct implements Codec. It writes every missing column as a sum of n sources, then evaluates the
// sums.
func (c *rs) Reconstruct(shards [][]byte, have, missing Cols) error {
	if err := checkSets(c.n, c.p, have, missing); err != nil || missing == 0 {
		return err
	}
	sources := have.Lowest(c.n) // data first, then P: the fewest multiplications
	var lost [maxParity]sum
	k := c.solve(sources, &lost)
	var sums [maxParity]sum // have and missing are disjoint, so at most p are missing
	m := 0
	for t := range missing.All() {
		sums[m] = c.express(t, sources, lost[:k])
		m++
	}
	evaluate(shards, sums[:m])
	return nil
}

// solve expresses the data columns that are no source by the sources. The equation of each parity among
// them, with the terms of known columns brought to its side, gives as many equations as there are unknowns.
func (c *rs) solve(sources Cols, lost *[maxParity]sum) (unknowns int) {
	var m, inv [maxParity][maxParity]byte
	var parity [maxParity]int
	rows := 0
	for t := range (sources >> c.n).All() {
		parity[rows] = t
		rows++
	}
	for u := range (FirstCols(c.n) &^ sources).All() {
		lost[unknowns].target = u
		for i := range rows {
			m[i][unknowns] = c.encode[parity[i]].coef[u]
		}
		unknowns++
	}
	invert(&m, &inv, rows)
	for j := range unknowns {
		for i := range rows {
			p := &c.encode[parity[i]]
			lost[j].coef[p.target] = inv[j][i]
			for known := range (sources & FirstCols(c.n)).All() {
				lost[j].coef[known] ^= mul(inv[j][i], p.coef[known])
			}
		}
	}
	return unknowns
}

// express writes a column that is no source as a sum of sources: an unknown of solve, or a parity with the
// unknowns put in.
func (c *rs) express(t int, sources Cols, lost []sum) sum {
	out := sum{target: t}
	for _, l := range lost {
		if l.target == t {
			return l
		}
	}
	for col := range FirstCols(c.n).All() {
		a := c.encode[t-c.n].coef[col]
		if sources.Has(col) {
			out.coef[col] ^= a
			continue
		}
		for _, l := range lost {
			if l.target == col {
				for s := range sources.All() {
					out.coef[s] ^= mul(a, l.coef[s])
				}
			}
		}
	}
	return out
}

// evaluate computes the targets block by block, so that sources are in the cache for the second target.
func evaluate(shards [][]byte, sums []sum) {
	if len(sums) == 0 {
		return
	}
	kernel := reedsolomon.LowLevel{}
	for off := 0; off < len(shards[sums[0].target]); off += cluster.BlockSize {
		for i := range sums {
			dst := shards[sums[i].target][off : off+cluster.BlockSize]
			first := true
			for c, a := range sums[i].coef[:len(shards)] {
				switch {
				case a == 0:
				case first:
					kernel.GalMulSlice(a, shards[c][off:off+cluster.BlockSize], dst)
					first = false
				default:
					kernel.GalMulSliceXor(a, shards[c][off:off+cluster.BlockSize], dst)
				}
			}
		}
	}
}

// invert puts the inverse of the leading n by n part of m into inv, by Gauss and Jordan; m is used up.
func invert(m, inv *[maxParity][maxParity]byte, n int) {
	for i := range n {
		inv[i][i] = 1
	}
	for i := range n {
		for pivot := i; ; pivot++ {
			if pivot == n {
				panic("stripe: a submatrix of the Reed-Solomon code is singular")
			}
			if m[pivot][i] != 0 {
				m[i], m[pivot] = m[pivot], m[i]
				inv[i], inv[pivot] = inv[pivot], inv[i]
				break
			}
		}
		scale := reedsolomon.Inv(m[i][i])
		for k := range n {
			m[i][k], inv[i][k] = mul(m[i][k], scale), mul(inv[i][k], scale)
		}
		for r := range n {
			f := m[r][i]
			for k := 0; r != i && k < n; k++ {
				m[r][k] ^= mul(f, m[i][k])
				inv[r][k] ^= mul(f, inv[i][k])
			}
		}
	}
}

// mul multiplies in GF(2^8) modulo 0x11d, the field of the library's kernels.
func mul(a, b byte) byte {
	var product byte
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			product ^= a
		}
		carry := a >> 7
		a = a<<1 ^ carry*0x1d
	}
	return product
}
