package engine

import (
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestWhoHadToWaitIsTold: of operations on one row those that come later resume, once each, when the first is
// done; the first, and one elsewhere, never had to wait. It allocates nothing.
func TestWhoHadToWaitIsTold(t *testing.T) {
	r := newRig(t, cluster.CodeRS, 4, 2, 6, nil)
	data := make([]byte, cluster.BlockSize)
	ops := make([]*Op, 4)
	for i := range ops {
		ops[i] = &Op{Data: data}
	}
	play := func() {
		for i, op := range ops {
			op.Kind, op.LBA, op.Sectors = Write, 0, 8
			switch i {
			case 2:
				op.Kind = Read
			case 3:
				op.LBA = r.e.geo.PageBlocks() * sectorsPerBlock
			}
			r.e.Submit(op)
		}
		r.e.Drain(&r.ready)
	}
	carryOut := func() { // what was drained, and what that leads to
		for len(r.ready.Sends) > 0 {
			for _, q := range r.ready.Sends {
				r.shelf.do(q, r.e.geo.ChunkBlocks)
				r.e.ChunkDone(q)
			}
			r.e.Drain(&r.ready)
		}
	}
	play()
	carryOut() // devices have granted space
	play()
	if len(r.ready.Resumed) != 0 {
		t.Errorf("%d resumed when nothing was done", len(r.ready.Resumed))
	}
	var resumed []*Op
	for len(r.ready.Sends) > 0 {
		for _, q := range r.ready.Sends {
			r.shelf.do(q, r.e.geo.ChunkBlocks)
			r.e.ChunkDone(q)
		}
		r.e.Drain(&r.ready)
		resumed = append(resumed, r.ready.Resumed...)
	}
	if !slices.Equal(resumed, ops[1:3]) {
		t.Errorf("%d of them resumed, want the second and the third", len(resumed))
	}
	if n := testing.AllocsPerRun(100, func() { play(); carryOut() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
