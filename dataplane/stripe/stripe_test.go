package stripe

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func TestLocate(t *testing.T) {
	p := &cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: 1, Domain: cluster.DomainNode,
		ChunkSize: 256 << 10, StripeUnit: 16 << 10}
	g, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	if g.Width() != 2 || g.PageBlocks() != 64 {
		t.Fatalf("width %d, %d blocks per page", g.Width(), g.PageBlocks())
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
	if _, err := New(&cluster.Pool{Name: "p", Code: "rs", Data: 4, Parity: 2}); err == nil {
		t.Fatal("a code that does not exist yet was accepted")
	}
}
