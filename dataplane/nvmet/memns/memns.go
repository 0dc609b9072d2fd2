// Package memns is a namespace in memory: for tests of whatever talks to a target, for benchmarks of the
// target alone, and as the model that other namespaces are compared with.
//
// Contract: reads return the last completed write of every block and zeroes where nothing was written or what
// was deallocated; all commands complete inside Submit unless Hold was called. Every 4 KiB has its own lock,
// so that one block of 512 B is never torn. Its content is lost with it.
package memns

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

const stripe = 4096 // bytes under one lock

// Namespace is a namespace in memory. Make one with New.
type Namespace struct {
	id     nvmet.Identity
	data   []byte // off the Go heap; its length is the most the namespace can grow to
	locks  []sync.RWMutex
	blocks atomic.Uint64
	state  atomic.Uint32
	hold   atomic.Bool // changes under mu only

	mu struct {
		sync.Mutex
		held []*nvmet.Request
		wait *sync.Cond // signalled when a request is held
	}
}

// New makes a namespace of blocks logical blocks that Resize can take up to limit.
func New(id [16]byte, blocks, limit uint64) (*Namespace, error) {
	if blocks == 0 || blocks > limit || limit > 1<<40/nvmet.BlockSize {
		return nil, fmt.Errorf("memns: %d of at most %d blocks", blocks, limit)
	}
	data, err := unix.Mmap(-1, 0, int(limit)*nvmet.BlockSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("memns: map %d blocks: %w", limit, err)
	}
	n := &Namespace{
		id:    nvmet.Identity{UUID: id, NGUID: id},
		data:  data,
		locks: make([]sync.RWMutex, (len(data)+stripe-1)/stripe),
	}
	n.blocks.Store(blocks)
	n.state.Store(uint32(nvme.ANAOptimized))
	n.mu.wait = sync.NewCond(&n.mu)
	return n, nil
}

// NewRandom is New with a random identity and no room to grow.
func NewRandom(blocks uint64) (*Namespace, error) { return New(uuid.New(), blocks, blocks) }

// Close frees the memory. No request may be with the namespace.
func (n *Namespace) Close() error {
	data := n.data
	n.data = nil
	return unix.Munmap(data)
}

// Identity implements nvmet.Namespace.
func (n *Namespace) Identity() nvmet.Identity { return n.id }

// Blocks implements nvmet.Namespace.
func (n *Namespace) Blocks() uint64 { return n.blocks.Load() }

// ANAState implements nvmet.Namespace.
func (n *Namespace) ANAState() nvme.ANAState { return nvme.ANAState(n.state.Load()) }

// SetANAState changes the state; tell the target with ANAChanged.
func (n *Namespace) SetANAState(s nvme.ANAState) { n.state.Store(uint32(s)) }

// Resize changes the size, at most to the limit of New; tell the target with NamespaceChanged.
func (n *Namespace) Resize(blocks uint64) error {
	if blocks == 0 || blocks > uint64(len(n.data)/nvmet.BlockSize) {
		return fmt.Errorf("memns: cannot resize to %d blocks", blocks)
	}
	n.blocks.Store(blocks)
	return nil
}

// Hold keeps every request from now on; Release carries them out in order of arrival and ends the holding.
func (n *Namespace) Hold() {
	n.mu.Lock()
	n.hold.Store(true)
	n.mu.Unlock()
}

// Release ends Hold.
func (n *Namespace) Release() {
	n.mu.Lock()
	held := n.mu.held
	n.mu.held = nil
	n.hold.Store(false)
	n.mu.Unlock()
	for _, r := range held {
		n.carryOut(r)
	}
}

// AwaitHeld waits until count requests are held.
func (n *Namespace) AwaitHeld(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.mu.held) < count {
		n.mu.wait.Wait()
	}
}

// Held is the number of requests held.
func (n *Namespace) Held() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.mu.held)
}

// Submit implements nvmet.Namespace.
func (n *Namespace) Submit(r *nvmet.Request) {
	if !n.hold.Load() || !n.keep(r) {
		n.carryOut(r)
	}
}

func (n *Namespace) keep(r *nvmet.Request) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.hold.Load() {
		return false
	}
	n.mu.held = append(n.mu.held, r)
	n.mu.wait.Broadcast()
	return true
}

func (n *Namespace) carryOut(r *nvmet.Request) {
	c := &r.Cmd
	off := c.SLBA() * nvmet.BlockSize
	switch c.Opcode() {
	case nvme.OpRead:
		n.read(r.Data, off)
	case nvme.OpWrite:
		n.write(r.Data, off)
	case nvme.OpWriteZeroes:
		n.zero(off, uint64(c.NLB())*nvmet.BlockSize)
	case nvme.OpDSM:
		for b := r.Data; len(b) > 0; b = b[nvme.DSMRangeSize:] {
			n.zero(binary.LittleEndian.Uint64(b[8:])*nvmet.BlockSize,
				uint64(binary.LittleEndian.Uint32(b[4:]))*nvmet.BlockSize)
		}
	case nvme.OpFlush:
	default:
		r.Complete(nvme.InvalidOpcode.NoRetry())
		return
	}
	r.Complete(nvme.Success)
}

// read, write and zero go stripe by stripe.
func (n *Namespace) read(p []byte, off uint64) {
	for len(p) > 0 {
		k := min(uint64(len(p)), stripe-off%stripe)
		lock := &n.locks[off/stripe]
		lock.RLock()
		copy(p, n.data[off:off+k])
		lock.RUnlock()
		p, off = p[k:], off+k
	}
}

func (n *Namespace) write(p []byte, off uint64) {
	for len(p) > 0 {
		k := min(uint64(len(p)), stripe-off%stripe)
		lock := &n.locks[off/stripe]
		lock.Lock()
		copy(n.data[off:off+k], p)
		lock.Unlock()
		p, off = p[k:], off+k
	}
}

func (n *Namespace) zero(off, size uint64) {
	for size > 0 {
		k := min(size, stripe-off%stripe)
		lock := &n.locks[off/stripe]
		lock.Lock()
		clear(n.data[off : off+k])
		lock.Unlock()
		off, size = off+k, size-k
	}
}
