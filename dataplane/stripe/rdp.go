package stripe

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// rdp is row-diagonal parity as the package doc defines it. Moving a column to its diagonals is moving
// its bytes by c sub-rows, so each term of Q is one or two XORs of contiguous bytes.
type rdp struct {
	n, m, sub int // data columns, sub-rows per block (prime - 1), bytes of a sub-row
	// Scratch of Reconstruct: diagonals, and a block that must be decoded although nobody asked for it.
	diagonals, spare [cluster.BlockSize]byte
}

func newRDP(n int) *rdp {
	m := 16
	switch {
	case n <= 2:
		m = 2
	case n <= 4:
		m = 4
	}
	return &rdp{n: n, m: m, sub: cluster.BlockSize / m}
}

// blocks are one block of every column; P is at n, Q at n + 1.
type blocks [maxWidth][]byte

// Encode implements Codec.
func (c *rdp) Encode(shards [][]byte) {
	var b blocks
	for off := 0; off < len(shards[0]); off += cluster.BlockSize {
		b.cut(shards[:c.n+2], off)
		c.encodeP(&b)
		c.encodeQ(&b)
	}
}

// Delta implements Codec. A data column enters Q by its own diagonals and, as part of P, by those of P.
func (c *rdp) Delta(col int, delta []byte, parity [][]byte) {
	for off := 0; off < len(delta); off += cluster.BlockSize {
		d, q := delta[off:off+cluster.BlockSize], parity[1][off:off+cluster.BlockSize]
		xorInto(parity[0][off:off+cluster.BlockSize], d)
		c.addDiagonals(q, d, col)
		c.addDiagonals(q, d, c.m)
	}
}

// Reconstruct implements Codec.
func (c *rdp) Reconstruct(shards [][]byte, have, missing Cols) error {
	if err := checkSets(c.n, 2, have, missing); err != nil || missing == 0 {
		return err
	}
	size := 0
	for t := range missing.All() {
		size = len(shards[t])
	}
	var b blocks
	for off := 0; off < size; off += cluster.BlockSize {
		b.cut(shards[:c.n+2], off)
		c.decode(&b, have, missing)
	}
	return nil
}

// decode restores what is missing of one row. First it finds all data, in scratch where nobody asked for
// it, then the parities asked for.
func (c *rdp) decode(b *blocks, have, missing Cols) {
	p, q := c.n, c.n+1
	// The equations of rows and diagonals can find two columns, P among them. P is needed only as one of them.
	lost := FirstCols(c.n) &^ have
	if lost.Len() == 1 && !have.Has(p) {
		lost |= ColsOf(p)
	}
	for t := range (lost &^ missing).All() {
		b[t] = c.spare[:] // one at most: with two lost, Q is there, so one of the two is what was asked for
	}
	switch lost.Len() {
	case 1:
		for t := range lost.All() {
			b.sum(t, FirstCols(c.n+1)&^lost)
		}
	case 2:
		c.walk(b, lost)
	}
	if missing.Has(p) && !lost.Has(p) {
		c.encodeP(b)
	}
	if missing.Has(q) {
		if !(have | missing | lost).Has(p) {
			b[p] = c.spare[:]
			c.encodeP(b)
		}
		c.encodeQ(b)
	}
}

// walk finds two lost columns x < y of data and P. Every row has both; the diagonal x-1 misses x and the
// diagonal y-1 misses y, so each of them yields a block of the other column, the row then one of its own,
// the next diagonal the next, until the diagonal that is not stored ends the walk. The two walks meet
// every row.
func (c *rdp) walk(b *blocks, lost Cols) {
	var pair [2]int
	k := 0
	for t := range lost.All() {
		pair[k] = t
		k++
	}
	first, second := b[pair[0]], b[pair[1]]
	// The sum of a row's known cells is the sum of its lost ones: kept in first, completed when second is
	// known.
	known := FirstCols(c.n+1) &^ lost
	b.sum(pair[0], known)
	diagonals := c.diagonals[:]
	copy(diagonals, b[c.n+1])
	for t := range known.All() {
		c.addDiagonals(diagonals, b[t], c.index(t))
	}
	x, y := c.index(pair[0]), c.index(pair[1])
	prime := c.m + 1
	// From the diagonal that lacks x: second, then by the row first, which is on the next diagonal.
	for d := (x + c.m) % prime; d != c.m; {
		r := (d - y + prime) % prime
		s, f := c.cell(second, r), c.cell(first, r)
		copy(s, c.cell(diagonals, d))
		if before := (d - x + prime) % prime; before != c.m {
			xorInto(s, c.cell(first, before))
		}
		xorInto(f, s)
		d = (r + x) % prime
	}
	// From the diagonal that lacks y, the other way round: f holds the row's sum until it is known itself.
	for d := (y + c.m) % prime; d != c.m; {
		r := (d - x + prime) % prime
		s, f := c.cell(second, r), c.cell(first, r)
		copy(s, f)
		copy(f, c.cell(diagonals, d))
		if before := (d - y + prime) % prime; before != c.m {
			xorInto(f, c.cell(second, before))
		}
		xorInto(s, f)
		d = (r + y) % prime
	}
}

// sum puts the sum of columns into the target.
func (b *blocks) sum(target int, columns Cols) {
	first := true
	for t := range columns.All() {
		if first {
			copy(b[target], b[t])
			first = false
			continue
		}
		xorInto(b[target], b[t])
	}
	if first {
		clear(b[target])
	}
}

func (c *rdp) encodeP(b *blocks) { b.sum(c.n, FirstCols(c.n)) }

func (c *rdp) encodeQ(b *blocks) {
	q := b[c.n+1]
	copy(q, b[0]) // column 0 lies on its diagonals as it is
	for t := 1; t <= c.n; t++ {
		c.addDiagonals(q, b[t], c.index(t))
	}
}

// addDiagonals adds a block at an index of the array to the diagonals of q. Sub-row r is on diagonal r +
// index, so the first ones move down; those past the prime come round to diagonal 0; the one between is
// on the diagonal that is not stored.
func (c *rdp) addDiagonals(q, block []byte, index int) {
	if index == 0 {
		xorInto(q, block)
		return
	}
	xorInto(q[index*c.sub:], block[:(c.m-index)*c.sub])
	xorInto(q[:(index-1)*c.sub], block[(c.m-index+1)*c.sub:])
}

// index is a column's place in the array: P is the last, behind the imaginary zeros.
func (c *rdp) index(column int) int {
	if column == c.n {
		return c.m
	}
	return column
}

func (c *rdp) cell(block []byte, r int) []byte { return block[r*c.sub : (r+1)*c.sub] }

// cut takes the block at an offset of every shard that is there.
func (b *blocks) cut(shards [][]byte, off int) {
	for t, s := range shards {
		b[t] = nil
		if s != nil {
			b[t] = s[off : off+cluster.BlockSize]
		}
	}
}
