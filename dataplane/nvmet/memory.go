package nvmet

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	// slabSize is how much memory a class asks the kernel for at once.
	slabSize = 1 << 20
)

// memory hands out the buffers of a target. They lie outside the Go heap, so that the collector neither scans
// nor moves them, and start on a 4 KiB boundary. Freed buffers are kept; what a class has free beyond a
// sixteenth of the limit keeps its addresses but gives its pages back to the kernel; the caller's pinned
// memory, which slabs are cut from as long as there is some, keeps its pages, too.
//
// The limit is on what queues hold beyond their reserves (see account). A queue that wants more is put down
// as a waiter, and all waiters are woken when something returns.
type memory struct {
	limit  int64  // bytes that all queues together may hold beyond their reserves
	pinned []byte // of the caller

	mu struct {
		sync.Mutex
		classes []class
		shared  int64 // bytes held beyond reserves
		waiters []waiter
		slabs   [][]byte
		cut     int // bytes of pinned that are slabs
		out     int // buffers handed out
		closed  bool
	}
}

// waiter is told, outside every lock, that it may try again.
type waiter interface{ memoryReturned() }

// class is the free list of buffers of one size.
type class struct {
	size int
	free [][]byte // the last one freed is the warmest
	cold [][]byte // their pages are with the kernel
}

// newMemory makes an empty pool with buffers of 4 KiB, 8 KiB and so on; the largest have maxBuffer bytes, a
// multiple of 4 KiB.
func newMemory(limit int64, maxBuffer int, pinned []byte) *memory {
	m := &memory{limit: limit, pinned: pinned}
	for size := pageSize; size < maxBuffer; size *= 2 {
		m.mu.classes = append(m.mu.classes, class{size: size})
	}
	m.mu.classes = append(m.mu.classes, class{size: maxBuffer})
	return m
}

// sizeOf is the size of the buffer that get(n) returns; 0 when there is none so large.
func (m *memory) sizeOf(n int) int {
	for i := range m.mu.classes {
		if n <= m.mu.classes[i].size {
			return m.mu.classes[i].size
		}
	}
	return 0
}

// largest is the size of the largest buffer.
func (m *memory) largest() int { return m.mu.classes[len(m.mu.classes)-1].size }

func (m *memory) class(size int) *class {
	for i := range m.mu.classes {
		if size == m.mu.classes[i].size {
			return &m.mu.classes[i]
		}
	}
	return nil
}

// get returns a buffer of sizeOf(n) bytes with its old content, cut to n, or an error when the kernel has no
// memory. It does not look at the limit: that is account's part.
func (m *memory) get(n int) ([]byte, error) {
	size := m.sizeOf(n)
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.class(size)
	if c == nil || m.mu.closed {
		return nil, fmt.Errorf("nvmet: no buffer of %d bytes", n)
	}
	if len(c.free) == 0 && len(c.cold) == 0 {
		if err := m.grow(c); err != nil {
			return nil, err
		}
	}
	list := &c.free
	if len(*list) == 0 {
		list = &c.cold
	}
	last := len(*list) - 1
	b := (*list)[last]
	*list = (*list)[:last]
	m.mu.out++
	return b[:n], nil
}

// grow cuts a new slab into buffers.
func (m *memory) grow(c *class) error {
	n := max(slabSize, c.size) / c.size
	if rest := m.pinned[m.mu.cut:]; n*c.size <= min(slabSize, len(rest)) {
		m.mu.cut += n * c.size
		c.free = c.split(c.free, rest[:n*c.size])
		return nil
	}
	slab, err := unix.Mmap(-1, 0, n*c.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("nvmet: map %d bytes for buffers: %w", n*c.size, err)
	}
	m.mu.slabs = append(m.mu.slabs, slab)
	c.cold = c.split(c.cold, slab)
	return nil
}

// split appends the buffers that a slab is made of to a list.
func (c *class) split(list [][]byte, slab []byte) [][]byte {
	for ; len(slab) >= c.size; slab = slab[c.size:] {
		list = append(list, slab[:c.size:c.size])
	}
	return list
}

// isPinned tells whether a buffer is of the caller's memory.
func (m *memory) isPinned(b []byte) bool {
	// Below it the difference wraps to something larger than any.
	return address(b)-address(m.pinned) < uintptr(len(m.pinned))
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// put takes back a buffer that get returned; nil is nothing.
func (m *memory) put(b []byte) {
	if b == nil {
		return
	}
	b = b[:cap(b)]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.out--
	if m.unmapped() {
		return
	}
	c := m.class(len(b))
	if m.isPinned(b) || int64(len(c.free)*c.size) < m.limit/16 {
		c.free = append(c.free, b)
		return
	}
	// An error leaves the pages where they are, which costs memory and nothing else.
	_ = unix.Madvise(b, unix.MADV_DONTNEED)
	c.cold = append(c.cold, b)
}

// close unmaps everything as soon as the last buffer is back.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.closed = true
	m.unmapped()
}

// unmapped unmaps the slabs when the pool is closed and nobody has a buffer.
func (m *memory) unmapped() bool {
	if !m.mu.closed || m.mu.out > 0 {
		return false
	}
	for _, slab := range m.mu.slabs {
		_ = unix.Munmap(slab) // of what Mmap returned: cannot fail
	}
	m.mu.slabs = nil
	for i := range m.mu.classes {
		m.mu.classes[i].free, m.mu.classes[i].cold = nil, nil
	}
	return true
}

// takeShared books n bytes of the limit. When they are not there it puts w down as a waiter.
func (m *memory) takeShared(n int64, w waiter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.shared+n <= m.limit {
		m.mu.shared += n
		return true
	}
	for _, known := range m.mu.waiters {
		if known == w {
			return false
		}
	}
	m.mu.waiters = append(m.mu.waiters, w)
	return false
}

// giveShared returns n bytes to the limit and wakes those who wait. The caller holds no lock of a queue.
func (m *memory) giveShared(n int64) {
	if n == 0 {
		return
	}
	m.mu.Lock()
	m.mu.shared -= n
	woken := m.mu.waiters
	m.mu.waiters = nil
	m.mu.Unlock()
	for _, w := range woken {
		w.memoryReturned()
	}
}

// account is what one queue holds for one purpose: up to reserve bytes are always its own, more comes out of
// the shared limit. So a queue can always go on, whatever the others hold.
//
// Invariant: the queue's part of memory.shared is max(0, held-reserve).
type account struct {
	reserve, held int64
}

func (a *account) beyond() int64 { return max(0, a.held-a.reserve) }

// take books n bytes; false: not now, w will be told.
func (a *account) take(n int64, m *memory, w waiter) bool {
	before := a.beyond()
	a.held += n
	if more := a.beyond() - before; more > 0 && !m.takeShared(more, w) {
		a.held -= n
		return false
	}
	return true
}

// give books n bytes back and returns what the caller owes to memory.giveShared.
func (a *account) give(n int64) (shared int64) {
	before := a.beyond()
	a.held -= n
	return before - a.beyond()
}
