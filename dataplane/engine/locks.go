package engine

// lockBuckets is how many FIFO lists the extents of a volume are spread over, by page. Two pages in one
// bucket only cost comparisons, never waiting.
const lockBuckets = 256

// enqueue appends x to its bucket and starts it when nothing before it conflicts. Order of arrival is order
// of effect: an extent never overtakes an earlier one that it conflicts with, started or not.
func (e *Engine) enqueue(x *extent) {
	b := &e.locks[x.page%lockBuckets]
	x.phase = phaseQueued
	for _, y := range *b {
		if x.conflicts(y) {
			*b = append(*b, x)
			e.queued++
			return
		}
	}
	*b = append(*b, x)
	e.start(x)
}

// release takes a finished extent out of its bucket and starts what waited for it.
func (e *Engine) release(x *extent) {
	b := &e.locks[x.page%lockBuckets]
	i := 0
	for (*b)[i] != x {
		i++
	}
	copy((*b)[i:], (*b)[i+1:])
	(*b)[len(*b)-1] = nil
	*b = (*b)[:len(*b)-1]
	if e.queued == 0 {
		return
	}
	// Starting an extent may finish it at once (an error without a request) and change the bucket below us, so
	// look from the beginning again after each start.
	for again := true; again; {
		again = false
		for i, y := range *b {
			if y.phase == phaseQueued && !blockedBy((*b)[:i], y) {
				e.queued--
				e.start(y)
				again = true
				break
			}
		}
	}
}

func blockedBy(earlier []*extent, y *extent) bool {
	for _, x := range earlier {
		if y.conflicts(x) {
			return true
		}
	}
	return false
}
