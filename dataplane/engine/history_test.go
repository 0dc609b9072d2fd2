package engine

import (
	"encoding/binary"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
)

// observed checks promise P2 on what the engine's hosts see: the data of every write is stamped, and every
// read is held against the history of the volume.
type observed struct {
	history *history.History
	running map[*Op]*history.Op
}

func (o *observed) init() {
	o.history = history.New(testBlocks * sectorsPerBlock)
	o.running = map[*Op]*history.Op{}
}

// begin notes an operation that is about to be submitted and stamps its data.
func (o *observed) begin(op *Op) {
	from := int(op.LBA)
	to := from + int(op.Sectors)
	switch op.Kind {
	case Read:
		o.running[op] = o.history.Read(from, to)
	case Zero:
		o.running[op] = o.history.Zero(from, to)
	default:
		h := o.history.Write(from, to)
		stamp(op.Data, h.Stamp())
		o.running[op] = h
	}
}

// done checks an operation that came back.
func (o *observed) done(t *testing.T, op *Op) {
	t.Helper()
	h := o.running[op]
	delete(o.running, op)
	if op.Status == PathGone {
		h.Abandon()
		return
	}
	if op.Status != OK {
		t.Fatalf("operation failed with status %d", op.Status)
	}
	var found []uint64
	if op.Kind == Read {
		for i := range int(op.Sectors) {
			found = append(found, binary.LittleEndian.Uint64(op.Data[i*512:]))
		}
	}
	if err := h.Done(found); err != nil {
		t.Fatal(err)
	}
}
