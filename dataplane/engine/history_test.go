package engine

import (
	"encoding/binary"
	"testing"
)

// history checks promise P2 on stamps: reads and writes of every 512 B sector are linearizable. Each write
// carries a number of its own; time is a counter of events.
type history struct {
	now     uint64
	stamps  uint64
	writes  [testBlocks * sectorsPerBlock][]*hwrite
	last    [testBlocks * sectorsPerBlock]*hwrite // newest value known to have been seen by a completed read
	running map[*Op]*hop
	reads   int
	acked   int
}

type hwrite struct {
	value        uint64
	begin, acked uint64 // acked 0: not (yet) acknowledged
}

type hop struct {
	begin  uint64
	stamp  uint64
	writes []*hwrite
	floor  []*hwrite // reads: newest value seen or acknowledged when the read began, per sector
}

func (h *history) init() {
	h.running = map[*Op]*hop{}
	for i := range h.writes {
		h.writes[i] = []*hwrite{{acked: 1, begin: 1}}
	}
	h.now = 2
}

// begin notes an operation that is about to be submitted and stamps its data.
func (h *history) begin(op *Op) {
	h.now++
	o := &hop{begin: h.now}
	h.running[op] = o
	if op.Kind == Read {
		for s := op.LBA; s < op.LBA+uint64(op.Sectors); s++ {
			o.floor = append(o.floor, h.last[s])
		}
		return
	}
	if op.Kind == Write {
		h.stamps++
		o.stamp = h.stamps
		stamp(op.Data, o.stamp)
	}
	for s := op.LBA; s < op.LBA+uint64(op.Sectors); s++ {
		w := &hwrite{value: o.stamp, begin: h.now}
		h.writes[s] = append(h.writes[s], w)
		o.writes = append(o.writes, w)
	}
}

// done checks an operation that came back.
func (h *history) done(t *testing.T, op *Op) {
	h.now++
	o := h.running[op]
	delete(h.running, op)
	switch {
	case op.Status != OK:
		if op.Status != PathGone {
			t.Fatalf("operation failed with status %d", op.Status)
		}
	case op.Kind == Read:
		h.reads++
		for i := 0; i < int(op.Sectors); i++ {
			h.checkRead(t, int(op.LBA)+i, binary.LittleEndian.Uint64(op.Data[i*512:]), o, o.floor[i])
		}
	default:
		h.acked++
		for _, w := range o.writes {
			w.acked = h.now
		}
	}
}

// checkRead: the value is of a write that had begun, that no write acknowledged before the read began had
// replaced, and that is not older than what an earlier read returned.
func (h *history) checkRead(t *testing.T, sector int, value uint64, o *hop, floor *hwrite) {
	t.Helper()
	var fit *hwrite
	for _, w := range h.writes[sector] {
		if w.value != value || replaced(h.writes[sector], w, o.begin) {
			continue
		}
		if floor != nil && w.acked != 0 && w.acked < floor.begin {
			continue // an earlier read saw a newer value
		}
		fit = w // of several that fit (zeroes carry no stamp) the oldest: the check errs on the lenient side
		break
	}
	if fit == nil {
		for _, w := range h.writes[sector] {
			t.Logf("write of sector %d: stamp %d, began %d, acknowledged %d", sector, w.value, w.begin, w.acked)
		}
		if floor != nil {
			t.Logf("an earlier read returned stamp %d, begun %d", floor.value, floor.begin)
		}
		t.Fatalf("sector %d: read that began at %d returned stamp %d, which is stale or was never written",
			sector, o.begin, value)
	}
	if l := h.last[sector]; l == nil || fit.begin > l.begin {
		h.last[sector] = fit
	}
}

// replaced reports whether another write began after w was acknowledged and was itself acknowledged before t.
func replaced(all []*hwrite, w *hwrite, t uint64) bool {
	if w.acked == 0 {
		// Not acknowledged: it may take effect late, but never after its owner was fenced; that is checked through
		// the floor of earlier reads.
		return false
	}
	for _, o := range all {
		if o.begin > w.acked && o.acked != 0 && o.acked < t {
			return true
		}
	}
	return false
}
