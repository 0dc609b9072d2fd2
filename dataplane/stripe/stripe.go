// Package stripe is the geometry of a volume: how its linear blocks map to pages, columns and blocks within
// chunks. It is pure arithmetic.
//
// A page is the unit of placement: n data chunks and p parity chunks. Consecutive stripe units of a page go
// to consecutive columns, so a block row (the n+p blocks at one offset of the chunks) is the unit of
// consistency:
//
//	volume blocks:  |0 1 2 3|4 5 6 7|8 9 10 11|...        stripe unit = 4 blocks, n = 2
//	column 0:       |0 1 2 3|8 9 10 11|...
//	column 1:       |4 5 6 7|12 ...
//
// While only whole copies exist (n = 1), a page is one chunk and every column holds the same blocks; the
// codecs and row plans for n > 1 join this package with the engine's full protocol.
package stripe

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Geometry is the layout of a pool's volumes. Units: blocks of 4 KiB.
type Geometry struct {
	Data        int    // n
	Parity      int    // p
	ChunkBlocks uint64 // blocks of a chunk, power of two
}

// New takes the geometry from a pool's policy. The pool must be valid.
func New(p *cluster.Pool) (Geometry, error) {
	if err := p.Validate(); err != nil {
		return Geometry{}, fmt.Errorf("geometry of pool %q: %w", p.Name, err)
	}
	return Geometry{Data: p.Data, Parity: p.Parity, ChunkBlocks: uint64(p.ChunkSize) / cluster.BlockSize}, nil
}

// Width is the number of columns, n + p.
func (g Geometry) Width() int { return g.Data + g.Parity }

// PageBlocks is the number of user blocks of a page.
func (g Geometry) PageBlocks() uint64 { return g.ChunkBlocks * uint64(g.Data) }

// Locate gives the page of a volume block and the block's position in the page.
func (g Geometry) Locate(block uint64) (page, offset uint64) {
	n := g.PageBlocks()
	return block / n, block % n
}

// Pages is the number of pages that a volume of so many blocks has.
func (g Geometry) Pages(blocks uint64) uint64 { return (blocks + g.PageBlocks() - 1) / g.PageBlocks() }
