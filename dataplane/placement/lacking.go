package placement

// lacking knows the devices that have fewer slots than their aim. The domain that lacks most is served
// first, and in it the device that lacks most: what is hardest to place is placed while most rows are
// still open for it.
type lacking struct {
	domains queue
	devices []queue // by domain
}

func newLacking(domain []int32, have, aim []int) *lacking {
	l := &lacking{}
	for pos := range have {
		d := int(domain[pos])
		for len(l.devices) <= d {
			l.devices = append(l.devices, queue{})
			l.domains.need = append(l.domains.need, 0)
		}
		if n := aim[pos] - have[pos]; n > 0 {
			l.domains.need[d] += n
		}
	}
	need := make([]int, len(have))
	for pos := range have {
		need[pos] = aim[pos] - have[pos]
		if q := &l.devices[domain[pos]]; need[pos] > 0 {
			q.need = need
			q.push(int32(pos))
		}
	}
	for d, n := range l.domains.need {
		if n > 0 {
			l.domains.push(int32(d))
		}
	}
	return l
}

func (l *lacking) some() bool { return len(l.domains.ids) > 0 }

// take finds a device that fits a column of a row, and counts the slot as given.
func (l *lacking) take(r *rule, row []int32, column int) (pos int32, ok bool) {
	_, ok = l.domains.take(func(d int32) bool {
		if !r.roomIn(row, column, d) {
			return false
		}
		var found bool
		pos, found = l.devices[d].take(func(pos int32) bool { return r.apart(row, column, pos) })
		return found
	})
	return pos, ok
}

// queue is a heap of ids, the one that needs most first, the lower id among equals. Who needs nothing is
// not in it.
type queue struct {
	ids     []int32
	need    []int // by id
	skipped []int32
}

// take gives the first id that is accepted and lowers its need by one. It looks at no more ids than are
// refused: for the slots of a row these are the domains in the row.
func (q *queue) take(accept func(id int32) bool) (int32, bool) {
	id, found := int32(vacant), false
	for len(q.ids) > 0 && !found {
		if id = q.ids[0]; accept(id) {
			found = true
			if q.need[id]--; q.need[id] > 0 {
				q.down(0)
				break
			}
		} else {
			q.skipped = append(q.skipped, id)
		}
		q.pop()
	}
	for _, s := range q.skipped {
		q.push(s)
	}
	q.skipped = q.skipped[:0]
	return id, found
}

func (q *queue) before(a, b int32) bool {
	return q.need[a] > q.need[b] || q.need[a] == q.need[b] && a < b
}

func (q *queue) push(id int32) {
	q.ids = append(q.ids, id)
	for i := len(q.ids) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.before(q.ids[i], q.ids[parent]) {
			return
		}
		q.ids[i], q.ids[parent] = q.ids[parent], q.ids[i]
		i = parent
	}
}

func (q *queue) pop() {
	last := len(q.ids) - 1
	q.ids[0] = q.ids[last]
	q.ids = q.ids[:last]
	q.down(0)
}

func (q *queue) down(i int) {
	for {
		first := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(q.ids) && q.before(q.ids[child], q.ids[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		q.ids[i], q.ids[first] = q.ids[first], q.ids[i]
		i = first
	}
}
