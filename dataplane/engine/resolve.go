package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// resolving is one row on its way to a single version. With whole copies one readable copy of the newest
// version is enough to go forward: an acknowledged write has it on every device that is in. A version that no
// device can read was not acknowledged by all of them, or is rotten on all of them; it is removed and the
// next older one is looked at.
type resolving struct {
	key     rowKey
	round   int
	row     []cluster.DeviceID
	holders []holder
	w       cluster.Seq // version under examination
	asked   uint32      // bit per column of the row
	again   bool        // every column has been asked a second time
	data    [cluster.BlockSize]byte
	info    [1]chunk.BlockInfo
	waiting int
	failed  bool
}

// resolveMore takes up rows while there is room, and settles when none is left.
func (e *Engine) resolveMore() {
	o := &e.open
	for o.active < resolveWidth && len(o.keys) > 0 && !o.failed {
		k := o.keys[0]
		o.keys = o.keys[1:]
		rv := &resolving{key: k, round: o.round, row: e.rowOf(k.page)}
		for _, h := range o.rows[k] {
			if h.device.state == devIn {
				rv.holders = append(rv.holders, h)
			}
		}
		o.active++
		e.nextVersion(rv)
	}
	if o.active == 0 && len(o.keys) == 0 && !o.failed && o.phase == openResolve {
		e.settle()
	}
}

func (e *Engine) resolved(rv *resolving) {
	e.open.active--
	e.resolveMore()
}

// nextVersion takes up the newest version that is left.
func (e *Engine) nextVersion(rv *resolving) {
	rv.w = 0
	for _, h := range rv.holders {
		rv.w = max(rv.w, h.w)
	}
	if rv.w == 0 {
		e.resolved(rv)
		return
	}
	rv.asked, rv.again = 0, false
	e.readVersion(rv)
}

// readVersion asks the next device of the row for the version. Devices that did not list it are asked too:
// they may hold it as stable, and then theirs may be the only readable copy. An undo is for ever, so all are
// asked twice before it: what came back bad may have been spoiled on the way.
func (e *Engine) readVersion(rv *resolving) {
	for c, id := range rv.row {
		d := e.devices[id]
		if d.state != devIn || rv.asked&(1<<c) != 0 {
			continue
		}
		rv.asked |= 1 << c
		r := e.request(chunk.OpRead, d, control(func(d *device, r *chunk.Request) { e.versionRead(rv, d, r) }))
		r.Page, r.Block, r.Count, r.W = rv.key.page, rv.key.block, 1, rv.w
		r.Data, r.Blocks = rv.data[:], rv.info[:]
		e.send(r)
		return
	}
	if !rv.again {
		rv.asked, rv.again = 0, true
		e.readVersion(rv)
		return
	}
	e.undo(rv)
}

func (e *Engine) versionRead(rv *resolving, d *device, r *chunk.Request) {
	if !e.openCurrent(rv.round) {
		return
	}
	if r.Status != chunk.OK {
		e.openFailure(d)
		e.resolved(rv)
		return
	}
	if info := rv.info[0]; info.W == rv.w && (info.State == chunk.Data || info.State == chunk.Tombstone) {
		e.forward(rv)
		return
	}
	e.readVersion(rv)
}

// forward completes the version on every device of the row that is in, byte for byte. Devices that have it
// answer at once: commands are idempotent by (key, w).
func (e *Engine) forward(rv *resolving) {
	e.Counters.Forward++
	op := chunk.OpWrite
	if rv.info[0].State == chunk.Tombstone {
		op = chunk.OpTombstone
	}
	e.resolveAll(rv, op, func(r *chunk.Request) {
		if op == chunk.OpWrite {
			r.Data, r.Blocks = rv.data[:], rv.info[:]
		}
	}, func() { e.resolved(rv) })
}

// undo removes a version that no copy of can be read, and looks at the next older one.
func (e *Engine) undo(rv *resolving) {
	e.Counters.Undone++
	w := rv.w
	e.resolveAll(rv, chunk.OpUndo, func(*chunk.Request) {}, func() {
		left := rv.holders[:0]
		for _, h := range rv.holders {
			if h.w != w {
				left = append(left, h)
			}
		}
		rv.holders = left
		e.nextVersion(rv)
	})
}

// resolveAll sends one request to every device of the row that is in, then goes on.
func (e *Engine) resolveAll(rv *resolving, op chunk.Op, fill func(*chunk.Request), then func()) {
	answered := control(func(d *device, r *chunk.Request) {
		if !e.openCurrent(rv.round) {
			return
		}
		if r.Status != chunk.OK {
			rv.failed = true
			e.openFailure(d)
		}
		if rv.waiting--; rv.waiting > 0 {
			return
		}
		if rv.failed {
			e.resolved(rv)
			return
		}
		then()
	})
	for _, id := range rv.row {
		d := e.devices[id]
		if d.state != devIn {
			continue
		}
		r := e.request(op, d, answered)
		r.Page, r.Block, r.Count, r.W = rv.key.page, rv.key.block, 1, rv.w
		fill(r)
		rv.waiting++
		e.send(r)
	}
}
