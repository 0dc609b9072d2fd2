package nvmet

import (
	"sync"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Reserves of a queue, in bytes: what it may hold whatever other queues hold. The reserve for data in
// capsules is apart, because the reader waits for it with the socket unread: it must depend on nothing that
// the reader does.
const (
	capsuleReserve = 128 << 10
	dataReserve    = 512 << 10
)

// plan is what the data of a command needs; it is made before any memory is taken.
type plan struct {
	dir     nvme.Direction
	length  uint32 // bytes of Data
	bounce  uint32 // bytes of a second buffer, for Compare
	capsule bool   // the data comes in the capsule
	hidden  bool   // the data is not for the host (Verify)
}

// queue holds the commands of one connection between their arrival and their answer.
//
// A request moves along these lists and hands, and is in exactly one place at a time:
//
//	free -> reader -> waiting -> ready (R2T) -> reader (H2CData) -> namespace -> ready -> sender -> free
//	           `-------------------------------------------------------^
//
// Who sends: the first to set mu.sending owns the sender until it has cleared it. While the reader works
// through what one read of the socket brought (mu.reading), answers gather and the reader sends them at the
// end; otherwise whoever completes a request wakes the writer goroutine.
type queue struct {
	mem   *memory
	slots []Request // every command the host may have outstanding; index = TTAG
	wake  func()    // starts the writer goroutine; the caller has set mu.sending

	executing atomic.Int32  // requests with the namespace or kept by the controller
	capsules  chan struct{} // has an element when the reader should look for capsule memory again
	idle      chan struct{} // closed with the queue
	drained   chan struct{} // closed when the queue is closed and executing is 0

	mu struct {
		sync.Mutex
		free    requestList
		waiting requestList // for data memory, first come first served
		ready   requestList // answers and R2Ts to send, in order
		capsule account
		data    account
		reading bool // the reader is at work and will send what is ready
		sending bool // somebody owns the sender
		retry   bool // shared memory returned while somebody was sending
		starved bool // the reader waits on capsules
		killed  bool // the connection is to end, the reader must not wait
		ending  bool // the reader has stopped; close when the sender is idle
		closed  bool // nothing is sent any more, what completes is dropped
		settled bool // drained is closed
	}
}

// requestList is a FIFO of requests, linked through Request.next.
type requestList struct{ first, last *Request }

func (l *requestList) empty() bool { return l.first == nil }

func (l *requestList) push(r *Request) {
	r.next = nil
	if l.first == nil {
		l.first = r
	} else {
		l.last.next = r
	}
	l.last = r
}

func (l *requestList) pop() *Request {
	r := l.first
	if r != nil {
		l.first = r.next
		r.next = nil
	}
	return r
}

// newQueue makes a queue for depth outstanding commands.
func newQueue(mem *memory, depth int, wake func()) *queue {
	q := &queue{
		mem: mem, wake: wake, capsules: make(chan struct{}, 1),
		idle: make(chan struct{}), drained: make(chan struct{}),
	}
	q.mu.capsule.reserve = capsuleReserve
	q.mu.data.reserve = max(dataReserve, int64(mem.largest()+compareChunk)) // any command fits alone
	q.resize(depth)
	return q
}

// resize gives the queue new slots: one until Connect says how many there are to be. Requests of the old
// slots are answered and then forgotten.
func (q *queue) resize(depth int) {
	slots := make([]Request, depth)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.slots, q.mu.free = slots, requestList{}
	for i := range slots {
		slots[i].queue, slots[i].index = q, uint16(i)
		q.mu.free.push(&slots[i])
	}
}

// arrive takes a slot for a command that is being received; nil when the host sent more than the queue holds.
func (q *queue) arrive() *Request {
	q.mu.Lock()
	r := q.mu.free.pop()
	q.mu.Unlock()
	if r != nil {
		r.enter(stateReceiving)
		r.plan, r.got, r.fault = plan{}, 0, nvme.Success
	}
	return r
}

// cost is what a plan books: whole buffers.
func (q *queue) cost(p *plan) int64 {
	n := int64(q.mem.sizeOf(int(p.length)))
	if p.bounce > 0 {
		n += int64(q.mem.sizeOf(int(p.bounce)))
	}
	return n
}

// equip gives r the buffers of its plan, already booked. The kernel having no memory fails the command, not
// the connection.
func (q *queue) equip(r *Request, booked int64) {
	r.booked = booked
	b, err := q.mem.get(int(r.plan.length))
	if err == nil {
		r.memory, r.Data = b, b
		if r.plan.bounce > 0 {
			r.bounce, err = q.mem.get(int(r.plan.bounce))
		}
	}
	if err != nil {
		r.fault = nvme.InternalError
	}
}

// equipCapsule gives r memory for the data in its capsule, if there is some. With wait it waits until there
// is, or until the connection is to end.
func (q *queue) equipCapsule(r *Request, wait bool) bool {
	n := q.cost(&r.plan)
	for {
		q.mu.Lock()
		ok := q.mu.capsule.take(n, q.mem, q)
		over := q.mu.closed || q.mu.killed
		q.mu.starved = wait && !ok && !over
		q.mu.Unlock()
		if ok {
			q.equip(r, n)
			return r.memory != nil
		}
		if over || !wait {
			return false
		}
		<-q.capsules
	}
}

// reserve equips r and lets it count as executing, or puts it in line for memory.
func (q *queue) reserve(r *Request) bool {
	n := q.cost(&r.plan)
	q.mu.Lock()
	if !q.mu.waiting.empty() || !q.mu.data.take(n, q.mem, q) {
		r.enter(stateWaiting)
		q.mu.waiting.push(r)
		q.mu.Unlock()
		return false
	}
	q.executing.Add(1)
	q.mu.Unlock()
	q.equip(r, n)
	return true
}

// admit does for the first in line what reserve does for a new request; nil when it has to wait on.
func (q *queue) admit() *Request {
	q.mu.Lock()
	r := q.mu.waiting.first
	if r == nil || q.mu.closed {
		q.mu.Unlock()
		return nil
	}
	n := q.cost(&r.plan)
	if !q.mu.data.take(n, q.mem, q) {
		q.mu.Unlock()
		return nil
	}
	q.mu.waiting.pop()
	q.executing.Add(1)
	q.mu.Unlock()
	q.equip(r, n)
	return r
}

// withdraw takes the command cid out of the line for memory, for Abort; nil when it is not there.
func (q *queue) withdraw(cid uint16) *Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	var found *Request
	var rest requestList
	for r := q.mu.waiting.pop(); r != nil; r = q.mu.waiting.pop() {
		if found == nil && r.Cmd.CID() == cid {
			found = r
			continue
		}
		rest.push(r)
	}
	q.mu.waiting = rest
	if found != nil {
		q.executing.Add(1)
	}
	return found
}

