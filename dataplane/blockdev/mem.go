package blockdev

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// MemOptions describe an in-memory device.
type MemOptions struct {
	Size          int64 // bytes
	LogicalBlock  int   // bytes; 0: 512
	VolatileCache bool
	Seed          uint64 // of faults that happen by chance
}

// Mem is a device in memory: the twin that tests, benchmarks and the simulator run on.
//
// It has a volatile write cache when asked to, loses power on demand (Crash, CrashClone, PowerOffAfter) and
// misbehaves on demand (Inject, Corrupt). One goroutine carries operations out in order of submission. In
// manual mode nothing happens until the caller picks an operation (Pending, Step): a single-threaded test
// then decides every interleaving. Operations take no time unless SetLatency says so, and the device has room
// for all its blocks unless SetLimit says otherwise.
type Mem struct {
	geo  Geometry
	wake *sync.Cond // on mu: work for the worker, or nothing in flight any more

	mu struct {
		sync.Mutex
		cur      []byte   // what reads see
		durable  []byte   // what power loss keeps; nil without a volatile cache: it is cur
		unsynced []*write // completed and not flushed, plus what was in flight at PowerOffAfter
		spare    []*write // reusable
		pending  queue    // submitted, oldest first
		running  int      // taken by the worker, Done not yet returned
		held     []*Op    // stalled by a fault
		faults   []*Fault
		rng      *rand.Rand
		line     timeline
		space    space
		budget   int // operations until the power fails; < 0: no limit
		manual   bool
		working  bool // the worker goroutine runs
		off      bool // power failed
		closed   bool
		counts   Counts
	}
}

// write is the copy of a write that the cache still holds.
type write struct {
	off  int64
	data []byte
}

// Counts tells how many operations and bytes a Mem has carried out.
type Counts struct {
	Reads, Writes, Flushes, Discards uint64
	ReadBytes, WriteBytes            uint64
}

// NewMem makes a device full of zeros.
func NewMem(o MemOptions) *Mem {
	if o.LogicalBlock == 0 {
		o.LogicalBlock = SectorSize
	}
	if o.Size <= 0 || o.Size%int64(o.LogicalBlock) != 0 || o.LogicalBlock%SectorSize != 0 {
		panic(fmt.Sprintf("blockdev: Mem of %d bytes in blocks of %d", o.Size, o.LogicalBlock))
	}
	m := &Mem{geo: Geometry{Size: o.Size, LogicalBlock: o.LogicalBlock, PhysicalBlock: o.LogicalBlock,
		VolatileCache: o.VolatileCache, Discard: DiscardLimits{Granularity: int64(o.LogicalBlock), Max: o.Size},
		Engine: EngineMem}}
	m.wake = sync.NewCond(&m.mu)
	m.mu.cur = make([]byte, o.Size)
	if o.VolatileCache {
		m.mu.durable = make([]byte, o.Size)
	}
	m.mu.rng = rand.New(rand.NewPCG(o.Seed, 1))
	m.mu.budget = -1
	return m
}

// Geometry implements Device.
func (m *Mem) Geometry() Geometry { return m.geo }

// Counts returns what was done so far.
func (m *Mem) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.counts
}

// Submit implements Device.
func (m *Mem) Submit(ops ...*Op) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range ops {
		m.enqueue(o)
	}
	m.start()
}

// start makes sure that somebody works on what is pending. Called with mu held.
func (m *Mem) start() {
	if m.mu.manual || m.mu.pending.n == 0 {
		return
	}
	if !m.mu.working {
		m.mu.working = true
		go m.work()
		return
	}
	m.wake.Broadcast()
}

// work carries operations out until the device is closed or manual.
func (m *Mem) work() {
	m.mu.Lock()
	for {
		for m.mu.pending.n == 0 && !m.mu.closed && !m.mu.manual {
			m.wake.Wait()
		}
		if m.mu.manual || m.mu.pending.n == 0 {
			m.mu.working = false
			m.wake.Broadcast()
			m.mu.Unlock()
			return
		}
		m.perform(m.mu.pending.pop())
	}
}

// perform carries out one operation and calls its Done without the lock. Called with mu held, returns with
// it.
func (m *Mem) perform(o *Op) {
	err, stalled := m.execute(o)
	if stalled {
		m.mu.held = append(m.mu.held, o)
		return
	}
	m.mu.running++
	m.mu.Unlock()
	o.Done(o, err)
	m.mu.Lock()
	m.mu.running--
	if m.mu.running == 0 && m.mu.pending.n == 0 {
		m.wake.Broadcast() // Close may be waiting
	}
}

// execute does the work of one operation. Called with mu held.
func (m *Mem) execute(o *Op) (err error, stalled bool) {
	if m.mu.closed {
		return ErrClosed, false
	}
	if err := o.check(m.geo); err != nil {
		return err, false
	}
	if m.mu.budget == 0 && !m.mu.off {
		m.powerOff(o)
	}
	if m.mu.off {
		return fmt.Errorf("%w: %v at %d: no power", ErrIO, o.Kind, o.Off), false
	}
	if m.mu.budget > 0 {
		m.mu.budget--
	}
	if m.gone(o) {
		return fmt.Errorf("%w: %w: %v at %d", ErrGone, ErrIO, o.Kind, o.Off), false
	}
	switch o.Kind {
	case Read:
		m.mu.counts.Reads++
		m.mu.counts.ReadBytes += uint64(len(o.Buf))
		return m.read(o)
	case Write:
		m.mu.counts.Writes++
		m.mu.counts.WriteBytes += uint64(len(o.Buf))
		return m.write(o)
	case Flush:
		m.mu.counts.Flushes++
		return m.flush(o)
	default:
		m.mu.counts.Discards++
		return m.discard(o)
	}
}

