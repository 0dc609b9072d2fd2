package engine

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// The blocks of a packed volume are stored by stripe units: what a unit is packed into lies in its first
// blocks, and the others are tombstones. So the records say how a unit is to be read, and nothing else has
// to: where its last block is data, it was stored as it is; else the blocks of data before it were packed;
// and where no block is data, the unit is zeroes. Present masks tell the same of a column that is lost.
//
// A unit is one thing, for half of its new blocks beside half of its old ones is not data. So whole units are
// locked, read, and written under one w with one write set, also by who makes parities anew; and an open
// decides about the rows of a unit together (resolve.go).

// Packer packs stripe units. It belongs to one engine.
type Packer interface {
	// Pack replaces a unit by what is stored of it, and says in how many blocks that is: the first ones. None:
	// the unit is zeroes. All: nothing is gained. first is the block of the volume that the unit begins with.
	Pack(first uint64, unit []byte) (blocks int)
	// Unpack is the inverse of Pack. What lies behind the blocks is zeroes. An error says that no unit is packed
	// like this.
	Unpack(first uint64, unit []byte, blocks int) error
}

// unitOf is how many rows of a volume belong together.
func unitOf(cfg *Config) (uint16, error) {
	switch {
	case cfg.Packer == nil:
		return 1, nil
	case cfg.Geometry.UnitBlocks < 2:
		return 0, fmt.Errorf("stripe units of %d blocks cannot be packed", cfg.Geometry.UnitBlocks)
	case cfg.View.Cloned: // its tombstones are zeroes that hide the parent
		return 0, fmt.Errorf("a clone cannot be packed")
	}
	return uint16(cfg.Geometry.UnitBlocks), nil
}

func (e *Engine) packs() bool { return e.cfg.Packer != nil }

// wholeUnits has a batch write every unit that it changes as a whole, and know all of the old one unless all
// is new.
func (e *Engine) wholeUnits(b *batch) {
	for i := 0; i < len(b.plans) && e.packs(); i += int(e.unit) {
		rows := b.plans[i : i+int(e.unit)]
		full, changed := rows[0].full, rows[0].changed()
		for _, p := range rows[1:] {
			full, changed = full&p.full, changed|p.changed()
		}
		for j := range rows {
			rows[j].full, rows[j].part = full, changed&^full
		}
	}
}

// unpackOld makes of the units that a batch changes a part of what they were before they were packed. False
// when that cannot be.
func (e *Engine) unpackOld(b *batch) bool {
	for i := 0; i < len(b.plans) && e.packs(); i += int(e.unit) {
		for c := range b.plans[i].part.All() {
			held := heldFirst(int(e.unit), func(j int) bool { return b.plans[i+j].held.Has(c) })
			if !e.unpack(b.page, e.geo.Offset(c, b.row+uint16(i)), e.unitAt(b.shards[c], i), held) {
				return false
			}
		}
	}
	return true
}

// pack packs the units that a batch writes.
func (e *Engine) pack(b *batch) {
	for i := 0; i < len(b.plans) && e.packs(); i += int(e.unit) {
		for c := range b.plans[i].changed().All() {
			unit := e.unitAt(b.shards[c], i)
			n := e.cfg.Packer.Pack(e.volumeBlock(b.page, e.geo.Offset(c, b.row+uint16(i))), unit)
			clear(unit[n*cluster.BlockSize:])
			e.Counters.Packed += uint64(e.unit)
			e.Counters.PackedInto += uint64(n)
			for j := range int(e.unit) {
				b.plans[i+j].holds(c, j < n)
			}
		}
	}
}

// holds says that a whole block of a column is written, and whether it holds data then.
func (p *rowPlan) holds(c int, data bool) {
	bit := stripe.ColsOf(c)
	p.full, p.part, p.zero = p.full|bit, p.part&^bit, p.zero&^bit
	if !data {
		p.zero |= bit
	}
}

// unpack unpacks a unit of a page that begins at an offset.
func (e *Engine) unpack(page, offset uint64, unit []byte, held int) bool {
	return held == 0 || held > 0 && e.cfg.Packer.Unpack(e.volumeBlock(page, offset), unit, held) == nil
}

func (e *Engine) volumeBlock(page, offset uint64) uint64 { return page*e.geo.PageBlocks() + offset }

// unitAt is the unit in a buffer whose first row is i.
func (e *Engine) unitAt(b []byte, i int) []byte {
	size := int(e.unit) * cluster.BlockSize
	return b[i*cluster.BlockSize:][:size:size]
}

// heldFirst counts the blocks of a unit that hold data; -1 when these are not the first ones.
func heldFirst(unit int, data func(i int) bool) (n int) {
	for n < unit && data(n) {
		n++
	}
	for i := n; i < unit; i++ {
		if data(i) {
			return -1
		}
	}
	return n
}

// readUnits reads the units that an extent lies in.
func (e *Engine) readUnits(x *extent) {
	copied := -1
	if e.copies {
		copied = e.bestCopy(x.page)
	}
	if e.copies && copied < 0 || !e.copies && !e.healthy(x) {
		e.degrade(x)
		return
	}
	first, end := x.cells()
	x.bounce, x.info = grow(x.bounce, e.n), grow(x.info, int(end-first))
	info := x.info
	for c := range e.n {
		row, rows := e.geo.ColumnSpan(c, uint64(first), uint64(end-first))
		if rows == 0 {
			continue
		}
		x.bounce[c] = grow(x.bounce[c], int(rows)*cluster.BlockSize)
		e.sendRead(x, max(c, copied), row, rows, x.bounce[c], info[:rows:rows])
		info = info[rows:]
	}
}

// unpackRead gives the host what was read of its units.
func (e *Engine) unpackRead(x *extent) Status {
	first, end := x.cells()
	info := x.info
	for c := range e.n {
		row, rows := e.geo.ColumnSpan(c, uint64(first), uint64(end-first))
		for i := 0; i < int(rows); i += int(e.unit) {
			held := heldFirst(int(e.unit), func(j int) bool { return info[i+j].State == chunk.Data })
			if !e.show(x, uint16(e.geo.Offset(c, row+uint16(i))), e.unitAt(x.bounce[c], i), held) {
				return Media
			}
		}
		info = info[rows:]
	}
	return OK
}

// unpackRows is unpackRead for rows that were gathered.
func (e *Engine) unpackRows(x *extent, g *gather) Status {
	x.bounce = grow(x.bounce, e.n)
	x.bounce[0] = grow(x.bounce[0], int(e.unit)*cluster.BlockSize)
	for off, end := x.cells(); off < end; off += e.unit {
		c, row := e.geo.Cell(uint64(off))
		for i := range e.unit {
			copy(block(x.bounce[0], int(i)), g.cell(c, row+i).data)
		}
		held := heldFirst(int(e.unit), func(i int) bool {
			return g.cell(c, row+uint16(i)).info.State == chunk.Data
		})
		if !e.show(x, off, x.bounce[0], held) {
			return Media
		}
	}
	return OK
}

// show unpacks a unit and gives the host what it wants of it.
func (e *Engine) show(x *extent, off uint16, unit []byte, held int) bool {
	if !e.unpack(x.page, uint64(off), unit, held) {
		return false
	}
	if x.partial {
		copy(x.data, block(unit, int(x.off-off))[x.inBlock:])
		return true
	}
	from, to := max(off, x.off), min(off+e.unit, x.off+x.count)
	copy(x.data[int(from-x.off)*cluster.BlockSize:int(to-x.off)*cluster.BlockSize],
		unit[int(from-off)*cluster.BlockSize:])
	return true
}
