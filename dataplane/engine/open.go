package engine

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// The open of a volume by a new owner:
//
//	fence --> list unstable --> record the unreachable out --> resolve row by row --> settle --> serve
//
// Any failure on the way starts it again from the fence; every step may be repeated.

type openPhase uint8

const (
	openGather  openPhase = iota // fences and inventories under way
	openRecord                   // unreachable devices are being recorded out
	openResolve                  // rows are being completed
	openSettle                   // devices are being told that they are settled
)

type openState uint8

const (
	openAsked  openState = iota // fence or list outstanding
	openListed                  // inventory complete
	openFailed                  // did not answer
)

// resolveWidth bounds the rows that are completed at the same time.
const resolveWidth = 32

// openRetryTicks is the pause between attempts on a device that the open has to wait for.
const openRetryTicks = 5

// opening is the state of the open.
type opening struct {
	phase   openPhase
	round   int // answers of an earlier round are ignored
	rows    map[rowKey][]holder
	keys    []rowKey // rows not yet taken up, ascending
	active  int
	failed  bool
	waiting int
	retryAt uint64
}

type rowKey struct {
	page  uint64
	block uint16
}

// holder says that a device has version w of a row, unstable.
type holder struct {
	device *device
	w      cluster.Seq
}

// reachableAtOpen: while the volume is being opened a device counts as present only when its inventory is
// complete.
func (d *device) reachableAtOpen(m mode) bool { return m != modeOpening || d.open == openListed }

// startOpen begins (again) with fencing every device that is not out.
func (e *Engine) startOpen() {
	round := e.open.round + 1
	e.open = opening{round: round, rows: make(map[rowKey][]holder)}
	for _, d := range e.order {
		if d.state != devOut {
			d.state = devIn
			e.askOpen(d)
		}
	}
	e.gathered()
}

func (e *Engine) askOpen(d *device) {
	if d.condemned {
		d.condemned, d.open = false, openFailed
		return
	}
	d.open = openAsked
	round := e.open.round
	e.open.waiting++
	e.send(e.request(chunk.OpFence, d, control(func(d *device, r *chunk.Request) {
		e.fenceDone(round, d, r)
	})))
}

// openCurrent filters answers that belong to an earlier attempt.
func (e *Engine) openCurrent(round int) bool { return e.mode == modeOpening && round == e.open.round }

func (e *Engine) fenceDone(round int, d *device, r *chunk.Request) {
	if !e.openCurrent(round) {
		return
	}
	e.open.waiting--
	if r.Status != chunk.OK {
		d.open = openFailed
		e.gathered()
		return
	}
	e.askList(round, d, chunk.Cursor{})
}

func (e *Engine) askList(round int, d *device, after chunk.Cursor) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) { e.listDone(round, d, r) }))
	r.Mode, r.Count, r.After = chunk.ListUnstable, chunk.MaxEntries, after
	e.open.waiting++
	e.send(r)
}

func (e *Engine) listDone(round int, d *device, r *chunk.Request) {
	if !e.openCurrent(round) {
		return
	}
	e.open.waiting--
	if r.Status != chunk.OK {
		d.open = openFailed
		e.gathered()
		return
	}
	for _, x := range r.Entries {
		k := rowKey{x.Page, x.Block}
		e.open.rows[k] = append(e.open.rows[k], holder{d, x.W})
	}
	if n := len(r.Entries); r.More && n > 0 {
		e.askList(round, d, r.Entries[n-1].Cursor)
		return
	}
	d.open = openListed
	e.gathered()
}

// gathered goes on once every device has answered or failed: when each group has a device that answered.
func (e *Engine) gathered() {
	o := &e.open
	if o.waiting > 0 || o.phase != openGather {
		return
	}
	missing, awaited := false, false
	for _, d := range e.order {
		if d.state == devIn && d.open == openFailed {
			missing, awaited = true, awaited || e.cfg.Awaited[d.id]
		}
	}
	if patient := e.ticks < uint64(e.cfg.Patience); missing && (awaited && patient || !e.covered()) {
		o.retryAt = e.ticks + openRetryTicks
		return
	}
	o.phase = openRecord
	for _, d := range e.order {
		if d.state == devIn && d.open == openFailed {
			d.state = devSuspect
		}
	}
	e.wantRecord()
	if e.rec.pending == nil {
		e.openRecorded()
	}
}

// covered reports whether every group has a device whose inventory is complete.
func (e *Engine) covered() bool {
	for _, row := range e.cfg.Table.Rows() {
		if !slices.ContainsFunc(row, func(id cluster.DeviceID) bool {
			d := e.devices[id]
			return d.state == devIn && d.open == openListed
		}) {
			return false
		}
	}
	return true
}

// openRecorded goes on once the owner record says what the devices' states say.
func (e *Engine) openRecorded() {
	if e.open.phase != openRecord {
		return
	}
	for _, d := range e.order {
		if d.state == devSuspect {
			e.wantRecord()
			return
		}
	}
	o := &e.open
	o.phase = openResolve
	for k := range o.rows {
		o.keys = append(o.keys, k)
	}
	slices.SortFunc(o.keys, func(a, b rowKey) int {
		if a.page != b.page {
			return cmpUint(a.page, b.page)
		}
		return int(a.block) - int(b.block)
	})
	e.resolveMore()
}

func cmpUint(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// tickOpen asks again the devices that the open waits for, or starts over after a failure.
func (e *Engine) tickOpen() {
	o := &e.open
	switch {
	case o.failed && o.active == 0 && o.waiting == 0 && e.rec.pending == nil:
		if e.ticks >= o.retryAt {
			e.startOpen()
		}
	case o.phase == openGather && o.waiting == 0 && e.ticks >= o.retryAt:
		for _, d := range e.order {
			if d.state == devIn && d.open == openFailed {
				e.askOpen(d)
			}
		}
		e.gathered()
	}
}

// openFailure notes a failure after gathering: wait for what is outstanding, then start over without the
// device.
func (e *Engine) openFailure(d *device) {
	d.condemned = true
	e.open.failed = true
	e.open.retryAt = e.ticks + 1
}

// settle tells every device that all versions of earlier epochs are resolved; then the volume serves.
func (e *Engine) settle() {
	o := &e.open
	o.phase = openSettle
	round := o.round
	for _, d := range e.order {
		if d.state != devIn {
			continue
		}
		o.waiting++
		e.send(e.request(chunk.OpSettle, d, control(func(d *device, r *chunk.Request) {
			e.settleDone(round, d, r)
		})))
	}
}

func (e *Engine) settleDone(round int, d *device, r *chunk.Request) {
	if !e.openCurrent(round) {
		return
	}
	o := &e.open
	o.waiting--
	if r.Status != chunk.OK {
		e.openFailure(d)
	}
	if o.waiting == 0 && !o.failed {
		e.mode = modeServing
		o.rows, o.keys = nil, nil
	}
}
