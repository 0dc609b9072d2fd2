package blockdev

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// plainWorkers bounds the operations that the plain engine works on at once.
const plainWorkers = 16

// plain is the portable engine of a File, and the oracle of the other: a bounded pool of goroutines that
// block in pread, pwrite and fdatasync.
type plain struct {
	f    *File
	max  int
	busy atomic.Int32 // operations whose Done was not called
	wake *sync.Cond

	mu struct {
		sync.Mutex
		pending queue
		workers int // running
		idle    int // of them, waiting for work and not yet signalled
		closed  bool
	}
}

func newPlain(f *File, workers int) *plain {
	p := &plain{f: f, max: workers}
	p.wake = sync.NewCond(&p.mu)
	return p
}

func (p *plain) submit(ops []*Op) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range ops {
		if p.mu.closed {
			go p.f.done(o, ErrClosed)
			continue
		}
		p.mu.pending.push(o)
		p.busy.Add(1)
		switch {
		case p.mu.idle > 0:
			p.mu.idle--
			p.wake.Signal()
		case p.mu.workers < p.max:
			p.mu.workers++
			go p.work()
		}
	}
}

// work is one goroutine of the pool. It ends when the device is closed and nothing is pending.
func (p *plain) work() {
	w := &worker{f: p.f}
	defer w.free()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		o := p.mu.pending.pop()
		if o == nil {
			if p.mu.closed {
				p.mu.workers--
				p.wake.Broadcast()
				return
			}
			p.mu.idle++
			p.wake.Wait()
			continue
		}
		p.mu.Unlock()
		err := w.execute(o)
		p.busy.Add(-1)
		p.f.done(o, err)
		p.mu.Lock()
	}
}

func (p *plain) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.closed = true
	p.wake.Broadcast()
	for p.mu.workers > 0 {
		p.wake.Wait()
	}
}

// worker carries operations out, one at a time.
type worker struct {
	f      *File
	bounce []byte // for buffers that O_DIRECT does not take; nil until the first of them
}

func (w *worker) execute(o *Op) error {
	if err := o.check(w.f.geo); err != nil {
		return err
	}
	switch o.Kind {
	case Read, Write:
		return w.transfer(o)
	case Flush:
		return w.f.failure(o, retry(func() error { return unix.Fdatasync(w.f.fd) }))
	default:
		return w.f.failure(o, w.f.discard(o.Off, o.Len))
	}
}

// transfer moves the whole buffer or fails.
func (w *worker) transfer(o *Op) error {
	for at := 0; at < len(o.Buf); {
		p, bounced, err := w.piece(o.Buf[at:])
		if err != nil {
			return w.f.failure(o, err)
		}
		if bounced && o.Kind == Write {
			copy(p, o.Buf[at:])
		}
		var n int
		err = retry(func() (err error) {
			if o.Kind == Write {
				n, err = unix.Pwrite(w.f.fd, p, o.Off+int64(at))
			} else {
				n, err = unix.Pread(w.f.fd, p, o.Off+int64(at))
			}
			return err
		})
		if err != nil || n == 0 {
			return w.f.failure(o, errors.Join(err, endsEarly(n)))
		}
		if bounced && o.Kind == Read {
			copy(o.Buf[at:], p[:n])
		}
		at += n
	}
	return nil
}

// piece is where the next part of a transfer goes: the buffer itself, or a bounce buffer.
func (w *worker) piece(buf []byte) (p []byte, bounced bool, err error) {
	if w.f.fits(buf) {
		return buf, false, nil
	}
	if w.bounce == nil {
		if w.bounce, err = mapMemory(bounceSize); err != nil {
			return nil, false, err
		}
	}
	return w.bounce[:min(len(buf), len(w.bounce))], true, nil
}

func (w *worker) free() { unmapMemory(w.bounce) }

// retry calls f until no signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// endsEarly is the error of a transfer of no bytes.
func endsEarly(n int) error {
	if n == 0 {
		return errors.New("the device ends early")
	}
	return nil
}

// mapMemory makes memory outside the Go heap, aligned as every device likes it.
func mapMemory(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for buffers: %w", size, err)
	}
	return b, nil
}

func unmapMemory(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // of what mapMemory returned: cannot fail
	}
}
