package blockdev

import (
	"errors"
	"fmt"
)

// SectorSize is the unit of power loss, in bytes: the largest write that real devices keep or lose as a
// whole, and not even that is relied upon.
const SectorSize = 512

// The errors of a Device. Test with errors.Is.
var (
	// ErrClosed is returned by operations submitted after Close.
	ErrClosed = errors.New("device closed")
	// ErrRange is returned by operations outside the device, unaligned or of no known kind.
	ErrRange = errors.New("operation outside the device or unaligned")
	// ErrIO is wrapped by failures of the medium.
	ErrIO = errors.New("device I/O error")
	// ErrInUse is returned when another process, or this one, has the device open.
	ErrInUse = errors.New("device in use")
)

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

	next *Op // queue link of the device
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
	Size          int64 // bytes, a multiple of LogicalBlock
	LogicalBlock  int   // bytes: 512 or 4096; unit of offsets and lengths
	VolatileCache bool  // completed writes need a Flush to be durable
}

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