// giveBack returns the buffers of r and reports what is owed to memory.giveShared. The caller holds mu.
func (q *queue) giveBack(r *Request) (shared int64) {
	if r.booked == 0 {
		return 0
	}
	n := r.booked
	q.mem.put(r.memory)
	q.mem.put(r.bounce)
	r.memory, r.bounce, r.Data, r.booked = nil, nil, nil, 0
	return q.repay(n, r.plan.capsule)
}

// repay books n bytes back. The caller holds mu.
func (q *queue) repay(n int64, capsule bool) (shared int64) {
	if !capsule {
		return q.mu.data.give(n)
	}
	if q.mu.starved {
		q.nudge()
	}
	return q.mu.capsule.give(n)
}

// nudge lets the reader look for capsule memory again.
func (q *queue) nudge() {
	select {
	case q.capsules <- struct{}{}:
	default:
	}
}

// completed is called once for each request that was executing; it may run on any goroutine.
func (q *queue) completed(r *Request) {
	var shared int64
	q.mu.Lock()
	sendData := r.plan.dir == nvme.ControllerToHost && r.status.OK() && !r.plan.hidden
	if !sendData || q.mu.closed {
		shared = q.giveBack(r)
	}
	wake := false
	if !q.mu.closed {
		q.mu.ready.push(r)
		wake = !q.mu.reading && !q.mu.sending
		q.mu.sending = q.mu.sending || wake
	}
	q.executing.Add(-1)
	q.settle()
	q.mu.Unlock()
	if wake {
		q.wake()
	}
	q.mem.giveShared(shared)
}

