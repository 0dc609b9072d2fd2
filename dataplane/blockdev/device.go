package blockdev

import "fmt"

// SectorSize is the unit of power loss, in bytes: the largest write that real devices keep or lose as a
// whole, and not even that is relied upon.
const SectorSize = 512

// Kind is what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Read    Kind = iota + 1 // fill Buf from Off
	Write                   // store Buf at Off
	Flush                   // make every write that completed before Submit durable
	Discard                 // Len bytes from Off are of no interest: they read as zeros or as before
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Read:
		return "read"
	case Write:
		return "write"
	case Flush:
		return "flush"
	case Discard:
		return "discard"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Op is one asynchronous operation. Its owner fills it, submits it and may reuse it once Done was called.
type Op struct {
	Kind Kind
	Off  int64            // bytes from the start of the device
	Buf  []byte           // Read, Write: the whole transfer
	Len  int64            // Discard: bytes
	Done func(*Op, error) // called exactly once, never from inside Submit

	next  *Op   // queue link of the device
	began int64 // when it was submitted, by the device's clock
}

// length is the number of bytes the operation covers.
func (o *Op) length() int64 {
	switch o.Kind {
	case Read, Write:
		return int64(len(o.Buf))
	case Discard:
		return o.Len
	}
	return 0
}

// check validates an operation against a geometry.
func (o *Op) check(g Geometry) error {
	n, lb := o.length(), int64(g.LogicalBlock)
	switch o.Kind {
	case Flush:
		return nil
	case Read, Write, Discard:
		if o.Off >= 0 && n > 0 && o.Off%lb == 0 && n%lb == 0 && o.Off <= g.Size-n {
			return nil
		}
	}
	return fmt.Errorf("%w: %v of %d bytes at %d, device has %d", ErrRange, o.Kind, n, o.Off, g.Size)
}

// Geometry describes a device. It is constant while the device is open.
type Geometry struct {
	Kind          DeviceKind
	Size          int64 // bytes, a multiple of LogicalBlock
	LogicalBlock  int   // bytes: 512 or 4096; unit of offsets and lengths
	PhysicalBlock int   // bytes, at least LogicalBlock: what the device writes without reading first
	// VolatileCache: completed writes need a Flush to be durable. False promises that they survive a power
	// loss: for a disk, that the kernel knows of no volatile cache. Whether a cache that it does know of is
	// backed by capacitors cannot be found out; FileOptions.Cache says so.
	VolatileCache bool
	FUA           bool // the disk can write through its cache
	Rotational    bool
	Discard       DiscardLimits
	Direct        bool   // no page cache in between
	Engine        Engine // that carries operations out
}

// DiscardLimits are the bytes that a device forgets at once: whole multiples of Granularity, Max per request
// to the disk (a longer Discard is cut). Granularity 0: Discard does nothing.
type DiscardLimits struct {
	Granularity, Max int64
}

// DeviceKind is what a device is to the kernel.
type DeviceKind uint8

// The kinds of devices.
const (
	KindMemory  DeviceKind = iota // a Mem
	KindRegular                   // a regular file
	KindDisk                      // a block device
)

// String names the kind.
func (k DeviceKind) String() string { return [...]string{"memory", "regular file", "disk"}[k] }

// Engine is how operations get to the device.
type Engine uint8

// The engines.
const (
	EngineAuto  Engine = iota // in FileOptions: the best that works
	EnginePlain               // goroutines in pread, pwrite and fdatasync
	EngineURing               // io_uring
	EngineMem                 // memory
)

// String names the engine.
func (e Engine) String() string { return [...]string{"auto", "plain", "io_uring", "memory"}[e] }

// Cache says whether a device has a volatile write cache.
type Cache uint8

// What is known of a write cache.
const (
	CacheAuto     Cache = iota // what the kernel says
	CacheVolatile              // power loss may take what was not flushed
	CacheNone                  // a completed write stays: no cache, or one with power-loss protection
)

// Device is a block device. Safe for use by several goroutines. See the package documentation for the
// contract.
type Device interface {
	Geometry() Geometry
	// Submit starts operations. It never waits for the device and never calls Done itself.
	Submit(ops ...*Op)
	// Close waits for operations in flight and releases the device. It does not flush.
	Close() error
}

// queue is a first-in first-out list of operations, linked through the operations themselves.
type queue struct {
	head, tail *Op
	n          int
}

func (q *queue) push(o *Op) {
	o.next = nil
	if q.tail == nil {
		q.head = o
	} else {
		q.tail.next = o
	}
	q.tail = o
	q.n++
}

func (q *queue) pop() *Op {
	o := q.head
	if o == nil {
		return nil
	}
	q.head = o.next
	if q.head == nil {
		q.tail = nil
	}
	o.next = nil
	q.n--
	return o
}

// splice moves everything from another queue to the end of this one.
func (q *queue) splice(from *queue) {
	if from.head == nil {
		return
	}
	if q.tail == nil {
		q.head = from.head
	} else {
		q.tail.next = from.head
	}
	q.tail = from.tail
	q.n += from.n
	*from = queue{}
}
