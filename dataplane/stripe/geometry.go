package stripe

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Geometry is the layout of a pool's volumes. Units: blocks of 4 KiB. Offsets are block numbers within a
// page, below PageBlocks; rows are block numbers within a chunk.
type Geometry struct {
	Data        int    // n
	Parity      int    // p
	ChunkBlocks uint64 // blocks of a chunk, power of two
	UnitBlocks  uint64 // blocks of a stripe unit, power of two, at most ChunkBlocks; without effect if n = 1
}

// New takes the geometry from a pool's policy. The pool must be valid.
func New(p *cluster.Pool) (Geometry, error) {
	if err := p.ValidatePolicy(); err != nil {
		return Geometry{}, fmt.Errorf("geometry of pool %q: %w", p.Name, err)
	}
	return Geometry{Data: p.Data, Parity: p.Parity, ChunkBlocks: uint64(p.ChunkSize) / cluster.BlockSize,
		UnitBlocks: uint64(p.StripeUnit) / cluster.BlockSize}, nil
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

// Cell gives the data column and the row of the block at an offset.
func (g Geometry) Cell(offset uint64) (column int, row uint16) {
	if g.Data == 1 {
		return 0, uint16(offset)
	}
	unit, within := offset/g.UnitBlocks, offset%g.UnitBlocks
	n := uint64(g.Data)
	return int(unit % n), uint16(unit/n*g.UnitBlocks + within)
}

// Offset is the inverse of Cell.
func (g Geometry) Offset(column int, row uint16) uint64 {
	if g.Data == 1 {
		return uint64(row)
	}
	stripe, within := uint64(row)/g.UnitBlocks, uint64(row)%g.UnitBlocks
	return (stripe*uint64(g.Data)+uint64(column))*g.UnitBlocks + within
}

// RowSpan gives the hull of the rows that the blocks [offset, offset+count) touch: rows [first,
// first+rows). A range that ends one column and begins the next may leave rows in the middle untouched:
// of 4-block units, blocks 3 and 4 are row 3 of column 0 and row 0 of column 1, the hull is rows 0..3.
func (g Geometry) RowSpan(offset, count uint64) (first, rows uint16) {
	var end uint16
	for c := range g.Data {
		lo, n := g.ColumnSpan(c, offset, count)
		switch {
		case n == 0:
		case end == 0:
			first, end = lo, lo+n
		default:
			first, end = min(first, lo), max(end, lo+n)
		}
	}
	return first, end - first
}

// ColumnSpan gives the rows [first, first+rows) of one data column that the blocks [offset, offset+count)
// cover, none if rows is 0. Within a column, rows ascend with offsets, so they are always contiguous.
func (g Geometry) ColumnSpan(column int, offset, count uint64) (first, rows uint16) {
	lo, hi := g.rowsBefore(column, offset), g.rowsBefore(column, offset+count)
	return uint16(lo), uint16(hi - lo)
}

// rowsBefore counts the blocks of a column that lie before an offset, PageBlocks included.
func (g Geometry) rowsBefore(column int, offset uint64) uint64 {
	if g.Data == 1 {
		return offset
	}
	stripe := g.UnitBlocks * uint64(g.Data)
	start := uint64(column) * g.UnitBlocks
	within := offset%stripe - min(offset%stripe, start)
	return offset/stripe*g.UnitBlocks + min(within, g.UnitBlocks)
}
