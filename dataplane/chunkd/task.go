package chunkd

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// task carries one admitted request through the page store. Tasks are reused, with their buffers and the
// callbacks that were bound when they were made, so that a request allocates nothing.
type task struct {
	d     *device
	v     *volume
	r     *chunk.Request
	write pagestore.Write
	read  pagestore.Read
	crc   []uint32
	info  []pagestore.BlockInfo
	list  []pagemap.Entry
	ended func(error)
}

func newTask(d *device) *task {
	t := &task{d: d}
	t.write.Done = func(_ *pagestore.Write, err error) { t.end(err) }
	t.read.Done = t.readDone
	t.ended = t.end
	return t
}

func (d *device) run(v *volume, r *chunk.Request) {
	t := d.tasks.Get().(*task)
	t.v, t.r = v, r
	switch r.Op {
	case chunk.OpWrite, chunk.OpTombstone:
		t.startWrite()
	case chunk.OpRead:
		t.startRead()
	case chunk.OpUndo:
		d.store.Undo(extentOf(r), r.W, t.ended)
	case chunk.OpList:
		t.runList()
	case chunk.OpSettle:
		d.store.Settle(r.Vol, r.Epoch, t.ended)
	case chunk.OpStable:
		d.store.SetStable(r.Vol, r.Stable)
		t.end(nil)
	default: // a fence or begin whose work is done already
		t.end(nil)
	}
}

// end answers the request and gives the task back.
func (t *task) end(err error) {
	d, v, r := t.d, t.v, t.r
	t.v, t.r = nil, nil
	t.write.Data, t.read.Data = nil, nil
	d.tasks.Put(t)
	// Count it out before the answer: whoever gets the answer may send a fence that needs nothing in flight.
	d.leave(v)
	d.answer(r, statusOf(err))
}

func (t *task) startWrite() {
	r, w := t.r, &t.write
	w.Extent, w.W, w.Stable = extentOf(r), r.W, 0
	if r.W.Epoch() == r.Epoch && r.Stable.Counter() > 0 {
		w.Stable = r.Stable
	}
	w.Tombstone, w.CRC, w.Data, w.Mask = r.Op == chunk.OpTombstone, nil, nil, 0
	if !w.Tombstone {
		t.crc = t.crc[:0]
		for i := range r.Blocks {
			t.crc = append(t.crc, r.Blocks[i].CRC)
		}
		w.CRC, w.Data, w.Mask = t.crc, r.Data, r.Blocks[0].Mask
	}
	t.d.store.Write(w)
}

func (t *task) startRead() {
	r := t.r
	if cap(t.info) < int(r.Count) {
		t.info = make([]pagestore.BlockInfo, chunk.MaxBlocks)
	}
	t.read.Extent, t.read.AsOf = extentOf(r), r.W
	t.read.Data, t.read.Info = r.Data, t.info[:r.Count]
	t.d.store.Read(&t.read)
}

func (t *task) readDone(rd *pagestore.Read, err error) {
	for i := range rd.Info {
		b := &rd.Info[i]
		t.r.Blocks[i] = chunk.BlockInfo{W: b.W, CRC: b.CRC, Mask: b.Mask, State: stateOf(b.State)}
	}
	t.end(err)
}

func (t *task) runList() {
	r := t.r
	if cap(t.list) < int(r.Count) {
		t.list = make([]pagemap.Entry, r.Count)
	}
	kind := pagestore.ListAll
	if r.Mode == chunk.ListUnstable {
		kind = pagestore.ListUnstable
	}
	after := pagemap.Cursor{Page: r.After.Page, Column: r.After.Column, Block: r.After.Block, W: r.After.W}
	n, _, more := t.d.store.List(r.Vol, kind, after, t.list[:r.Count])
	r.Entries, r.More = r.Entries[:0], more
	for _, e := range t.list[:n] {
		r.Entries = append(r.Entries, chunk.Entry{State: stateOf(e.State),
			Cursor: chunk.Cursor{Page: e.Page, W: e.W, Block: e.Block, Column: e.Column}})
	}
	t.end(nil)
}

func stateOf(s pagemap.State) chunk.State {
	switch s {
	case pagemap.Data:
		return chunk.Data
	case pagemap.Tombstone:
		return chunk.Tombstone
	case pagemap.Bad:
		return chunk.Bad
	}
	return chunk.Absent
}
