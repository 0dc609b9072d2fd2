package initiator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// ErrRange refuses a request that does not lie inside the volume or not on block borders.
var ErrRange = errors.New("outside the volume, or not on block borders")

const (
	maxTries   = 5 // of a command that fails with an error that may pass, on a path that works
	firstPause = 10 * time.Millisecond
	window     = 16      // requests in flight of one synchronous call
	maxZeroes  = 65536   // blocks of one Write Zeroes
	maxDealloc = 1 << 31 // blocks of one range of Dataset Management
)

// Request is one I/O of a Volume. The caller fills the first part; everything belongs to the Volume until
// Done.
type Request struct {
	Op   uint8  // nvme.OpRead, OpWrite, OpWriteZeroes, OpDSM (deallocate) or OpFlush
	Off  int64  // bytes
	Data []byte // OpRead, OpWrite: at most Volume.MaxTransfer
	Len  int64  // OpWriteZeroes, OpDSM: bytes, at most what the controllers take (WZSL), or 2^31 blocks
	// Ctx ends the wait for a path; a command that has been sent is waited for. nil: no end but GiveUp.
	Ctx  context.Context
	Done func(*Request, error) // as IO.Done: exactly once, must not block
	Tag  any

	io        IO
	dsm       [nvme.DSMRangeSize]byte
	portal    *portal // which the command was sent on
	client    *Client
	giveUp    time.Time
	notBefore time.Time // when it waits for an error to pass
	tries     int
	last      nvme.Status // what it waits for
	next      *Request
}

// Submit starts a request. Done is called exactly once, from any goroutine, perhaps before Submit returns.
func (v *Volume) Submit(r *Request) {
	if err := v.build(r); err != nil {
		r.Done(r, err)
		return
	}
	r.giveUp = time.Now().Add(v.cfg.GiveUp)
	r.tries, r.last, r.notBefore = 0, 0, time.Time{}
	v.dispatch(r)
}

// build fills in the command.
func (v *Volume) build(r *Request) error {
	n := r.Len
	if r.Op == nvme.OpRead || r.Op == nvme.OpWrite {
		n = int64(len(r.Data))
		if n > int64(v.MaxTransfer()) {
			return fmt.Errorf("%d bytes in one command, the limit is %d", n, v.MaxTransfer())
		}
	}
	shift, nsid := v.ns.shift, v.ns.nsid
	r.io = IO{Done: v.onIO, Tag: r}
	if r.Op == nvme.OpFlush {
		r.io.Cmd.SetOpcode(nvme.OpFlush)
		r.io.Cmd.SetNSID(nsid)
		return nil
	}
	mask := int64(1)<<shift - 1
	if r.Off < 0 || n <= 0 || (r.Off|n)&mask != 0 || r.Off > v.Size() || n > v.Size()-r.Off {
		return fmt.Errorf("%d bytes at %d: %w", n, r.Off, ErrRange)
	}
	slba, blocks := uint64(r.Off)>>shift, uint64(n)>>shift
	switch {
	case r.Op == nvme.OpDSM && blocks <= maxDealloc:
		nvme.DSMRange{Blocks: uint32(blocks), SLBA: slba}.Encode(r.dsm[:])
		r.io.Cmd.DSM(nsid, 1, nvme.DSMDeallocate)
		r.io.Data = r.dsm[:]
	case r.Op == nvme.OpRead || r.Op == nvme.OpWrite:
		if blocks > maxZeroes {
			return fmt.Errorf("%d blocks in one command: %w", blocks, ErrRange)
		}
		r.io.Cmd.ReadWrite(r.Op, nsid, slba, uint32(blocks))
		r.io.Data = r.Data
	case r.Op == nvme.OpWriteZeroes && n <= v.zeroes.Load():
		r.io.Cmd.ReadWrite(r.Op, nsid, slba, uint32(blocks))
	default:
		return fmt.Errorf("opcode %02Xh of %d blocks: %w", r.Op, blocks, ErrRange)
	}
	return nil
}

