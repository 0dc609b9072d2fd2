package stripe

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func TestLocate(t *testing.T) {
	p := &cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: 1, Domain: cluster.DomainNode,
		ChunkSize: 256 << 10, StripeUnit: 16 << 10}
	g, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	if g.Width() != 2 || g.PageBlocks() != 64 || g.UnitBlocks != 4 {
		t.Fatalf("width %d, %d blocks per page, %d per unit", g.Width(), g.PageBlocks(), g.UnitBlocks)
	}
	for _, x := range []struct{ block, page, offset uint64 }{{0, 0, 0}, {63, 0, 63}, {64, 1, 0},
		{6401, 100, 1}} {
		if page, off := g.Locate(x.block); page != x.page || off != x.offset {
			t.Errorf("block %d: page %d offset %d, want %d and %d", x.block, page, off, x.page, x.offset)
		}
	}
	for _, x := range []struct{ blocks, pages uint64 }{{0, 0}, {1, 1}, {64, 1}, {65, 2}} {
		if got := g.Pages(x.blocks); got != x.pages {
			t.Errorf("%d blocks: %d pages, want %d", x.blocks, got, x.pages)
		}
	}
}

func TestBadPoliciesAreRefused(t *testing.T) {
	if _, err := New(&cluster.Pool{Name: "p", Code: "raid5", Data: 4, Parity: 2}); err == nil {
		t.Fatal("a code that does not exist was accepted")
	}
}

// TestCells is the picture of the package doc: two columns, units of 4 blocks, chunks of 8.
func TestCells(t *testing.T) {
	g := Geometry{Data: 2, Parity: 1, ChunkBlocks: 8, UnitBlocks: 4}
	for _, x := range []struct {
		offset uint64
		column int
		row    uint16
	}{{0, 0, 0}, {3, 0, 3}, {4, 1, 0}, {7, 1, 3}, {8, 0, 4}, {12, 1, 4}, {15, 1, 7}} {
		if c, r := g.Cell(x.offset); c != x.column || r != x.row {
			t.Errorf("offset %d: column %d row %d, want %d and %d", x.offset, c, r, x.column, x.row)
		}
	}
	for _, x := range []struct {
		offset, count uint64
		first, rows   uint16
	}{{0, 0, 0, 0}, {0, 1, 0, 1}, {2, 2, 2, 2}, {3, 2, 0, 4}, {0, 8, 0, 4}, {6, 4, 2, 4}, {0, 16, 0, 8},
		{15, 1, 7, 1}} {
		if first, rows := g.RowSpan(x.offset, x.count); first != x.first || rows != x.rows {
			t.Errorf("blocks %d+%d: rows %d+%d, want %d+%d", x.offset, x.count, first, rows, x.first, x.rows)
		}
	}
}

// TestSpansAreWhatCellsSay counts blocks one by one and compares.
func TestSpansAreWhatCellsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.IntRange(0, 4).Draw(t, "log2 unit")
		g := Geometry{Data: rapid.IntRange(1, 16).Draw(t, "n"), UnitBlocks: 1 << unit,
			ChunkBlocks: 1 << rapid.IntRange(max(unit, 4), 8).Draw(t, "log2 chunk")}
		offset := rapid.Uint64Range(0, g.PageBlocks()-1).Draw(t, "offset")
		count := rapid.Uint64Range(0, g.PageBlocks()-offset).Draw(t, "count")
		rows := make([]map[uint16]bool, g.Data)
		for c := range rows {
			rows[c] = map[uint16]bool{}
		}
		lo, hi := uint16(0xffff), uint16(0)
		for o := offset; o < offset+count; o++ {
			c, r := g.Cell(o)
			if g.Offset(c, r) != o || uint64(r) >= g.ChunkBlocks || g.Data == 1 && uint64(r) != o {
				t.Fatalf("offset %d: column %d row %d, back %d", o, c, r, g.Offset(c, r))
			}
			rows[c][r] = true
			lo, hi = min(lo, r), max(hi, r+1)
		}
		if count == 0 {
			lo, hi = 0, 0
		}
		if first, n := g.RowSpan(offset, count); first != lo || n != hi-lo {
			t.Fatalf("hull %d+%d, want %d..%d", first, n, lo, hi)
		}
		for c := range rows {
			first, n := g.ColumnSpan(c, offset, count)
			if int(n) != len(rows[c]) {
				t.Fatalf("column %d: %d rows, want %d", c, n, len(rows[c]))
			}
			for r := first; r < first+n; r++ {
				if !rows[c][r] {
					t.Fatalf("column %d: row %d of %d+%d is not touched", c, r, first, n)
				}
			}
		}
	})
}