func (m *Mem) read(o *Op) (error, bool) {
	for _, f := range m.mu.faults {
		if f.hits(o, m.mu.rng) {
			switch f.Kind {
			case ReadError:
				return fmt.Errorf("%w: read at %d", ErrIO, o.Off), false
			case BitRot:
				m.flip(o.Off+m.mu.rng.Int64N(int64(len(o.Buf))), 1<<m.mu.rng.IntN(8))
			case Stall:
				return nil, true
			}
		}
	}
	copy(o.Buf, m.mu.cur[o.Off:])
	return nil, false
}

func (m *Mem) write(o *Op) (error, bool) {
	off := o.Off
	for _, f := range m.mu.faults {
		if f.hits(o, m.mu.rng) {
			switch f.Kind {
			case WriteError:
				return fmt.Errorf("%w: write at %d", ErrIO, o.Off), false
			case LostWrite:
				return nil, false
			case MisdirectedWrite:
				lb := int64(m.geo.LogicalBlock)
				off = m.mu.rng.Int64N((m.geo.Size-int64(len(o.Buf)))/lb+1) * lb
			case TornWrite:
				m.store(off, m.torn(off, o.Buf))
				return fmt.Errorf("%w: write at %d, after a part of it", ErrIO, o.Off), false
			case Stall:
				return nil, true
			}
		}
	}
	lb := int64(m.geo.LogicalBlock)
	if !m.mu.space.take(off/lb, int64(len(o.Buf))/lb) {
		return fmt.Errorf("%w: %w: write at %d", ErrNoSpace, ErrIO, o.Off), false
	}
	m.store(off, o.Buf)
	return nil, false
}

// store puts data where reads see it and remembers it as unsynced.
func (m *Mem) store(off int64, data []byte) {
	copy(m.mu.cur[off:], data)
	if m.mu.durable != nil {
		m.remember(off, data)
	}
}

func (m *Mem) remember(off int64, data []byte) {
	var w *write
	if n := len(m.mu.spare); n > 0 {
		w, m.mu.spare = m.mu.spare[n-1], m.mu.spare[:n-1]
	} else {
		w = &write{}
	}
	w.off, w.data = off, append(w.data[:0], data...)
	m.mu.unsynced = append(m.mu.unsynced, w)
}

func (m *Mem) flush(o *Op) (error, bool) {
	for _, f := range m.mu.faults {
		if f.hits(o, m.mu.rng) {
			switch f.Kind {
			case FlushError:
				return fmt.Errorf("%w: flush", ErrIO), false
			case LostFlush:
				return nil, false
			case Stall:
				return nil, true
			}
		}
	}
	for _, w := range m.mu.unsynced {
		copy(m.mu.durable[w.off:], w.data)
	}
	m.recycle()
	return nil, false
}

func (m *Mem) recycle() {
	m.mu.spare = append(m.mu.spare, m.mu.unsynced...)
	m.mu.unsynced = m.mu.unsynced[:0]
}

// discard zeroes the range, as if it were written.
func (m *Mem) discard(o *Op) (error, bool) {
	zero := make([]byte, min(o.Len, 1<<20))
	for off, left := o.Off, o.Len; left > 0; {
		n := min(left, int64(len(zero)))
		m.store(off, zero[:n])
		off, left = off+n, left-n
	}
	lb := int64(m.geo.LogicalBlock)
	m.mu.space.give(o.Off/lb, o.Len/lb)
	return nil, false
}

// Manual switches manual mode on or off. Switching on waits for the operation being carried out.
func (m *Mem) Manual(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.manual = on
	m.ripenAll()
	m.wake.Broadcast()
	for on && m.mu.working {
		m.wake.Wait()
	}
	m.start()
}

// Pending tells how many operations Step can choose from.
func (m *Mem) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.pending.n
}

// Step carries out pending operation i, counted from the oldest, in manual mode.
func (m *Mem) Step(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.mu.manual || i < 0 || i >= m.mu.pending.n {
		panic(fmt.Sprintf("blockdev: Step(%d) with %d pending, manual %v", i, m.mu.pending.n, m.mu.manual))
	}
	m.perform(m.mu.pending.remove(i))
}

// remove takes out operation i.
func (q *queue) remove(i int) *Op {
	var prev *Op
	o := q.head
	for ; i > 0; i-- {
		prev, o = o, o.next
	}
	if prev == nil {
		return q.pop()
	}
	prev.next = o.next
	if q.tail == o {
		q.tail = prev
	}
	o.next = nil
	q.n--
	return o
}

// Close implements Device: it carries out what is pending, fails what is stalled, and what is submitted later
// fails with ErrClosed. It must not be called from a Done.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return ErrClosed
	}
	m.ripenAll()
	m.start()
	for m.mu.manual && m.mu.pending.n > 0 {
		m.perform(m.mu.pending.pop())
	}
	for m.mu.pending.n > 0 || m.mu.running > 0 {
		m.wake.Wait()
	}
	m.mu.closed = true
	held := m.mu.held
	m.mu.held = nil
	for _, o := range held {
		m.perform(o)
	}
	m.wake.Broadcast()
	return nil
}
