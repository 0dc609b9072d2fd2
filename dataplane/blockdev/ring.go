package blockdev

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev/uring"
)

const (
	// ringDepth bounds the operations of a device in the kernel at once; others wait in a queue.
	ringDepth = 128
	// loneOps is how many operations may be on their way without the ring. A ring is cheap when operations share
	// its system calls; an operation that comes alone pays for a change of threads in both directions, and is
	// done sooner by a goroutine that blocks in pread. Measured: docs/decisions/0016-io-uring-for-disks.md.
	loneOps = 4
	// calmOps is how many operations must have come without any being late to the ring before those that come
	// alone leave it: between two bursts, as after a flush that everything waited for, the ring is idle, too.
	calmOps = 32
	// bounceSize and bounceBuffers are the memory for transfers from and to buffers that O_DIRECT does not
	// take; larger ones go in pieces.
	bounceSize    = 64 << 10
	bounceBuffers = 8
	// wakeUp is the UserData of the read of the eventfd; others are slots.
	wakeUp = ^uint64(0)
	// deviceFile and wakeFile are the indexes of the registered files.
	deviceFile, wakeFile = 0, 1
)

// ring is the io_uring engine of a File. One thread of its own fills the ring, sleeps in the kernel until
// something completes or somebody submits, and calls the Dones. Submit puts operations into a queue and
// writes to an eventfd, which the ring reads, only if the thread sleeps: a thread that has work collects all
// that came meanwhile, and one system call hands it over and fetches completions.
type ring struct {
	f     *File
	lone  *plain       // operations that come alone, and discards
	busy  atomic.Int32 // operations of the ring whose Done was not called
	calm  atomic.Int32 // operations since there were more at a time than come alone
	wake  int          // eventfd
	ended chan struct{}

	mu struct {
		sync.Mutex
		pending queue
		asleep  bool // the thread waits, or is about to: wake it
		closed  bool
	}

	// Of the thread alone.
	u         *uring.Ring
	ready     queue // taken over, not started
	slots     []slot
	freeSlots []uint32
	bounces   []byte
	pinned    [][]byte // the registered buffers, by index
	freeParts []int32  // offsets in bounces
	wakeCount *[8]byte
	armed     bool // the eventfd is being read
	complete  func(uring.CQE)
}

// slot is an operation in the kernel.
type slot struct {
	op     *Op
	at     int   // bytes transferred
	bounce int32 // offset in bounces; < 0: none, or not a transfer
}