// dispatch sends a request on a usable path or lets it wait for one.
func (v *Volume) dispatch(r *Request) {
	v.mu.Lock()
	p := v.pick()
	if p == nil || v.closed {
		v.park(r)
		closed := v.closed
		v.mu.Unlock()
		if closed {
			v.pump()
		}
		return
	}
	r.portal, r.client = p, p.client
	v.mu.Unlock()
	r.client.Submit(&r.io)
}

// park puts a request on the waiting list; pump takes it from there. v.mu is held.
func (v *Volume) park(r *Request) {
	v.waiting.push(r)
	if t := r.wakeup(); !v.closed && (v.alarm.IsZero() || t.Before(v.alarm)) {
		v.alarm = t
		v.timer.Reset(time.Until(t))
	}
}

// wakeup is when a waiting request needs to be looked at, if nothing else happens.
func (r *Request) wakeup() time.Time {
	if !r.notBefore.IsZero() {
		return r.notBefore
	}
	return r.giveUp
}

// over says why a request need not wait any longer, nil when it must. v.mu is held.
func (v *Volume) over(r *Request, now time.Time) error {
	reason := error(nil)
	switch {
	case v.closed:
		reason = ErrClosed
	case r.Ctx != nil && r.Ctx.Err() != nil:
		reason = r.Ctx.Err()
	case !now.Before(r.giveUp):
		reason = context.DeadlineExceeded
	default:
		return nil
	}
	if r.last.OK() {
		return fmt.Errorf("no usable path: %w", reason)
	}
	return fmt.Errorf("no usable path: %w (%w)", reason, r.last)
}

// pump looks at all waiting requests: those that are over end, those that can be sent are sent, the others
// wait on and the timer is set for them.
func (v *Volume) pump() {
	var ready, ended requestList
	now := time.Now()
	v.mu.Lock()
	usable := v.pick() != nil
	waiting := v.waiting
	v.waiting = requestList{}
	var first time.Time
	for r := waiting.pop(); r != nil; r = waiting.pop() {
		switch {
		case v.over(r, now) != nil:
			ended.push(r)
		case usable && !r.notBefore.After(now):
			r.notBefore = time.Time{}
			ready.push(r)
		default:
			if !r.notBefore.After(now) {
				r.notBefore = time.Time{}
			}
			v.waiting.push(r)
			if t := r.wakeup(); first.IsZero() || t.Before(first) {
				first = t
			}
		}
	}
	if v.alarm = first; !first.IsZero() {
		v.timer.Reset(first.Sub(now))
	}
	v.mu.Unlock()
	for r := ended.pop(); r != nil; r = ended.pop() {
		v.mu.Lock()
		err := v.over(r, now)
		v.mu.Unlock()
		r.Done(r, err)
	}
	for r := ready.pop(); r != nil; r = ready.pop() {
		v.dispatch(r)
	}
}

// ioDone judges an answer: done, for another path, or for another try.
func (v *Volume) ioDone(io *IO) {
	r := io.Tag.(*Request)
	st := io.Status()
	if st.OK() {
		r.Done(r, nil)
		return
	}
	wait, again := v.verdict(r, st)
	if !again {
		r.Done(r, st)
		return
	}
	r.last = st
	if wait == 0 {
		v.dispatch(r)
		return
	}
	v.mu.Lock()
	r.notBefore = time.Now().Add(wait)
	v.park(r)
	closed := v.closed
	v.mu.Unlock()
	if closed {
		v.pump()
	}
}

