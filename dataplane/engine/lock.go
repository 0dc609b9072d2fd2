package engine

import "github.com/ashlar-storage/ashlar/dataplane/mutant"

// lockBuckets is how many FIFO lists the extents of a volume are spread over, by page. Two pages in one
// bucket only cost comparisons, never waiting.
const lockBuckets = 256

// locks order the extents of a volume. Order of arrival is order of effect: an extent never overtakes an
// earlier one that it conflicts with, started or not.
type locks struct {
	buckets [lockBuckets][]*extent
	queued  int
	hold    holding
	// writesHeld: no write of a host begins (HoldWrites).
	writesHeld bool
	parked     []*extent // hold no lock: wait for something to change, see [Engine.wake]
	soon       bool      // one of them waits for the parent, of which nobody tells: ask with the next tick
}

func (l *locks) bucket(page uint64) *[]*extent { return &l.buckets[page%lockBuckets] }

func (l *locks) empty() bool {
	for i := range l.buckets {
		if len(l.buckets[i]) > 0 {
			return false
		}
	}
	return true
}

// enqueue appends x to its bucket and starts it when nothing before it conflicts.
func (e *Engine) enqueue(x *extent) {
	b := e.lock.bucket(x.page)
	x.started = false
	*b = append(*b, x)
	if blockedBy((*b)[:len(*b)-1], x) && !e.unlocked(x) || e.holds(x) {
		e.lock.queued++
		return
	}
	e.start(x)
}

// unlocked drops the order of operations for a planted bug.
func (e *Engine) unlocked(x *extent) bool {
	return x.kind == extWrite && e.cfg.Mutant.Is(mutant.MergeUnlocked) ||
		x.kind == extRead && e.cfg.Mutant.Is(mutant.ReadUnlocked)
}

func blockedBy(earlier []*extent, y *extent) bool {
	for _, x := range earlier {
		if y.conflicts(x) {
			return true
		}
	}
	return false
}

func (e *Engine) start(x *extent) {
	x.started = true
	switch x.kind {
	case extRead:
		e.startRead(x)
	case extRows:
		e.startRowRead(x)
	case extWrite:
		e.startWrite(x)
	case extInternal:
		x.run()
	}
}

// unlock takes an extent out of its bucket without starting what waits for it.
func (e *Engine) unlock(x *extent) {
	b := e.lock.bucket(x.page)
	i := 0
	for (*b)[i] != x {
		i++
	}
	copy((*b)[i:], (*b)[i+1:])
	(*b)[len(*b)-1] = nil
	*b = (*b)[:len(*b)-1]
}

// release unlocks an extent and starts what waited for it.
func (e *Engine) release(x *extent) {
	e.unlock(x)
	e.startWaiting(x.page)
}

// startWaiting starts the extents of a page that nothing blocks any more. Starting one may finish it at once
// (an error without a request) and change the bucket below us, so look from the beginning again after each.
func (e *Engine) startWaiting(page uint64) {
	b := e.lock.bucket(page)
	for again := e.lock.queued > 0; again; {
		again = false
		for i, y := range *b {
			if !y.started && !e.holds(y) && !blockedBy((*b)[:i], y) {
				e.lock.queued--
				e.resume(y)
				e.start(y)
				again = true
				break
			}
		}
	}
}

// park puts extents of hosts, for which nothing has been written, aside until something changes: they hold no
// lock meanwhile, for what they wait for may need it.
func (e *Engine) park(xs ...*extent) {
	for _, x := range xs {
		e.unlock(x)
		e.lock.parked = append(e.lock.parked, x)
	}
	e.startWaiting(xs[0].page)
}

// wake lets everything that waits for a device or a journal entry look again.
func (e *Engine) wake() {
	e.retryBatches()
	parked := e.lock.parked
	e.lock.parked = nil
	for _, x := range parked {
		if e.mode == modeStopped {
			op := x.op
			e.freeExtent(x)
			e.partDone(op, PathGone)
			continue
		}
		e.resume(x)
		e.enqueue(x)
	}
}

// whileLocked runs f alone on rows of a page; f must lead to e.release of the extent it is given.
func (e *Engine) whileLocked(page uint64, row, rows uint16, f func(x *extent)) {
	x := e.pools.extent()
	x.kind, x.page, x.row, x.rows = extInternal, page, row, rows
	x.run = func() { f(x) }
	e.enqueue(x)
}

// unlockInternal ends the extent of whileLocked.
func (e *Engine) unlockInternal(x *extent) {
	e.release(x)
	e.freeExtent(x)
}
