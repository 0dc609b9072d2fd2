package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// resyncRetryTicks is the pause before an out device is tried (again); it doubles with each resync that
// failed in a row, at most so many times.
const (
	resyncRetryTicks = 10
	maxDoublings     = 6
)

// copyWidth bounds the copies of a resync under way; copyBlocks the length of each.
const (
	copyWidth  = 4
	copyBlocks = 64
)

type resyncPhase uint8

const (
	rsProbe  resyncPhase = iota // does the device answer? (it gets the fence with that)
	rsNumber                    // a new residency number is being recorded
	rsBegin                     // the device is being emptied under the new number
	rsDrain                     // writes that started without the device must complete first
	rsCopy                      // inventory and copies
	rsSettle                    // the device learns that what it got is complete
	rsReturn                    // "no longer out" is being recorded
)

// resync brings one out device back, one at a time per volume:
//
//	probe --> record residency k+1 --> begin k+1 (empty) --> [new writes go there too]
//	      --> drain --> copy --> settle --> record in
//
// The order matters: the number is recorded before the device is emptied, so data under the old number can
// never count again; writes that started before the device took part are complete before the inventory is
// read, so none is missed.
type resync struct {
	target  *device
	number  uint32 // the target's residency before
	phase   resyncPhase
	failed  bool
	barrier uint64 // counter: every write below it must be complete before the inventory
	sources []*device
	listing bool
	after   chunk.Cursor
	todo    []copyRange
	active  int
	done    uint64 // blocks copied
}

// copyRange is a run of blocks of one page.
type copyRange struct {
	page         uint64
	first, count uint16
}

// tickResync starts a resync when a device is due, and carries the present one on. While a device is suspect
// none starts: it may be the only source of some pages, and with a target that lacks them in its place it
// would be recorded out.
func (e *Engine) tickResync() {
	if e.rs != nil {
		e.stepResync()
		return
	}
	if slices.ContainsFunc(e.order, func(d *device) bool { return d.state == devSuspect }) {
		return
	}
	for _, d := range e.order {
		if d.state != devOut || e.ticks < d.retryAt {
			continue
		}
		rs := &resync{target: d, number: d.residency}
		e.rs = rs
		e.send(e.request(chunk.OpFence, d, control(func(_ *device, r *chunk.Request) {
			if e.rs != rs {
				return
			}
			if r.Status != chunk.OK {
				d.retryAt = e.ticks + resyncRetryTicks // others have their turn first
				e.rs = nil
				return
			}
			rs.phase = rsNumber
			e.wantRecord()
		})))
		return
	}
}

// wants adds what the resync needs to a change of the owner record.
func (rs *resync) wants(next *cluster.Owner) bool {
	id := rs.target.id
	switch {
	case rs.phase == rsNumber:
		next.Residencies[id] = next.Residency(id) + 1
		return true
	case rs.phase == rsReturn && !rs.failed:
		next.Out = removeOut(next.Out, id)
		return true
	}
	return false
}

func removeOut(out []cluster.Out, id cluster.DeviceID) []cluster.Out {
	kept := out[:0]
	for _, o := range out {
		if o.Device != id {
			kept = append(kept, o)
		}
	}
	return kept
}

// recorded is called after every stored change of the owner record.
func (rs *resync) recorded(e *Engine) {
	d := rs.target
	switch rs.phase {
	case rsNumber:
		if d.residency != rs.number {
			rs.phase = rsBegin
			e.send(e.request(chunk.OpBegin, d, control(func(d *device, r *chunk.Request) { e.begun(rs, r) })))
		}
	case rsReturn:
		if !e.rec.have.IsOut(d.id) {
			if d.state == devResync { // else it failed meanwhile: a suspect like any other
				d.state = devIn
			}
			d.failures = 0
			e.rs = nil
		}
	}
}

func (e *Engine) begun(rs *resync, r *chunk.Request) {
	if e.rs != rs || e.mode != modeServing {
		return
	}
	if r.Status != chunk.OK {
		e.dropResync()
		return
	}
	rs.target.state = devResync
	rs.barrier = e.win.next
	rs.phase = rsDrain
	e.stepResync()
}

// resyncFailed notes that the target is out again.
func (e *Engine) resyncFailed(d *device) {
	rs := e.rs
	if rs == nil || rs.target != d {
		return
	}
	rs.failed = true
	if p := e.rec.pending; rs.phase == rsReturn && p != nil && !p.IsOut(d.id) {
		d.state = devSuspect // the record that brings it back is under way: recorded() sees to it
		return
	}
	rs.phase = min(rs.phase, rsCopy)
	e.stepResync()
}

// stepResync carries the resync on as far as it can go without waiting.
func (e *Engine) stepResync() {
	rs := e.rs
	if rs == nil || e.mode != modeServing {
		return
	}
	if rs.failed && rs.phase < rsReturn {
		if rs.active == 0 && !rs.listing {
			e.dropResync()
		}
		return
	}
	if rs.phase == rsDrain && e.win.base >= rs.barrier {
		rs.phase = rsCopy
		for _, d := range e.order {
			if d.state == devIn {
				rs.sources = append(rs.sources, d)
			}
		}
	}
	if rs.phase != rsCopy {
		return
	}
	for rs.active < copyWidth && len(rs.todo) > 0 {
		c := rs.todo[0]
		rs.todo = rs.todo[1:]
		e.startCopy(rs, c)
	}
	if len(rs.todo) > 0 || rs.listing {
		return
	}
	if len(rs.sources) > 0 {
		e.listSource(rs)
		return
	}
	if rs.active == 0 {
		rs.phase = rsSettle
		e.send(e.request(chunk.OpSettle, rs.target, control(func(d *device, r *chunk.Request) {
			e.resyncSettled(rs, d, r)
		})))
	}
}