// verdict says whether to try again and after what time. It takes a path that cannot be used out of the
// choice.
func (v *Volume) verdict(r *Request, st nvme.Status) (wait time.Duration, again bool) {
	switch st.Code() {
	case nvme.HostPathingError:
		v.mu.Lock()
		if r.portal.client == r.client {
			r.portal.client = nil
		}
		v.mu.Unlock()
		return 0, true
	case nvme.AsymmetricAccessInaccessible, nvme.AsymmetricAccessTransition, nvme.AsymmetricAccessPersistent:
		v.mu.Lock()
		if r.portal.client == r.client {
			r.portal.ana = nvme.ANAInaccessible // until the log page says better
		}
		v.mu.Unlock()
		r.portal.refresh()
		return 0, true
	}
	if !st.MayRetry() {
		return 0, false
	}
	switch st.Code() {
	case nvme.InternalPathError, nvme.ControllerPathingError, nvme.NamespaceNotReady, nvme.CommandInterrupted:
	case nvme.TransientTransportError, nvme.DataTransferError, nvme.AbortedSQDeletion, nvme.InternalError:
		if r.tries >= maxTries {
			return 0, false
		}
	default:
		return 0, false
	}
	r.tries++
	return firstPause << min(r.tries-1, 6), true
}

// each runs pieces of at most step bytes of [off, off+n), several at a time, and returns the first error. No
// piece is in flight any more when it returns.
func (v *Volume) each(ctx context.Context, op uint8, off, n, step int64, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, v.pump) // requests that wait look at their ctx
	defer stop()
	type result struct {
		r   *Request
		err error
	}
	results := make(chan result, window)
	var failed error
	at, flying := int64(0), 0
	for {
		for flying < window && failed == nil && (at < n || op == nvme.OpFlush && at == 0) {
			k := min(step, n-at)
			r := &Request{Op: op, Off: off + at, Len: k, Ctx: ctx}
			r.Done = func(r *Request, err error) { results <- result{r, err} }
			if p != nil {
				r.Data = p[at : at+k]
			}
			flying++
			at += max(k, 1)
			v.Submit(r)
		}
		if flying == 0 {
			return failed
		}
		res := <-results
		flying--
		if res.err != nil && failed == nil {
			failed = res.err
		}
	}
}

// Read fills p from byte offset off. Like all synchronous forms it splits what is too large for one command,
// waits for a usable path as long as ctx allows, and returns when nothing of it is in flight.
func (v *Volume) Read(ctx context.Context, p []byte, off int64) error {
	return v.each(ctx, nvme.OpRead, off, int64(len(p)), v.step(), p)
}

// Write writes p at byte offset off. When it fails, any part of p may have been written.
func (v *Volume) Write(ctx context.Context, p []byte, off int64) error {
	return v.each(ctx, nvme.OpWrite, off, int64(len(p)), v.step(), p)
}

// step is how much of a synchronous read or write goes into one command.
func (v *Volume) step() int64 { return int64(min(v.MaxTransfer(), maxZeroes<<v.ns.shift)) }

// WriteZeroes makes n bytes at off read as zeroes.
func (v *Volume) WriteZeroes(ctx context.Context, off, n int64) error {
	return v.each(ctx, nvme.OpWriteZeroes, off, n, v.zeroes.Load(), nil)
}

// Deallocate tells that n bytes at off are no longer needed.
func (v *Volume) Deallocate(ctx context.Context, off, n int64) error {
	return v.each(ctx, nvme.OpDSM, off, n, maxDealloc<<v.ns.shift, nil)
}

// Flush makes completed writes durable; without a volatile write cache they are already.
func (v *Volume) Flush(ctx context.Context) error {
	return v.each(ctx, nvme.OpFlush, 0, 0, 1, nil)
}

// requestList is a first-in first-out list threaded through its requests.
type requestList struct {
	head, tail *Request
}

func (l *requestList) push(r *Request) {
	r.next = nil
	if l.head == nil {
		l.head = r
	} else {
		l.tail.next = r
	}
	l.tail = r
}

func (l *requestList) pop() *Request {
	r := l.head
	if r != nil {
		l.head, r.next = r.next, nil
	}
	return r
}
