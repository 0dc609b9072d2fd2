package chunkd

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/guard"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// task carries one admitted request through the page store. Tasks are reused, with their buffers and the
// callbacks that were bound when they were made, so that a request allocates nothing.
type task struct {
	d       *device
	v       *guard.Volume
	r       *chunk.Request
	write   pagestore.Write
	read    pagestore.Read
	crc     []uint32
	columns []pagemap.Columns
	info    []pagestore.BlockInfo
	list    []pagemap.Entry
	ended   func(error)
}

func newTask(d *device) *task {
	t := &task{d: d}
	t.write.Done = func(_ *pagestore.Write, err error) { t.end(err) }
	t.read.Done = t.readDone
	t.ended = t.end
	return t
}

func (d *device) run(v *guard.Volume, r *chunk.Request) {
	t := d.tasks.Get().(*task)
	t.v, t.r = v, r
	switch r.Op {
	case chunk.OpWrite, chunk.OpTombstone:
		t.startWrite()
	case chunk.OpRead, chunk.OpHead:
		t.startRead()
	case chunk.OpUndo:
		d.store.Undo(extentOf(r), r.W, t.ended)
	case chunk.OpDrop:
		d.store.DropChunk(extentOf(r), t.ended)
	case chunk.OpRenumber:
		d.store.Renumber(extentOf(r), t.ended)
	case chunk.OpList:
		t.runList()
	case chunk.OpFence:
		t.runFence()
	case chunk.OpSettle:
		d.store.Settle(r.Vol, r.Epoch, t.ended)
	case chunk.OpStable:
		d.store.SetStable(r.Vol, pagemap.Mark{W: r.W, Holes: r.Holes}, t.ended)
	case chunk.OpView:
		d.store.SetView(r.Vol, r.View, t.ended)
	case chunk.OpJournalPut, chunk.OpJournalTrim, chunk.OpJournalWipe:
		d.journals.change(d.store, r, t.ended)
	case chunk.OpJournalList:
		d.journals.list(r)
		t.end(nil)
	default:
		panic("chunkd: a request that Validate knows and run does not")
	}
}

// end gives the task back and answers the request.
func (t *task) end(err error) {
	d, v, r := t.d, t.v, t.r
	t.v, t.r = nil, nil
	t.write.Data, t.read.Data = nil, nil
	d.tasks.Put(t)
	d.ended(v, r, err)
}

func (t *task) startWrite() {
	r, w := t.r, &t.write
	w.Extent, w.W, w.Stable = extentOf(r), r.W, 0
	if r.Stable.Epoch() == r.Epoch && r.Stable.Counter() > 0 {
		w.Stable = r.Stable
	}
	t.crc, t.columns = t.crc[:0], t.columns[:0]
	for i := range r.Blocks {
		t.crc = append(t.crc, r.Blocks[i].CRC)
		t.columns = append(t.columns, pagemap.Columns{Set: r.Blocks[i].Set, Mask: r.Blocks[i].Mask})
	}
	w.Tombstone, w.Columns, w.CRC, w.Data = r.Op == chunk.OpTombstone, t.columns, t.crc, r.Data
	t.d.store.Write(w)
}

func (t *task) startRead() {
	r := t.r
	if cap(t.info) < int(r.Count) {
		t.info = make([]pagestore.BlockInfo, chunk.MaxBlocks)
	}
	t.read.Extent, t.read.AsOf, t.read.Head = extentOf(r), r.W, r.Op == chunk.OpHead
	t.read.Data, t.read.Info = r.Data, t.info[:r.Count]
	t.d.store.Read(&t.read)
}

func (t *task) readDone(rd *pagestore.Read, err error) {
	if err == nil {
		for i := range rd.Info {
			b := &rd.Info[i]
			t.r.Blocks[i] = chunk.BlockInfo{W: b.W, CRC: b.CRC, Set: b.Set, Mask: b.Mask, State: b.State}
		}
	}
	t.end(err)
}

func (t *task) runList() {
	r := t.r
	if cap(t.list) < int(r.Count) {
		t.list = make([]pagemap.Entry, r.Count)
	}
	kind := pagestore.ListAll
	switch r.Mode {
	case chunk.ListUnstable:
		kind = pagestore.ListUnstable
	case chunk.ListChunks:
		kind = pagestore.ListChunks
	}
	after := pagemap.Cursor{Page: r.After.Page, Column: r.After.Column, Block: r.After.Block, W: r.After.W}
	n, more := 0, false
	if r.Mode == chunk.ListBad {
		n, more = t.d.store.ListBad(r.Vol, after, t.list[:r.Count])
	} else {
		n, _, more = t.d.store.List(r.Vol, kind, after, t.list[:r.Count])
	}
	r.More = more
	for _, e := range t.list[:n] {
		r.Entries = append(r.Entries, chunk.Entry{State: e.State, Residency: e.Residency, Set: e.Set,
			Cursor: chunk.Cursor{Page: e.Page, W: e.W, Block: e.Block, Column: e.Column}})
	}
	t.endKnown()
}

// endKnown ends a task with what the store's map has said, if that was still its map.
func (t *task) endKnown() {
	if t.d.store.Closed() {
		t.end(pagestore.ErrClosed)
		return
	}
	t.end(nil)
}

func (t *task) runFence() {
	info, _ := t.d.store.Volume(t.r.Vol)
	t.r.Settled, t.r.Viewed, t.r.Free = info.Settled, info.View.Version, t.d.store.Free()
	t.r.Mark, t.r.Holes = 0, t.r.Holes[:0]
	if n := len(info.Marks); n > 0 {
		t.r.Mark, t.r.Holes = info.Marks[n-1].W, append(t.r.Holes, info.Marks[n-1].Holes...)
	}
	t.endKnown()
}
