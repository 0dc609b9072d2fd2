package sim

// Times of the world, in nanoseconds.
const (
	microsecond int64 = 1e3
	millisecond int64 = 1e6
	second      int64 = 1e9
)

// event is something that happens at a moment; events of one moment happen in the order they were planned in.
type event struct {
	at  int64
	seq uint64
	do  func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// clock is the world's time with what is yet to happen: a binary heap.
type clock struct {
	now  int64
	seq  uint64
	heap []event
}

// after plans do for d nanoseconds from now.
func (c *clock) after(d int64, do func()) {
	c.seq++
	e := event{c.now + max(d, 0), c.seq, do}
	c.heap = append(c.heap, e)
	i := len(c.heap) - 1
	for i > 0 && e.before(&c.heap[(i-1)/2]) {
		c.heap[i] = c.heap[(i-1)/2]
		i = (i - 1) / 2
	}
	c.heap[i] = e
}

// step lets the next event happen, unless it lies behind limit.
func (c *clock) step(limit int64) bool {
	if len(c.heap) == 0 || c.heap[0].at > limit {
		return false
	}
	top, last := c.heap[0], len(c.heap)-1
	e := c.heap[last]
	c.heap[last] = event{}
	c.heap = c.heap[:last]
	for i := 0; last > 0; {
		child := 2*i + 1
		if child+1 < last && c.heap[child+1].before(&c.heap[child]) {
			child++
		}
		if child >= last || e.before(&c.heap[child]) {
			c.heap[i] = e
			break
		}
		c.heap[i] = c.heap[child]
		i = child
	}
	c.now = top.at
	top.do()
	return true
}
