package nvmet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	// handshakeTimeout is how long a connection may take from accept to a working queue.
	handshakeTimeout = 10 * time.Second
	// lingerTimeout and lingerBytes bound the wait for the host to close after a C2HTermReq.
	lingerTimeout = 2 * time.Second
	lingerBytes   = 1 << 20

	// Receive buffers: one while connecting and for admin queues, a larger one for I/O queues. A batch is what
	// one read brings, so the larger one decides how many commands share a system call.
	adminBuffer = 16 << 10
	ioBuffer    = 128 << 10

	// adminInCapsule is the in-capsule data that every queue takes before Connect and admin queues take always
	// (TCP 3.3.2: 8 KiB).
	adminInCapsule = 8 << 10
	// directRead is the rest of a payload from which on it is read straight into its buffer.
	directRead = 2 << 10
)

// phase is how far a connection has come.
type phase uint8

const (
	phaseInit         phase = iota // waits for ICReq
	phaseConnect                   // waits for Connect
	phaseAuthenticate              // waits for the cluster-secret transaction
	phaseLive                      // serves commands
	phaseEnding                    // was told to end: nothing more is executed
)

// errEnd ends a connection that did what it was asked to; the reader returns it.
var errEnd = errors.New("connection ended")

// conn is one TCP connection and so one queue. The reader goroutine owns in and everything that Connect sets;
// out belongs to whoever owns the sender (see queue).
type conn struct {
	target *Target
	sock   socket
	peer   connPeer

	queue *queue
	in    receiver
	out   sender
	wakes chan struct{} // starts the writer goroutine; its sender owns the sender

	// Set by Connect on the reader goroutine, constant afterwards.
	ctrl *controller
	qid  uint16
	auth *clusterAuth

	stopped chan struct{} // closed when the reader has ended: no command starts any more

	phase atomic.Uint32 // a phase; the reader advances it, anybody may set phaseEnding
	cause atomic.Pointer[error]
	count ioCounters
}

// connPeer is where a connection comes from and goes to, for the log.
type connPeer struct{ local, remote string }

func newConn(t *Target, nc net.Conn) (*conn, error) {
	sock, err := newSocket(nc)
	if err != nil {
		return nil, fmt.Errorf("set up socket: %w", err)
	}
	c := &conn{
		target: t, sock: sock, wakes: make(chan struct{}, 1), stopped: make(chan struct{}),
		peer: connPeer{nc.LocalAddr().String(), nc.RemoteAddr().String()},
	}
	if c.in.buf, err = t.memory.get(adminBuffer); err != nil {
		return nil, err
	}
	c.out.head = make([]byte, headSize)
	c.queue = newQueue(t.memory, 1, func() { c.wakes <- struct{}{} })
	return c, nil
}

// run serves the connection until it ends. It returns when nothing of it is left but requests that the
// namespace has not completed yet; those end in queue.drained.
func (c *conn) run() error {
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		for range c.wakes {
			c.send(true)
		}
	}()
	err := c.sock.SetReadDeadline(time.Now().Add(handshakeTimeout))
	if err == nil {
		err = c.read()
	}
	c.enter(phaseEnding)
	close(c.stopped)
	var fault nvme.Fault
	if errors.As(err, &fault) {
		c.terminate(fault)
	}
	if errors.Is(err, errEnd) {
		c.queue.finish() // its last answers are worth the wait
		_ = c.sock.CloseWrite()
		c.linger()
	}
	_ = c.sock.Close() // whatever it says, the descriptor is gone
	c.queue.finish()
	close(c.wakes)
	<-writer
	c.queue.clear()
	c.target.memory.put(c.in.buf)
	if cause := c.cause.Load(); cause != nil {
		return *cause
	}
	return err
}

// read is the reader: it gathers bytes and works through the PDUs in them.
func (c *conn) read() error {
	for {
		if err := c.in.fill(c.sock); err != nil {
			return err
		}
		c.queue.beginBatch()
		err := c.consume()
		c.flush()
		if err != nil {
			return err
		}
	}
}

// flush sends what is ready, as far as the socket takes it at once.
func (c *conn) flush() {
	if c.queue.endBatch() && c.send(false) {
		c.wakes <- struct{}{}
	}
}

// fail ends the connection for a reason found elsewhere than in the reader: the reader will notice.
func (c *conn) fail(err error) {
	c.cause.CompareAndSwap(nil, &err)
	c.enter(phaseEnding)
	c.queue.kill()
	_ = c.sock.Close() // the reader reports
}

// established is false when the host is known to have closed.
func (c *conn) established() bool {
	s, ok := c.sock.(interface{ established() bool })
	return c.at() != phaseEnding && (!ok || s.established())
}

func (c *conn) at() phase { return phase(c.phase.Load()) }

// enter advances the phase; phaseEnding is final.
func (c *conn) enter(p phase) {
	for {
		old := c.phase.Load()
		if phase(old) == phaseEnding || c.phase.CompareAndSwap(old, uint32(p)) {
			return
		}
	}
}

// terminate tells the host what it did wrong (C2HTermReq) and waits for it to close, so that the PDU is not
// lost to a reset (TCP 3.5.2).
func (c *conn) terminate(fault nvme.Fault) {
	c.queue.finish()
	pdu := make([]byte, nvme.TermReqSize+nvme.TermReqMaxData)
	n := nvme.TermReq{Type: nvme.PDUC2HTermReq, Fault: fault, Data: c.in.offending}.Encode(pdu)
	if _, err := c.sock.Writev([][]byte{pdu[:n]}, true); err != nil {
		return
	}
	_ = c.sock.CloseWrite() // linger notices if it failed
	c.linger()
}

// linger reads and drops until the host closes.
func (c *conn) linger() {
	if err := c.sock.SetReadDeadline(time.Now().Add(lingerTimeout)); err != nil {
		return
	}
	for total := 0; total < lingerBytes; {
		n, err := c.sock.Readv(c.in.buf, nil)
		if err != nil {
			return
		}
		total += n
	}
}

// ordinary reports an end that needs no line in the log above debug level.
func ordinary(err error) bool {
	return err == nil || errors.Is(err, errEnd) || errors.Is(err, io.EOF)
}
