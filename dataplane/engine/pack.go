package engine

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// The blocks of a packed volume are stored by stripe units: what a unit is packed into lies in its first
// blocks, and the others are tombstones. So the records say how a unit is to be read, and nothing else has
// to: where its last block is data, it was stored as it is; else the blocks of data before it were packed;
// and where no block is data, the unit is zeroes. Present masks tell the same of a column that is lost.
//
// In a clone, zeroes hide the parent, so a unit says how it is to be read by who has a part in the present
// mask. Nobody: the unit is the parent's. The first blocks: these, data or zeroes, are what it was packed
// into, and the tombstones behind them have no part in the mask. All: it was stored as it is; or it is
// zeroes, if all are tombstones. Who writes a part of a unit that is the parent's takes the rest from there.
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

// bareUnits has a batch of a clone take from the parent whole units only: behind what a unit was packed into
// is nothing of the parent's.
func (e *Engine) bareUnits(b *batch) {
	if !e.packs() || e.cfg.Mutant.Is(mutant.TailUnderlaid) {
		return
	}
	for i := 0; i < len(b.plans); i += int(e.unit) {
		rows := b.plans[i : i+int(e.unit)]
		bare := rows[0].bare
		for _, p := range rows[1:] {
			bare &= p.bare
		}
		for j := range rows {
			rows[j].bare = bare
		}
	}
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
				b.plans[i+j].holds(c, j < n, n > 0)
			}
		}
	}
}

// holds says that a whole block of a column is written, and whether it holds data then, or else lies behind
// what the unit was packed into.
func (p *rowPlan) holds(c int, data, packed bool) {
	bit := stripe.ColsOf(c)
	p.full, p.part, p.zero, p.tail = p.full|bit, p.part&^bit, p.zero&^bit, p.tail&^bit
	if !data {
		p.zero |= bit
		if packed {
			p.tail |= bit
		}
	}
}

// unpack unpacks a unit of a page that begins at an offset. In a clone zeroes are a unit that all blocks have
// a part in.
func (e *Engine) unpack(page, offset uint64, unit []byte, held int) bool {
	switch {
	case held == 0, held == int(e.unit) && e.cloned() && e.allZero(unit):
		return true
	}
	return held > 0 && e.cfg.Packer.Unpack(e.volumeBlock(page, offset), unit, held) == nil
}

func (e *Engine) volumeBlock(page, offset uint64) uint64 { return page*e.geo.PageBlocks() + offset }

// unitAt is the unit in a buffer whose first row is i.
func (e *Engine) unitAt(b []byte, i int) []byte {
	size := int(e.unit) * cluster.BlockSize
	return b[i*cluster.BlockSize:][:size:size]
}

// heldFirst counts the blocks of a unit that have a part in the present mask; -1 when these are not the first
// ones.
func heldFirst(unit int, masked func(i int) bool) (n int) {
	for n < unit && masked(n) {
		n++
	}
	for i := n; i < unit; i++ {
		if masked(i) {
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
			held := heldFirst(int(e.unit), func(j int) bool { return e.masked(c, &info[i+j]) })
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
		c, _ := e.geo.Cell(uint64(off))
		for i := range e.unit {
			copy(block(x.bounce[0], int(i)), g.cellAt(off+i).data)
		}
		held := heldFirst(int(e.unit), func(i int) bool { return e.masked(c, &g.cellAt(off+uint16(i)).info) })
		if !e.show(x, off, x.bounce[0], held) {
			return Media
		}
	}
	return OK
}

// finishUnits ends a read when all of its units are unpacked, or goes on with those that are the parent's.
func (e *Engine) finishUnits(x *extent, s Status) {
	if s != OK || !e.fromParent(x) {
		e.finish(x, s)
	}
}

// show unpacks a unit and gives the host what it wants of it, or notes that the parent has that.
func (e *Engine) show(x *extent, off uint16, unit []byte, held int) bool {
	if !e.unpack(x.page, uint64(off), unit, held) {
		return false
	}
	from, to := max(off, x.off), min(off+e.unit, x.off+x.count)
	for i := from; i < to && held == 0; i++ {
		e.lacks(x, i)
	}
	if x.partial {
		copy(x.data, block(unit, int(x.off-off))[x.inBlock:])
		return true
	}
	copy(x.data[int(from-x.off)*cluster.BlockSize:int(to-x.off)*cluster.BlockSize],
		unit[int(from-off)*cluster.BlockSize:])
	return true
}