// resyncSettled: versions of older epochs that were copied count as complete on the target from now on.
// Without that a later open would take them for unresolved there alone.
func (e *Engine) resyncSettled(rs *resync, d *device, r *chunk.Request) {
	if e.rs != rs || rs.failed {
		return
	}
	if r.Status != chunk.OK {
		e.deviceFailed(d)
		return
	}
	rs.phase = rsReturn
	e.wantRecord()
}

// dropResync gives up this attempt; the device stays out.
func (e *Engine) dropResync() {
	d := e.rs.target
	d.state = devOut
	d.retryAt = e.ticks + resyncRetryTicks<<d.failures
	d.failures = min(d.failures+1, maxDoublings)
	e.rs = nil
	e.retryBlocked()
}

// listSource reads the next piece of a source's inventory.
func (e *Engine) listSource(rs *resync) {
	src := rs.sources[0]
	r := e.request(chunk.OpList, src, control(func(d *device, r *chunk.Request) { e.sourceListed(rs, d, r) }))
	r.Mode, r.Count, r.After = chunk.ListAll, chunk.MaxEntries, rs.after
	rs.listing = true
	e.send(r)
}

func (e *Engine) sourceListed(rs *resync, d *device, r *chunk.Request) {
	if e.rs != rs {
		return
	}
	rs.listing = false
	if r.Status != chunk.OK {
		rs.failed = true
		e.deviceFailed(d)
		e.stepResync()
		return
	}
	for _, x := range r.Entries {
		if x.State != chunk.Tombstone && e.copiesFrom(d, rs.target, x.Page) {
			rs.add(x.Page, x.Block)
		}
	}
	if n := len(r.Entries); r.More && n > 0 {
		rs.after = r.Entries[n-1].Cursor
	} else {
		rs.sources = rs.sources[1:]
		rs.after = chunk.Cursor{}
	}
	e.stepResync()
}

// copiesFrom reports whether src is the one device whose inventory decides for this page: the first of the
// row that is in. A device that leaves during the resync fails it, so no page falls between two sources.
func (e *Engine) copiesFrom(src, target *device, page uint64) bool {
	first := (*device)(nil)
	member := false
	for _, id := range e.rowOf(page) {
		d := e.devices[id]
		member = member || d == target
		if first == nil && d.state == devIn {
			first = d
		}
	}
	return member && first == src
}

// add appends a block to the list of copies, extending the last run when it continues it.
func (rs *resync) add(page uint64, block uint16) {
	if n := len(rs.todo); n > 0 {
		c := &rs.todo[n-1]
		if c.page == page && c.first+c.count == block && c.count < copyBlocks {
			c.count++
			return
		}
		if c.page == page && c.first <= block && block < c.first+c.count {
			return
		}
	}
	rs.todo = append(rs.todo, copyRange{page: page, first: block, count: 1})
}

func (e *Engine) startCopy(rs *resync, c copyRange) {
	x := e.newExtent(c.page, c.first, c.count)
	x.kind = extCopy
	x.data = make([]byte, int(c.count)*cluster.BlockSize)
	rs.active++
	e.enqueue(x)
}

// proceedCopy writes what was read to the target, a run of equal versions at a time, then finishes.
func (e *Engine) proceedCopy(x *extent) {
	rs := e.rs
	if rs == nil || rs.failed || x.failed != 0 {
		e.finish(x, PathGone)
		return
	}
	for x.copied < len(x.blocks) {
		i := x.copied
		j := i + 1
		for j < len(x.blocks) && x.blocks[j].W == x.blocks[i].W && x.blocks[j].State == x.blocks[i].State {
			j++
		}
		x.copied = j
		if x.blocks[i].State != chunk.Data {
			continue // the target is empty: absent and tombstone read the same there
		}
		r := e.request(chunk.OpWrite, rs.target, x)
		r.Page, r.Block, r.Count, r.W = x.page, x.first+uint16(i), uint16(j-i), x.blocks[i].W
		r.Data = x.data[i*cluster.BlockSize : j*cluster.BlockSize]
		r.Blocks = x.blocks[i:j]
		x.waiting++
		e.send(r)
		return
	}
	e.finish(x, OK)
}

// copyFinished counts a copy. A block that no device can read leaves the target out: it must not look absent
// there.
func (e *Engine) copyFinished(blocks uint16, s Status) {
	rs := e.rs
	if rs == nil {
		return
	}
	rs.active--
	if s == OK {
		rs.done += uint64(blocks)
		e.Counters.Copied += uint64(blocks)
	} else {
		rs.failed = true
	}
	e.stepResync()
}

// Resyncing names the device being brought back and the blocks copied so far; 0 when none is.
func (e *Engine) Resyncing() (cluster.DeviceID, uint64) {
	if e.rs == nil || e.rs.phase < rsBegin {
		return 0, 0
	}
	return e.rs.target.id, e.rs.done
}

// OutDevices lists the devices that are recorded out.
func (e *Engine) OutDevices() []cluster.DeviceID {
	var out []cluster.DeviceID
	for _, o := range e.rec.have.Out {
		out = append(out, o.Device)
	}
	return out
}
