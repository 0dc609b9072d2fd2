package qos

import (
	"container/heap"
	"math"
)

// Never is a time that does not come.
const Never = math.MaxInt64

// Item is one command that waits. Its owner fills in Bytes and Tag, and leaves it alone from Submit until
// Ready has given it out.
type Item struct {
	Bytes uint32
	Tag   any
	Next  *Item // in what Ready gives out
}

// Flow is the commands of one volume.
type Flow struct {
	own         meters
	first, last *Item
	had         int64 // nanoseconds of the pool's time, as fair queueing counts
	where       *flows
	index       int // in where
}

// Scheduler shares out the limits of a pool among its volumes.
type Scheduler struct {
	pool    meters
	turn    int64 // had of the flow that began last
	waiting flows // held back by their own limits, the earliest first
	able    flows // that may begin as far as their own limits go, who had least first
}

// New makes a scheduler without limits.
func New() *Scheduler {
	s := &Scheduler{}
	s.waiting.less = func(a, b *Flow) bool { return a.own.at() < b.own.at() }
	s.able.less = func(a, b *Flow) bool { return a.had < b.had }
	return s
}

// Limit sets the limits of the pool.
func (s *Scheduler) Limit(l Limits) { s.pool.set(l) }

// NewFlow makes the flow of a volume.
func (s *Scheduler) NewFlow() *Flow { return &Flow{index: -1} }

// LimitFlow sets the limits of a volume.
func (s *Scheduler) LimitFlow(f *Flow, l Limits) {
	f.own.set(l)
	if f.where != nil {
		s.place(f)
	}
}

// Submit queues a command.
func (s *Scheduler) Submit(f *Flow, it *Item) {
	it.Next = nil
	if f.last != nil {
		f.last.Next = it
		f.last = it
		return
	}
	f.first, f.last = it, it
	s.place(f)
}

// place puts a flow that has commands where it belongs.
func (s *Scheduler) place(f *Flow) {
	if f.where != nil {
		heap.Remove(f.where, f.index)
	}
	heap.Push(&s.waiting, f)
}

// Ready gives out the commands that may begin, linked by Next.
func (s *Scheduler) Ready(now int64) *Item {
	var first, last *Item
	for {
		for s.waiting.Len() > 0 && s.waiting.all[0].own.at() <= now {
			f := heap.Pop(&s.waiting).(*Flow)
			f.had = max(f.had, s.turn) // whoever did not compete has nothing saved up
			heap.Push(&s.able, f)
		}
		if s.able.Len() == 0 || s.pool.at() > now {
			return first
		}
		it := s.begin(heap.Pop(&s.able).(*Flow), now)
		if last == nil {
			first = it
		} else {
			last.Next = it
		}
		last = it
	}
}

// begin takes a command of a flow that is in no heap.
func (s *Scheduler) begin(f *Flow, now int64) *Item {
	it := f.first
	if f.first = it.Next; f.first == nil {
		f.last = nil
	}
	it.Next = nil
	s.turn = f.had
	f.own.charge(now, it.Bytes)
	f.had += s.pool.charge(now, it.Bytes)
	if f.first != nil {
		s.place(f)
	}
	return it
}

// Drain gives out everything that waits in a flow, linked by Next, whatever the limits.
func (s *Scheduler) Drain(f *Flow) *Item {
	first := f.first
	f.first, f.last = nil, nil
	if f.where != nil {
		heap.Remove(f.where, f.index)
	}
	return first
}

// Next is when Ready will have something to give out, Never when nothing waits.
func (s *Scheduler) Next() int64 {
	next := int64(Never)
	if s.waiting.Len() > 0 {
		next = max(s.waiting.all[0].own.at(), s.pool.at())
	}
	if s.able.Len() > 0 {
		next = min(next, s.pool.at())
	}
	return next
}

// flows is a heap of flows.
type flows struct {
	all  []*Flow
	less func(a, b *Flow) bool
}

// Len implements heap.Interface.
func (h *flows) Len() int { return len(h.all) }

// Less implements heap.Interface.
func (h *flows) Less(i, j int) bool { return h.less(h.all[i], h.all[j]) }

// Swap implements heap.Interface.
func (h *flows) Swap(i, j int) {
	h.all[i], h.all[j] = h.all[j], h.all[i]
	h.all[i].index, h.all[j].index = i, j
}

// Push implements heap.Interface.
func (h *flows) Push(x any) {
	f := x.(*Flow)
	f.where, f.index = h, len(h.all)
	h.all = append(h.all, f)
}

// Pop implements heap.Interface.
func (h *flows) Pop() any {
	f := h.all[len(h.all)-1]
	h.all[len(h.all)-1] = nil
	h.all = h.all[:len(h.all)-1]
	f.where, f.index = nil, -1
	return f
}