// answer ends a request that is not executing.
func (q *queue) answer(r *Request, st nvme.Status) {
	q.executing.Add(1)
	r.enter(stateExecuting)
	r.Complete(st)
}

// ask puts the R2T of r, which counts as executing, in line for the sender; it does not count any more.
func (q *queue) ask(r *Request) {
	var shared int64
	q.mu.Lock()
	r.enter(stateAsking)
	if q.mu.closed {
		shared = q.giveBack(r)
	} else {
		q.mu.ready.push(r)
	}
	q.executing.Add(-1)
	q.settle()
	q.mu.Unlock()
	q.mem.giveShared(shared)
}

// memoryReturned implements waiter: somebody has to run admit, and the reader may be waiting.
func (q *queue) memoryReturned() {
	q.mu.Lock()
	q.mu.retry = true
	if q.mu.starved {
		q.nudge()
	}
	wake := !q.mu.closed && !q.mu.reading && !q.mu.sending && !q.mu.waiting.empty()
	q.mu.sending = q.mu.sending || wake
	q.mu.Unlock()
	if wake {
		q.wake()
	}
}

// beginBatch says that the reader is at work.
func (q *queue) beginBatch() {
	q.mu.Lock()
	q.mu.reading = true
	q.mu.Unlock()
}

// endBatch says that the reader is about to wait, and whether it has to send first.
func (q *queue) endBatch() (send bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.reading = false
	if q.mu.sending || q.mu.closed || q.mu.ready.empty() && q.mu.waiting.empty() {
		return false
	}
	q.mu.sending = true
	return true
}

// takeReady moves up to n answers to l. False: there is nothing to do and the caller no longer owns the
// sender.
func (q *queue) takeReady(l *requestList, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for ; n > 0 && !q.mu.ready.empty(); n-- {
		l.push(q.mu.ready.pop())
	}
	again := q.mu.retry && !q.mu.waiting.empty() && !q.mu.closed
	q.mu.retry = false
	if !l.empty() || again {
		return true
	}
	q.mu.sending = false
	if q.mu.ending {
		q.closeLocked()
	}
	return false
}

// recycle puts the slots of answered requests back. Those from before a resize have nowhere to go.
func (q *queue) recycle(l *requestList) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := l.pop(); r != nil; r = l.pop() {
		r.enter(stateFree)
		r.Data = nil
		if int(r.index) < len(q.slots) && r == &q.slots[r.index] {
			q.mu.free.push(r)
		}
	}
}

// dataSent books the memory of sent data back.
func (q *queue) dataSent(booked int64) {
	q.mu.Lock()
	shared := q.mu.data.give(booked)
	q.mu.Unlock()
	q.mem.giveShared(shared)
}

// finish waits until the sender has sent what is ready and is idle; then the queue is closed: nothing is
// admitted or sent any more. Only the reader calls it, when it executes nothing any more.
func (q *queue) finish() {
	q.mu.Lock()
	q.mu.ending = true
	if !q.mu.sending {
		q.closeLocked()
	}
	q.mu.Unlock()
	<-q.idle
}

func (q *queue) closeLocked() {
	if !q.mu.closed {
		q.mu.closed = true
		close(q.idle)
		q.settle()
	}
}

// kill makes a waiting reader give up.
func (q *queue) kill() {
	q.mu.Lock()
	q.mu.killed = true
	q.nudge()
	q.mu.Unlock()
}

// clear drops what waits and what is ready, after finish. Requests with the namespace stay there until it
// completes them.
func (q *queue) clear() {
	var shared int64
	q.mu.Lock()
	for _, l := range []*requestList{&q.mu.waiting, &q.mu.ready} {
		for r := l.pop(); r != nil; r = l.pop() {
			shared += q.giveBack(r)
		}
	}
	for i := range q.slots {
		if r := &q.slots[i]; r.is(stateTransfer) || r.is(stateReceiving) {
			shared += q.giveBack(r)
		}
	}
	q.mu.Unlock()
	q.mem.giveShared(shared)
}

// settle closes drained when it is time. The caller holds mu.
func (q *queue) settle() {
	if q.mu.closed && !q.mu.settled && q.executing.Load() == 0 {
		q.mu.settled = true
		close(q.drained)
	}
}
