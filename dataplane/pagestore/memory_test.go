package pagestore

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// TestMapOfALargeDeviceIsOffTheHeap fills the map of a device that is no test, and gives it back.
func TestMapOfALargeDeviceIsOffTheHeap(t *testing.T) {
	lay := layout{dataBlocks: 1 << 24}
	m, mem, err := newMap(&lay)
	if err != nil {
		t.Fatal(err)
	}
	rec := pagemap.Record{Kind: pagemap.Put, Columns: make([]pagemap.Columns, 1), CRC: make([]uint32, 64)}
	rec.Extent = pagemap.Extent{Vol: vol(1), N: 64, Residency: 1}
	for page := range uint64(1 << 14) {
		runs, _ := m.Alloc(64, nil)
		rec.Page, rec.W, rec.Loc = page, seq(1, page+1), runs[0].Loc
		m.Apply(&rec)
		m.Apply(&pagemap.Record{Kind: pagemap.Stable, Extent: rec.Extent, W: rec.W})
	}
	ram, mapped := m.RAM(), uint64(0)
	for _, r := range mem.regions {
		mapped += uint64(len(r))
	}
	if total := ram.Total(); total < 1<<14*300 || mapped-uint64(len(mem.rest)) != total {
		t.Fatalf("the map has %d bytes: %+v; %d were given of %d mapped", total, ram,
			mapped-uint64(len(mem.rest)), mapped)
	}
	out := make([]pagemap.Version, 1)
	e := pagemap.Extent{Vol: vol(1), Page: 77, First: 3, N: 1, Residency: 1}
	if m.Lookup(e, 0, out); out[0].W != cluster.MakeSeq(1, 78) {
		t.Fatalf("found %+v", out[0])
	}
	mem.close()
	if len(mem.regions) != 0 {
		t.Fatal("memory is mapped after close")
	}
}

// TestClosedStoreAnswersNothing: its map is gone, and nobody who asks gets hurt.
func TestClosedStoreAnswersNothing(t *testing.T) {
	s := open(t, formatted(t, 2000, 64))
	must(t, write(s, ext(1, 0, 0, 4), seq(1, 1), 1))
	must(t, s.Close())
	if n, _, more := s.List(vol(1), ListAll, pagemap.Cursor{}, make([]pagemap.Entry, 4)); n != 0 || more {
		t.Errorf("%d versions in a closed store", n)
	}
	if _, known := s.Volume(vol(1)); known || len(s.Volumes()) != 0 || s.Check() != nil {
		t.Error("a closed store knows a volume")
	}
}
