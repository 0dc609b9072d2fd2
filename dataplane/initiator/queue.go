package initiator

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// ErrTimeout ends a queue whose controller left a command unanswered.
var ErrTimeout = errors.New("command timed out")

// ErrClosed ends a queue that its owner closed.
var ErrClosed = errors.New("closed by the host")

// A CID is the index of a slot and, above it, a generation that changes with every use: an answer that comes
// twice, or for a command of long ago, is recognised.
const (
	slotBits = 10
	slotMask = 1<<slotBits - 1
)

// slot is a command in flight. Fields are guarded by Queue.mu, except that the reader alone uses got and the
// bytes of the IO's buffers while the slot is active.
type slot struct {
	io   *IO // nil: free
	gen  uint16
	sent bool // the writer has taken the command; before that no answer can be right

	got       uint32 // bytes of C2HData received
	asked     uint32 // bytes of data asked for by R2Ts so far: where the next one must start
	inCapsule bool   // the data went with the command, so no R2T is due
	badDigest bool   // a data digest did not match: the command fails, the connection goes on

	// refs counts the entries of the send ring, taken or not, that need the IO's buffers. An answer that
	// overtakes the writer waits (answered) until it is zero.
	refs     int
	answered bool
	result   nvme.Completion

	due   bool // data is due: the R2T fields are valid and not yet taken
	ttag  uint16
	start uint32
	count uint32
}

// queueParams is what a Queue needs to know besides its connection.
type queueParams struct {
	depth     int // entries: depth-1 commands in flight
	inCapsule uint32
	timeout   time.Duration
	framing   nvme.Framing
	readSize  int
}

// Queue is one connection to a controller: a submission queue and its completion queue. Its methods may be
// used from any goroutine.
type Queue struct {
	conn net.Conn
	p    queueParams

	mu      sync.Mutex
	work    sync.Cond // the writer waits here
	slots   []slot
	free    []uint16
	ring    ring // slots that have something to send
	waiting list // IOs without a slot
	timer   *time.Timer
	alarm   time.Time  // when timer fires; zero: it is off
	err     error      // why the queue ended; nil while it works
	term    nvme.Fault // what to tell the controller before the connection is closed
	done    chan struct{}

	rd reader
	wr writer
}

// newQueue starts the goroutines of a connection that has been initialized.
func newQueue(conn net.Conn, p queueParams) *Queue {
	q := &Queue{conn: conn, p: p, slots: make([]slot, p.depth-1), done: make(chan struct{})}
	q.work.L = &q.mu
	q.ring.init(2 * p.depth)
	q.free = make([]uint16, len(q.slots))
	for i := range q.free {
		q.free[i] = uint16(len(q.slots) - 1 - i)
	}
	q.timer = time.AfterFunc(time.Hour, q.expire)
	q.timer.Stop()
	q.rd.init(q)
	q.wr.init(q)
	go q.run()
	return q
}

// run waits for the reader and the writer to end, and only then completes what is left: nobody else touches
// the buffers of an IO any more.
func (q *Queue) run() {
	var both sync.WaitGroup
	both.Go(func() { q.fail(q.rd.run(), nvme.Fault{}) })
	both.Go(func() {
		q.fail(q.wr.run(), nvme.Fault{})
		q.conn.Close() // ends the reader
	})
	both.Wait()

	q.mu.Lock()
	q.timer.Stop()
	var lost list
	for i := range q.slots {
		s := &q.slots[i]
		if s.io == nil {
			continue
		}
		s.io.Completion = nvme.Completion{Status: nvme.HostPathingError}
		if s.answered { // only the writer had not let go of it
			s.io.Completion = s.result
		}
		lost.push(s.io)
		s.io = nil
	}
	for io := q.waiting.pop(); io != nil; io = q.waiting.pop() {
		io.Completion = nvme.Completion{Status: nvme.HostPathingError}
		lost.push(io)
	}
	q.mu.Unlock()
	for io := lost.pop(); io != nil; io = lost.pop() {
		io.Done(io)
	}
	close(q.done)
}

// Submit starts an IO. See the package documentation for the contract.
func (q *Queue) Submit(io *IO) {
	if io.length() > 0 && io.Cmd.Direction() == nvme.NoData || io.length() > maxTransfer ||
		io.Cmd.Direction() == nvme.Bidirectional {
		io.fail(nvme.InvalidField.NoRetry())
		return
	}
	timeout := io.Timeout
	if timeout == 0 {
		timeout = q.p.timeout
	}
	io.deadline = time.Time{}
	if timeout > 0 {
		io.deadline = time.Now().Add(timeout)
	}
	q.mu.Lock()
	if q.err != nil {
		q.mu.Unlock()
		io.fail(nvme.HostPathingError)
		return
	}
	if len(q.free) > 0 {
		q.start(io)
	} else {
		q.waiting.push(io)
	}
	if timeout > 0 && (q.alarm.IsZero() || io.deadline.Before(q.alarm)) {
		q.alarm = io.deadline
		q.timer.Reset(timeout)
	}
	q.mu.Unlock()
}

