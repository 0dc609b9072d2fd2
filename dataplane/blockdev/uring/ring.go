package uring

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of io_uring_setup, io_uring_enter and io_uring_register.
const (
	setupCQSize       = 1 << 3
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1

	enterGetEvents      = 1 << 0
	enterRegisteredRing = 1 << 4

	registerBuffers   = 0
	unregisterBuffers = 1
	registerFiles     = 2
	unregisterFiles   = 3
	registerRingFD    = 20

	offRing = 0
	offSQEs = 0x10000000
)

// MaxEntries is the largest Ring, in operations in flight.
const MaxEntries = 1 << 12

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 sqOffsets
	cq                                                                 cqOffsets
}

// sqOffsets is struct io_sqring_offsets.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
	userAddr                                                    uint64
}

// cqOffsets is struct io_cqring_offsets.
type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
	userAddr                                                    uint64
}

// Ring is one io_uring. See the package documentation for who may call.
type Ring struct {
	fd       int
	enterFD  int // fd, or its registered number, which is cheaper to enter
	enterHow uintptr

	mem, sqeMem []byte // shared with the kernel
	sqes        []SQE
	cqes        []CQE
	sqHead      *uint32 // written by the kernel
	sqTail      *uint32
	cqHead      *uint32
	cqTail      *uint32 // written by the kernel
	tail        uint32  // of the submission queue, with what Get handed out
	entries     uint32
	cqMask      uint32
	registered  []uintptr // what takes registrations back
}

// New makes a Ring for up to entries operations in flight; the kernel rounds up to a power of two. It is for
// the calling thread alone. The error says that this kernel does not offer it; errors.Is knows the errno.
func New(entries int) (*Ring, error) {
	if entries < 1 || entries > MaxEntries {
		return nil, fmt.Errorf("io_uring of %d entries: 1 to %d can be had", entries, MaxEntries)
	}
	p := params{flags: setupCQSize | setupSingleIssuer | setupDeferTaskrun, cqEntries: 2 * uint32(entries)}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &Ring{fd: int(fd), enterFD: int(fd)}
	if err := r.mapQueues(&p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.registerSelf()
	return r, nil
}

// mapQueues maps the memory that is shared with the kernel.
func (r *Ring) mapQueues(p *params) (err error) {
	if want := uint32(featSingleMmap | featNoDrop); p.features&want != want {
		return fmt.Errorf("io_uring with features %#x, %#x are needed", p.features, want)
	}
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(CQE{})), p.sq.array+4*p.sqEntries)
	if r.mem, err = unix.Mmap(r.fd, offRing, int(size), prot, flags); err != nil {
		return fmt.Errorf("map io_uring: %w", err)
	}
	size = p.sqEntries * uint32(unsafe.Sizeof(SQE{}))
	if r.sqeMem, err = unix.Mmap(r.fd, offSQEs, int(size), prot, flags); err != nil {
		return fmt.Errorf("map io_uring entries: %w", err)
	}
	r.entries, r.cqMask = p.sqEntries, p.cqEntries-1
	r.sqHead, r.sqTail = r.word(p.sq.head), r.word(p.sq.tail)
	r.cqHead, r.cqTail = r.word(p.cq.head), r.word(p.cq.tail)
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(unsafe.SliceData(r.sqeMem))), p.sqEntries)
	r.cqes = unsafe.Slice((*CQE)(unsafe.Pointer(&r.mem[p.cq.cqes])), p.cqEntries)
	// The index array lets entries be submitted in another order than they lie in; here it is never used.
	for i := range p.sqEntries {
		*r.word(p.sq.array + 4*i) = i
	}
	return nil
}

func (r *Ring) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[off])) }

// registerSelf spares each Enter the look-up of the file descriptor. Kernels that cannot are used without.
func (r *Ring) registerSelf() {
	update := struct {
		offset, _ uint32
		data      uint64
	}{^uint32(0), 0, uint64(r.fd)}
	if n, err := r.register(registerRingFD, unsafe.Pointer(&update), 1); err == nil && n == 1 {
		r.enterFD, r.enterHow = int(update.offset), enterRegisteredRing
	}
}

func (r *Ring) register(what uintptr, arg unsafe.Pointer, n int) (int, error) {
	got, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), what, uintptr(arg), uintptr(n),
		0, 0)
	if errno != 0 {
		return 0, fmt.Errorf("io_uring_register %d: %w", what, errno)
	}
	return int(got), nil
}

// RegisterFiles makes file descriptors known by their index, for SQE.FixedFile. Once per Ring.
func (r *Ring) RegisterFiles(fds ...int32) error {
	_, err := r.register(registerFiles, unsafe.Pointer(unsafe.SliceData(fds)), len(fds))
	if err == nil {
		r.registered = append(r.registered, unregisterFiles)
	}
	return err
}

// RegisterBuffers makes buffers known by their index, for SQE.FixedBuffer. Once per Ring. The kernel pins
// their pages until Close, so that no operation has to: they must not be unmapped, nor given back with
// madvise, before. The pages count against RLIMIT_MEMLOCK of users without CAP_IPC_LOCK.
func (r *Ring) RegisterBuffers(bufs ...[]byte) error {
	vec := make([]unix.Iovec, len(bufs))
	for i, b := range bufs {
		vec[i].Base = unsafe.SliceData(b)
		vec[i].SetLen(len(b))
	}
	_, err := r.register(registerBuffers, unsafe.Pointer(unsafe.SliceData(vec)), len(vec))
	if err == nil {
		r.registered = append(r.registered, unregisterBuffers)
	}
	return err
}

// Entries is the room of the submission queue.
func (r *Ring) Entries() int { return int(r.entries) }

// Get returns the next SQE, to be filled before Enter; nil when the queue is full.
func (r *Ring) Get() *SQE {
	if r.tail-atomic.LoadUint32(r.sqHead) == r.entries {
		return nil
	}
	s := &r.sqes[r.tail&(r.entries-1)]
	r.tail++
	return s
}

// Enter hands what Get returned to the kernel and waits until at least wait completions can be had. EINTR,
// EAGAIN and EBUSY are not errors: look at the completions and come again.
func (r *Ring) Enter(wait int) error {
	atomic.StoreUint32(r.sqTail, r.tail)
	submit := r.tail - atomic.LoadUint32(r.sqHead)
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFD), uintptr(submit), uintptr(wait),
		r.enterHow|enterGetEvents, 0, 0)
	switch errno {
	case 0, unix.EINTR, unix.EAGAIN, unix.EBUSY:
		return nil
	}
	return fmt.Errorf("io_uring_enter: %w", errno)
}

// Each calls f for the completions that are there and returns how many there were. f may call Get.
func (r *Ring) Each(f func(CQE)) (n int) {
	head := *r.cqHead
	for tail := atomic.LoadUint32(r.cqTail); head != tail; n++ {
		c := r.cqes[head&r.cqMask]
		head++
		atomic.StoreUint32(r.cqHead, head) // before f, which may be long, or leave
		f(c)
	}
	return n
}

// Close gives everything back. Nothing may be in flight. What was registered is given back before the ring
// is, which the kernel takes apart some time later: until then it would hold a registered file open, and
// locked.
func (r *Ring) Close() error {
	var errs []error
	for _, what := range r.registered {
		_, err := r.register(what, nil, 0)
		errs = append(errs, err)
	}
	for _, m := range [...][]byte{r.sqeMem, r.mem} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	errs = append(errs, unix.Close(r.fd))
	*r = Ring{fd: -1}
	return errors.Join(errs...)
}