// newRing starts the engine, or says why there is none on this kernel.
func newRing(f *File) (*ring, error) {
	// Not EFD_NONBLOCK: some kernels would end the read at once instead of waiting for the next signal.
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	r := &ring{f: f, lone: newPlain(f, loneOps+1), wake: wake, ended: make(chan struct{}),
		wakeCount: new([8]byte)}
	r.complete = r.completed
	started := make(chan error)
	go r.run(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

func (r *ring) submit(ops []*Op) {
	if r.busy.Load() == 0 && r.alone(ops) {
		r.lone.submit(ops)
		return
	}
	r.mu.Lock()
	for _, o := range ops {
		switch {
		case r.mu.closed:
			go r.f.done(o, ErrClosed)
		case o.Kind == Discard:
			r.lone.submit([]*Op{o})
		default:
			r.busy.Add(1)
			r.mu.pending.push(o)
		}
	}
	if r.busy.Load() > loneOps {
		r.calm.Store(0)
	}
	wake := r.mu.asleep && r.mu.pending.n > 0
	r.mu.asleep = r.mu.asleep && !wake
	r.mu.Unlock()
	if wake {
		r.signal()
	}
}

// alone tells whether operations, of which the ring has none, are better done without it. A flush that comes
// alone always is: the ring would have a thread of the kernel do it.
func (r *ring) alone(ops []*Op) bool {
	if int(r.lone.busy.Load())+len(ops) > loneOps {
		r.calm.Store(0)
		return false
	}
	return r.calm.Add(1) > calmOps || ops[0].Kind == Flush
}

// signal wakes the thread.
func (r *ring) signal() {
	one := [8]byte{1}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(r.wake), uintptr(unsafe.Pointer(&one)), 8)
}

// run is the thread. It stays locked to its goroutine, and ends with it.
func (r *ring) run(started chan<- error) {
	runtime.LockOSThread()
	defer close(r.ended)
	err := r.setUp()
	started <- err
	for err == nil {
		r.mu.Lock()
		r.ready.splice(&r.mu.pending)
		closed := r.mu.closed
		r.mu.asleep = true
		r.mu.Unlock()
		if !closed && !r.armed {
			r.arm()
		}
		r.startAll()
		if closed && !r.armed && r.ready.n == 0 && len(r.freeSlots) == len(r.slots) {
			break
		}
		if err := r.u.Enter(1); err != nil {
			panic("blockdev: the ring of " + r.f.path + " is broken: " + err.Error())
		}
		r.mu.Lock()
		r.mu.asleep = false
		r.mu.Unlock()
		r.u.Each(r.complete)
	}
	r.tearDown()
}

func (r *ring) setUp() (err error) {
	if r.u, err = uring.New(2 * ringDepth); err != nil {
		return err
	}
	if err := r.u.RegisterFiles(int32(r.f.fd), int32(r.wake)); err != nil {
		return err
	}
	if r.bounces, err = mapMemory(bounceSize * bounceBuffers); err != nil {
		return err
	}
	r.register(append([][]byte{r.bounces}, r.f.pinned...))
	r.slots, r.freeSlots = make([]slot, ringDepth), make([]uint32, ringDepth)
	for i := range r.freeSlots {
		r.freeSlots[i] = uint32(i)
	}
	for i := range int32(bounceBuffers) {
		r.freeParts = append(r.freeParts, i*bounceSize)
	}
	return nil
}

// register has the kernel pin memory once, not for each operation. Pinned memory is limited for who is not
// root: what cannot be had is done without, the bounces last.
func (r *ring) register(memory [][]byte) {
	for ; len(memory) > 0; memory = memory[:len(memory)-1] {
		if r.u.RegisterBuffers(memory...) == nil {
			r.pinned = memory
			return
		}
	}
}

// registered is the index of the registered buffer that holds p, or -1.
func (r *ring) registered(p []byte) int {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	for i, m := range r.pinned {
		// Below the buffer the difference wraps to something larger than any.
		if at-uintptr(unsafe.Pointer(unsafe.SliceData(m))) < uintptr(len(m)) {
			return i
		}
	}
	return -1
}

func (r *ring) tearDown() {
	if r.u != nil {
		_ = r.u.Close() // nothing is in flight, and what is closed is ours: it cannot fail
	}
	unmapMemory(r.bounces)
	_ = unix.Close(r.wake)
}

// arm reads the eventfd once more.
func (r *ring) arm() {
	s := r.u.Get()
	s.Read(wakeFile, r.wakeCount[:], 0)
	s.FixedFile()
	s.SetUserData(wakeUp)
	r.armed = true
}

// startAll starts what is ready, as far as there are slots.
func (r *ring) startAll() {
	for len(r.freeSlots) > 0 && r.ready.n > 0 {
		o := r.ready.head
		if err := o.check(r.f.geo); err != nil {
			r.ready.pop()
			r.busy.Add(-1)
			r.f.done(o, err)
			continue
		}
		bounce := int32(-1)
		if (o.Kind == Read || o.Kind == Write) && !r.f.fits(o.Buf) {
			if len(r.freeParts) == 0 {
				return
			}
			bounce = r.freeParts[len(r.freeParts)-1]
			r.freeParts = r.freeParts[:len(r.freeParts)-1]
		}
		r.ready.pop()
		i := r.freeSlots[len(r.freeSlots)-1]
		r.freeSlots = r.freeSlots[:len(r.freeSlots)-1]
		r.slots[i] = slot{op: o, bounce: bounce}
		r.start(i)
	}
}

// start asks the kernel for the next part of an operation.
func (r *ring) start(i uint32) {
	t := &r.slots[i]
	s, p := r.u.Get(), r.piece(t)
	switch o := t.op; o.Kind {
	case Flush:
		s.Datasync(deviceFile)
	case Read:
		s.Read(deviceFile, p, o.Off+int64(t.at))
	case Write:
		if t.bounce >= 0 {
			copy(p, o.Buf[t.at:])
		}
		s.Write(deviceFile, p, o.Off+int64(t.at))
	}
	s.FixedFile()
	if i := r.registered(p); i >= 0 {
		s.FixedBuffer(i)
	}
	s.SetUserData(uint64(i))
}

// piece is where the next part of a transfer goes.
func (r *ring) piece(t *slot) []byte {
	p := t.op.Buf[t.at:]
	if t.bounce < 0 {
		return p
	}
	return r.bounces[t.bounce:][:min(len(p), bounceSize)]
}

// completed takes a completion: an operation that is not through goes on.
func (r *ring) completed(c uring.CQE) {
	if c.UserData == wakeUp {
		r.armed = false
		return
	}
	i := uint32(c.UserData)
	t := &r.slots[i]
	o := t.op
	var err error
	switch errno := unix.Errno(-c.Res); {
	case c.Res < 0 && (errno == unix.EINTR || errno == unix.EAGAIN):
		r.start(i)
		return
	case c.Res < 0:
		err = r.f.failure(o, errno)
	case o.Kind == Flush:
	case c.Res == 0:
		err = r.f.failure(o, endsEarly(0))
	default:
		if t.bounce >= 0 && o.Kind == Read {
			copy(o.Buf[t.at:], r.piece(t)[:c.Res])
		}
		if t.at += int(c.Res); t.at < len(o.Buf) {
			r.start(i)
			return
		}
	}
	if t.bounce >= 0 {
		r.freeParts = append(r.freeParts, t.bounce)
	}
	*t = slot{}
	r.freeSlots = append(r.freeSlots, i)
	r.busy.Add(-1)
	r.f.done(o, err)
}

// close waits until everything is through.
func (r *ring) close() {
	r.mu.Lock()
	r.mu.closed = true
	r.mu.Unlock()
	r.signal()
	<-r.ended
	r.lone.close()
}