// start gives an IO a slot and hands it to the writer. q.mu is held and a slot is free.
func (q *Queue) start(io *IO) {
	i := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	s := &q.slots[i]
	*s = slot{io: io, gen: s.gen + 1, refs: 1}
	io.Cmd.SetCID(i | s.gen<<slotBits)
	n := uint32(io.length())
	sgl := nvme.SGL{Length: n, ID: nvme.SGLTransport}
	limit := q.p.inCapsule
	if io.Cmd.Opcode() == nvme.OpFabrics {
		limit = fabricsInCapsule
	}
	if n > 0 && n <= limit && io.Cmd.Direction() == nvme.HostToController {
		sgl.ID, s.inCapsule = nvme.SGLInCapsule, true
	}
	io.Cmd.SetSGL(sgl)
	q.push(sendEntry{slot: i})
}

func (q *Queue) push(e sendEntry) {
	q.ring.push(e)
	q.work.Signal()
}

// find returns the slot of a CID that came from the controller, nil when no such command is in flight. q.mu
// is held.
func (q *Queue) find(cid uint16) *slot {
	i := int(cid & slotMask)
	if i >= len(q.slots) {
		return nil
	}
	s := &q.slots[i]
	if s.io == nil || !s.sent || s.answered || s.gen<<slotBits != cid&^slotMask {
		return nil
	}
	return s
}

// finish ends a command with its answer. It returns the IO if it may be given back now, else nil: then the
// writer still needs its buffers and gives it back itself. q.mu is held; Done is to be called without it.
func (q *Queue) finish(s *slot, c nvme.Completion) *IO {
	io := s.io
	short := io.Cmd.Direction() == nvme.ControllerToHost && uint64(s.got) != io.length()
	if s.badDigest || c.Status.OK() && short {
		c.Status = nvme.TransientTransportError // data is missing or damaged: not what was asked for
	}
	if c.Status.Code() == nvme.HostPathingError {
		c.Status = nvme.InternalPathError // only a lost connection counts as that
	}
	s.result, s.answered = c, true
	if s.refs > 0 {
		return nil
	}
	return q.release(s)
}

// release frees the slot of an answered command and starts the next one that waits. q.mu is held.
func (q *Queue) release(s *slot) *IO {
	io := s.io
	io.Completion = s.result
	s.io = nil
	q.free = append(q.free, io.Cmd.CID()&slotMask)
	if next := q.waiting.pop(); next != nil {
		if q.err != nil {
			q.waiting.push(next) // run completes it
		} else {
			q.start(next)
		}
	}
	return io
}

// fail ends the queue for a reason; the first one counts. A fault is told to the controller before the
// connection is closed, if it still listens.
func (q *Queue) fail(err error, f nvme.Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return
	}
	if err == nil {
		err = ErrClosed
	}
	q.err, q.term = err, f
	if f.OK() {
		q.conn.Close()
	} else {
		// The writer may be stuck in a write; it gets a moment to tell the controller what was wrong.
		_ = q.conn.SetWriteDeadline(time.Now().Add(termTimeout))
	}
	q.work.Signal()
}

// expire runs when the timer fires: it ends the queue if a command is overdue, else waits for the earliest.
func (q *Queue) expire() {
	now := time.Now()
	q.mu.Lock()
	var first time.Time
	look := func(io *IO) {
		if io != nil && !io.deadline.IsZero() && (first.IsZero() || io.deadline.Before(first)) {
			first = io.deadline
		}
	}
	for i := range q.slots {
		look(q.slots[i].io)
	}
	for io := q.waiting.head; io != nil; io = io.next {
		look(io)
	}
	switch overdue := !first.IsZero() && !first.After(now); {
	case overdue || first.IsZero():
		q.alarm = time.Time{}
		q.mu.Unlock()
		if overdue {
			q.fail(ErrTimeout, nvme.Fault{})
		}
	default:
		q.alarm = first
		q.timer.Reset(first.Sub(now))
		q.mu.Unlock()
	}
}

// Close ends the connection. Outstanding commands complete with HostPathingError; Close waits for that, so it
// must not be called by Done.
func (q *Queue) Close() error {
	q.fail(ErrClosed, nvme.Fault{})
	<-q.done
	return nil
}

// Done is closed when the queue has ended and every IO has been given back.
func (q *Queue) Done() <-chan struct{} { return q.done }

// Err says why the queue ended, nil while it works.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// protocolError is a violation of the transport by the controller: where it was seen and what it is told.
func protocolError(what string, f nvme.Fault) error { return fmt.Errorf("%s: %w", what, f) }

// list is a first-in first-out list threaded through its IOs.
type list struct {
	head, tail *IO
}

func (l *list) push(io *IO) {
	io.next = nil
	if l.head == nil {
		l.head = io
	} else {
		l.tail.next = io
	}
	l.tail = io
}

func (l *list) pop() *IO {
	io := l.head
	if io != nil {
		l.head, io.next = io.next, nil
	}
	return io
}

// sendEntry is something a slot wants sent: its command, or the data that an R2T asked for.
type sendEntry struct {
	slot uint16
	data bool
}

// ring is a bounded queue of sendEntries. A slot has at most one command and one R2T in it, so twice the
// number of slots is enough.
type ring struct {
	entries    []sendEntry
	head, size int
}

func (r *ring) init(n int) { r.entries = make([]sendEntry, n) }

func (r *ring) push(e sendEntry) {
	if r.size == len(r.entries) {
		panic("initiator: send ring overflow")
	}
	r.entries[(r.head+r.size)%len(r.entries)] = e
	r.size++
}

func (r *ring) pop() sendEntry {
	e := r.entries[r.head]
	r.head = (r.head + 1) % len(r.entries)
	r.size--
	return e
}
