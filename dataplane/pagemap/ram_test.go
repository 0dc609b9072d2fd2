package pagemap

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestRAMBudgets fills 1/1024 TiB in the ways that the budgets are about. What is held beyond what is in use
// does not grow with the device (a step of memory, and the last slab of each size), so it does not count
// here; BenchmarkMapFill counts it, at a scale where it says something.
func TestRAMBudgets(t *testing.T) {
	const blocks = 1 << 18
	for _, c := range fills() {
		t.Run(c.name, func(t *testing.T) {
			f := newFilling(newMap(t, blocks), 32)
			c.fill(f, blocks)
			ram := f.m.RAM()
			if got := float64(ram.InUse) / blocks; got > c.budget {
				t.Errorf("%.2f bytes per block of 4 KiB, the budget is %.0f: %+v", got, c.budget, ram)
			}
			if slack, most := ram.Total()-ram.InUse, uint64(1<<20+24<<16); slack > most {
				t.Errorf("%d bytes are held and not in use, at most %d should be", slack, most)
			}
			if st, _ := f.m.Volume(f.vol); st.Blocks != blocks || st.Unstable != 0 {
				t.Errorf("filled %d blocks, %d unstable", st.Blocks, st.Unstable)
			}
		})
	}
}

// TestSteadyStateAllocatesNothing: lookups, writes and marks leave the Go heap alone.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	const blocks = 1 << 14
	f := newFilling(newMap(t, blocks+1000), 32)
	f.random(blocks)
	block, out := uint64(0), make([]Version, 1)
	for range 2 * blocks {
		block = (block + 7919) % blocks
		f.write(block, 1)
	}
	if n := testing.AllocsPerRun(5000, func() {
		block = (block + 7919) % blocks
		f.write(block, 1)
		e := Extent{Vol: f.vol, Residency: 1, Page: block / benchBlocks, First: uint16(block % benchBlocks), N: 1}
		f.m.Lookup(e, 0, out)
	}); n != 0 {
		t.Errorf("%v allocations per write and lookup", n)
	}
}

// TestRAMComesBack: what a peak left behind is used for whatever comes next, of any size and kind.
func TestRAMComesBack(t *testing.T) {
	const blocks = 1 << 16
	f := newFilling(newMap(t, 2*blocks), 32)
	e := Extent{Vol: f.vol, Residency: 1}
	var held uint64
	for round := range 4 {
		f.vol.Generation = uint32(1 + round)
		f.mark.Vol, f.w = f.vol, 0
		f.random(blocks)
		f.m.Apply(&Record{Kind: View, Extent: Extent{Vol: f.vol}, View: chunk.View{Version: 1,
			Pins: []cluster.Seq{cluster.MakeSeq(1, f.w)}}})
		f.sequential(blocks, 64) // all of it in flux above what is pinned
		e.Vol = f.vol
		f.m.Apply(&Record{Kind: Drop, Extent: e})
		for f.m.Purge(1 << 20) {
		}
		ram := f.m.RAM()
		if ram.InUse != ram.Space {
			t.Fatalf("an empty map uses %d bytes: %+v", ram.InUse-ram.Space, ram)
		}
		if round > 0 && ram.Total() > held {
			t.Fatalf("round %d held %d bytes, the one before %d", round, ram.Total(), held)
		}
		held = ram.Total()
	}
}
