package nvmet

import (
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// BlockSize is the logical block size of every namespace, in bytes. There is exactly one LBA format.
const BlockSize = 512

// NSID is the only namespace of every subsystem.
const NSID = 1

// Namespace is what a subsystem serves: the volume behind NSID 1. Gateway volumes, the memory namespace of
// package memns and the chunk service of a node (vendor commands) are namespaces. It is a pointer, or
// comparable.
type Namespace interface {
	// Identity names the namespace; it never changes.
	Identity() Identity
	// Blocks is the size now, in logical blocks of BlockSize bytes. After a change call NamespaceChanged.
	Blocks() uint64
	// ANAState is the access state of this path now. After a change call ANAChanged. While it is neither
	// optimized nor non-optimized no command reaches Submit. ANAChange may last for ANATT, 10 s: then hosts
	// reset the controller.
	ANAState() nvme.ANAState
	// Submit starts a request and must see to it that r.Complete is called exactly once, from any goroutine,
	// perhaps before Submit returns. It never blocks for long: the connection of the request waits for it.
	// Opcodes that arrive: Read, Write, Flush, Write Zeroes, Dataset Management (only with AD, Deallocate)
	// and, where SubsystemConfig.Vendor allows it, vendor commands. Compare and Verify arrive as the Read
	// they need.
	Submit(r *Request)
}

// Identity is the globally unique name of a namespace, the same on every path to it.
type Identity struct {
	UUID  [16]byte // in the byte order of the text form; a volume's is the volume's UUID
	NGUID [16]byte
	// ReadOnly for good: as SubsystemConfig.ReadOnly.
	ReadOnly bool
}

// Request is one command on its way through a Namespace. It belongs to the namespace from Submit until
// Complete, then to the target, which uses it again: keep neither the request nor Data.
type Request struct {
	// Cmd is the command. The target has checked NSID, opcode, the LBA range against Blocks (of Dataset
	// Management: every range) and that length and direction of the data match. Of a vendor command only NSID
	// is known to be 1; direction and length of Data are what opcode bits 1:0 and the SGL say.
	Cmd nvme.Command
	// Data is the payload of a write-like command, already received, and the namespace's to change; the
	// buffer to fill, all of it, of a read-like one (it holds old bytes); the ranges (16 bytes each) of
	// Dataset Management; nil for commands without data. It is aligned to 4 KiB in memory.
	Data []byte

	status   nvme.Status
	dw0, dw1 uint32
	state    atomic.Uint32 // a requestState
	queue    *queue        // nil for a request made by NewRequest
	next     *Request      // in the list that its state names
	plan     plan          // what its data needs
	got      uint32        // bytes of Data received so far
	fault    nvme.Status   // what the transfer of its data ran into; the command completes with it
	memory   []byte        // the buffer that Data is cut from; nil: none
	bounce   []byte        // where Compare reads to; nil: none
	booked   int64         // bytes of its queue's account
	index    uint16        // of its slot, and the TTAG of its R2T
	done     func(*Request, nvme.Status, uint32, uint32)
}

// requestState is where a request is on its way.
type requestState uint32

const (
	stateFree      requestState = iota // in the free list of its queue
	stateReceiving                     // its capsule, with the data in it, is being read
	stateWaiting                       // wants data memory and holds nothing but its slot
	stateAsking                        // has memory, its R2T waits for the sender
	stateTransfer                      // its R2T is on the way, H2CData PDUs bring the data
	stateExecuting                     // with the namespace, or kept by the controller (asynchronous events)
	stateAnswering                     // completed, its response waits for the sender
)

// NewRequest makes a request that reports to done instead of a connection: for tests of a Namespace and for
// local callers. done is called by Complete, on its goroutine.
func NewRequest(
	cmd nvme.Command, data []byte, done func(r *Request, st nvme.Status, dw0, dw1 uint32),
) *Request {
	r := &Request{Cmd: cmd, Data: data, done: done}
	r.state.Store(uint32(stateExecuting))
	return r
}

// Complete ends the request with a status and result 0. Data goes to the host only when st is success.
func (r *Request) Complete(st nvme.Status) { r.CompleteResult(st, 0, 0) }

// CompleteResult ends the request with a status and the two result dwords of the completion. A second call
// for the same request is a bug of the namespace that could hand data to the wrong command: it panics.
func (r *Request) CompleteResult(st nvme.Status, dw0, dw1 uint32) {
	if !r.state.CompareAndSwap(uint32(stateExecuting), uint32(stateAnswering)) {
		panic("nvmet: request completed twice")
	}
	r.status, r.dw0, r.dw1 = st, dw0, dw1
	if r.done != nil {
		r.done(r, st, dw0, dw1)
		return
	}
	r.queue.completed(r)
}

func (r *Request) is(s requestState) bool { return requestState(r.state.Load()) == s }
func (r *Request) enter(s requestState)   { r.state.Store(uint32(s)) }
