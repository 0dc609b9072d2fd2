package blockdev

import (
	"container/heap"
	"time"
)

// Latency is how long the operations of a Mem take. They happen when their time is over, so later ones may
// overtake. The zero value is no time at all.
type Latency struct {
	Read, Write, Flush time.Duration // of an operation; a Discard takes as long as a Write
	PerMiB             time.Duration // more, for each MiB that is transferred
	Jitter             float64       // up to this part more, by chance: 0.5 makes 100 us to 150 us
	Lanes              int           // operations that the device works on at once, others queue; 0: all
}

// of is the time that an operation takes, once a lane has it. chance is from [0, 1).
func (l *Latency) of(o *Op, chance float64) time.Duration {
	t := l.Write
	switch o.Kind {
	case Read:
		t = l.Read
	case Flush:
		t = l.Flush
	}
	if o.Kind == Read || o.Kind == Write {
		t += time.Duration(float64(l.PerMiB) * float64(len(o.Buf)) / (1 << 20))
	}
	return t + time.Duration(float64(t)*l.Jitter*chance)
}

// timed is an operation that waits for its time.
type timed struct {
	op  *Op
	due time.Time
	n   uint64 // order of submission, among those due at the same time
}

// timeline holds operations that take time, the next one first. The methods below it are for container/heap.
type timeline struct {
	latency Latency
	waiting []timed
	lanes   []time.Time // when each is free
	n       uint64
	timer   *time.Timer
}

func (t *timeline) Len() int { return len(t.waiting) }

func (t *timeline) Less(i, j int) bool {
	a, b := &t.waiting[i], &t.waiting[j]
	return a.due.Before(b.due) || a.due.Equal(b.due) && a.n < b.n
}

func (t *timeline) Swap(i, j int) { t.waiting[i], t.waiting[j] = t.waiting[j], t.waiting[i] }

// Push and Pop move only the length: what they would carry is in place already, and boxing it would allocate.
func (t *timeline) Push(any) {}

func (t *timeline) Pop() any {
	t.waiting = t.waiting[:len(t.waiting)-1]
	return nil
}

// add takes an operation that begins now.
func (t *timeline) add(o *Op, now time.Time, chance float64) {
	begin := now
	lane := -1
	for i, free := range t.lanes {
		if lane < 0 || free.Before(t.lanes[lane]) {
			lane = i
		}
	}
	if lane >= 0 && t.lanes[lane].After(now) {
		begin = t.lanes[lane]
	}
	due := begin.Add(t.latency.of(o, chance))
	if lane >= 0 {
		t.lanes[lane] = due
	}
	t.n++
	t.waiting = append(t.waiting, timed{op: o, due: due, n: t.n})
	heap.Push(t, nil)
}

// next takes out the operation that is due first, if it is due by now; nil: none is.
func (t *timeline) next(now time.Time) *Op {
	if len(t.waiting) == 0 || t.waiting[0].due.After(now) {
		return nil
	}
	o := t.waiting[0].op
	heap.Pop(t)
	return o
}

// SetLatency makes operations submitted from now on take their time. Manual mode knows no time.
func (m *Mem) SetLatency(l Latency) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.line.latency, m.mu.line.lanes = l, make([]time.Time, l.Lanes)
}

// enqueue takes an operation: to wait for its time, or to happen next. Called with mu held.
func (m *Mem) enqueue(o *Op) {
	if m.mu.manual || m.mu.closed || m.mu.line.latency == (Latency{}) {
		m.mu.pending.push(o)
		return
	}
	m.mu.line.add(o, time.Now(), m.mu.rng.Float64())
	m.setTimer()
}

// setTimer has ripe called when the next operation is due. Called with mu held.
func (m *Mem) setTimer() {
	t := &m.mu.line
	if len(t.waiting) == 0 {
		return
	}
	wait := time.Until(t.waiting[0].due)
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, m.ripe)
		return
	}
	t.timer.Reset(wait)
}

// ripe lets what is due happen.
func (m *Mem) ripe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for o := m.mu.line.next(now); o != nil; o = m.mu.line.next(now) {
		m.mu.pending.push(o)
	}
	m.setTimer()
	m.start()
}

// ripenAll lets everything happen that waits for its time, in that order. Called with mu held.
func (m *Mem) ripenAll() {
	for len(m.mu.line.waiting) > 0 {
		m.mu.pending.push(m.mu.line.next(m.mu.line.waiting[0].due))
	}
}
