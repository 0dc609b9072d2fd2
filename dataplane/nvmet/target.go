package nvmet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Options of a target. The zero value of a field means its default.
type Options struct {
	// MinCNTLID..MaxCNTLID is this node's part of the controller identifiers, 1..FFEFh: nodes that show the same
	// subsystem must not overlap. Default: all.
	MinCNTLID, MaxCNTLID uint16
	Queues               int   // I/O queues per controller, default 8
	QueueDepth           int   // entries of a queue, default 128
	MDTS                 int   // most bytes one command moves, a power of two from 4 KiB; default 256 KiB
	InCapsule            int   // most data in an I/O command capsule, bytes, default 8 KiB, at most 64 KiB
	Memory               int64 // bytes that all queues share beyond their reserves, default 256 MiB
	Connections          int   // most connections, default 16384
	// Pinned, when set, is memory of the caller that buffers are taken from first, page aligned and outside of
	// the Go heap. Its pages are never given back to the kernel, so devices may have them registered. It may be
	// unmapped when Close has returned nil.
	Pinned []byte
	// Secret, when set, is the cluster secret: every queue has to pass its authentication before anything else.
	Secret   []byte
	Firmware string // FR of Identify Controller, 8 bytes
	Logger   logrus.FieldLogger
}

// vendorSlack is what a vendor command may move beyond MDTS: the headers of chunk commands next to a full
// payload.
const vendorSlack = 16 << 10

// closeTimeout is how long Close waits for namespaces to complete what they have.
const closeTimeout = 10 * time.Second

// Target serves subsystems to hosts. Its methods may be called from any goroutine.
type Target struct {
	options   Options
	log       logrus.FieldLogger
	memory    *memory
	discovery *subsystem
	closing   chan struct{}
	serving   sync.WaitGroup // connections, until they are drained

	mu struct {
		sync.Mutex
		subsystems map[string]*subsystem
		generation uint64 // GENCTR of the discovery log page
		listeners  map[net.Listener]struct{}
		conns      map[*conn]struct{}
		accepted   uint64   // connections, refused ones too
		retired    ioTotals // of subsystems that are gone
		closed     bool
	}
}

// New makes a target that serves nothing but discovery yet.
func New(o Options) (*Target, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	t := &Target{options: o, log: o.Logger, closing: make(chan struct{})}
	t.memory = newMemory(o.Memory, max(t.maxData(), ioBuffer), o.Pinned)
	t.mu.subsystems = map[string]*subsystem{}
	t.mu.listeners = map[net.Listener]struct{}{}
	t.mu.conns = map[*conn]struct{}{}
	t.mu.generation = 1
	t.discovery = newSubsystem(t, SubsystemConfig{NQN: nvme.DiscoveryNQN, AllowAny: true, Model: "Ashlar"})
	t.discovery.discovery = true
	return t, nil
}

// complete fills in the defaults and checks the rest.
func (o *Options) complete() error {
	if o.MinCNTLID == 0 && o.MaxCNTLID == 0 {
		o.MinCNTLID, o.MaxCNTLID = 1, 0xffef
	}
	setDefault(&o.Queues, 8)
	setDefault(&o.QueueDepth, 128)
	setDefault(&o.MDTS, 256<<10)
	setDefault(&o.InCapsule, adminInCapsule)
	setDefault(&o.Memory, 256<<20)
	setDefault(&o.Connections, 16<<10)
	if o.Logger == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Logger = quiet
	}
	switch {
	case o.MinCNTLID == 0 || o.MinCNTLID > o.MaxCNTLID || o.MaxCNTLID > 0xffef:
		return fmt.Errorf("nvmet: bad CNTLID range %d..%d", o.MinCNTLID, o.MaxCNTLID)
	case o.Queues < 1 || o.Queues > 1024:
		return fmt.Errorf("nvmet: %d I/O queues per controller", o.Queues)
	case o.QueueDepth < 2 || o.QueueDepth > 4096:
		return fmt.Errorf("nvmet: queue depth %d", o.QueueDepth)
	case o.MDTS < pageSize || o.MDTS > 16<<20 || o.MDTS&(o.MDTS-1) != 0:
		return fmt.Errorf("nvmet: transfer limit of %d bytes", o.MDTS)
	case o.InCapsule < pageSize || o.InCapsule > 64<<10 || o.InCapsule%16 != 0:
		return fmt.Errorf("nvmet: %d bytes of in-capsule data", o.InCapsule)
	case o.Memory < 1<<20 || o.Connections < 1:
		return fmt.Errorf("nvmet: %d bytes of memory for %d connections", o.Memory, o.Connections)
	}
	return nil
}

func setDefault[T int | int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// maxData is the most data of any command, bytes; also MAXH2CDATA, so that one PDU can carry a transfer.
func (t *Target) maxData() int { return t.options.MDTS + vendorSlack }

// Listen opens a TCP listener the way Serve wants it: without multipath TCP, which Go turns on by default.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("nvmet: %w", err)
	}
	return ln, nil
}

// Serve accepts connections from ln until Close, then returns nil. The discovery subsystem is there on every
// listener. Serve closes ln.
func (t *Target) Serve(ln net.Listener) error {
	if !t.track(ln) {
		_ = ln.Close() // nothing was accepted from it
		return nil
	}
	defer t.untrack(ln)
	for {
		nc, err := ln.Accept()
		if err == nil {
			t.serveConn(nc)
			continue
		}
		select {
		case <-t.closing:
			return nil
		default:
		}
		var temporary interface{ Temporary() bool } // out of descriptors, mostly
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			return fmt.Errorf("nvmet: accept: %w", err)
		}
		t.log.WithError(err).Warn("accept failed")
		select {
		case <-t.closing:
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (t *Target) track(ln net.Listener) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mu.closed {
		t.mu.listeners[ln] = struct{}{}
	}
	return !t.mu.closed
}

func (t *Target) untrack(ln net.Listener) {
	t.mu.Lock()
	delete(t.mu.listeners, ln)
	t.mu.Unlock()
	_ = ln.Close() // perhaps for the second time
}

// serveConn starts a connection.
func (t *Target) serveConn(nc net.Conn) {
	c, err := newConn(t, nc)
	if err != nil {
		t.log.WithError(err).Warn("connection refused")
		_ = nc.Close() // nothing was sent
		return
	}
	t.mu.Lock()
	room := !t.mu.closed && len(t.mu.conns) < t.options.Connections
	t.mu.accepted++
	if room {
		t.mu.conns[c] = struct{}{}
		t.serving.Add(1)
	}
	t.mu.Unlock()
	if !room {
		t.memory.put(c.in.buf)
		_ = nc.Close() // nothing was sent
		return
	}
	go func() {
		defer t.serving.Done()
		t.finish(c, c.run())
	}()
}

// finish takes leave of a connection: first of its place in the association, then, when the namespace has
// completed its last request, of the rest.
func (t *Target) finish(c *conn, err error) {
	log := t.log.WithFields(logrus.Fields{"host": c.peer.remote, "portal": c.peer.local})
	if c.ctrl != nil {
		log = log.WithFields(logrus.Fields{
			"nqn": c.ctrl.sub.view.Load().cfg.NQN, "cntlid": c.ctrl.id, "qid": c.qid,
			"hostnqn": c.ctrl.host.nqn,
		})
		c.ctrl.left(c)
	}
	if ordinary(err) {
		log.WithError(err).Debug("connection ended")
	} else {
		log.WithError(err).Info("connection failed")
	}
	t.mu.Lock()
	delete(t.mu.conns, c)
	t.mu.Unlock()
	<-c.queue.drained
	if c.ctrl != nil {
		c.ctrl.gone(c)
	}
}

// find returns the subsystem of an NQN, nil when there is none.
func (t *Target) find(nqn string) *subsystem {
	if nqn == nvme.DiscoveryNQN {
		return t.discovery
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.mu.subsystems[nqn]
	if s == nil {
		return nil
	}
	if removed, _ := s.gone(); removed {
		return nil
	}
	return s
}

// reap drops a removed subsystem once its last association is drained. Until then it is kept, so that a
// subsystem put again under its name knows of them.
func (t *Target) reap(s *subsystem) {
	if s.discovery {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	nqn := s.view.Load().cfg.NQN
	if removed, empty := s.gone(); removed && empty && t.mu.subsystems[nqn] == s {
		t.mu.retired.merge(s.totals())
		delete(t.mu.subsystems, nqn)
	}
}

// Put adds a subsystem or replaces its configuration. Hosts that are not allowed any more are disconnected:
// when Put returns, none of their commands reaches the namespace any more (those that it has, it may still
// complete). Call it without a lock that the namespace's Submit takes.
func (t *Target) Put(cfg SubsystemConfig) error {
	if err := cfg.check(len(t.options.Secret) > 0); err != nil {
		return err
	}
	t.mu.Lock()
	if t.mu.closed {
		t.mu.Unlock()
		return errTargetClosed
	}
	var before *subsystemView
	var lost []*controller
	s, known := t.mu.subsystems[cfg.NQN]
	if !known {
		s = newSubsystem(t, cfg)
		t.mu.subsystems[cfg.NQN] = s
	} else {
		if removed, _ := s.gone(); !removed {
			before = s.view.Load()
		}
		lost = s.replace(cfg)
	}
	t.mu.generation++
	t.mu.Unlock()
	endAll(lost, errAccessLost)
	after := s.view.Load()
	if before != nil && (before.cfg.Namespace != cfg.Namespace || before.attrs != after.attrs) {
		s.raise(eventNamespace)
	}
	if before != nil && before.cfg.Namespace != cfg.Namespace {
		s.anaChanged()
	}
	t.discoveryChanged(before, after)
	return nil
}

// Remove takes a subsystem away and disconnects its hosts, as Put does. An unknown NQN is fine.
func (t *Target) Remove(nqn string) {
	s := t.find(nqn)
	if s == nil || s.discovery {
		return
	}
	t.mu.Lock()
	t.mu.generation++
	t.mu.Unlock()
	s.remove(errRemoved)
	t.reap(s)
	t.discoveryChanged(s.view.Load(), nil)
}

// NamespaceChanged tells the hosts of a subsystem that its namespace is another size now.
func (t *Target) NamespaceChanged(nqn string) {
	if s := t.find(nqn); s != nil {
		s.raise(eventNamespace)
	}
}

// ANAChanged tells the hosts of a subsystem that ANAState of its namespace returns something else now.
func (t *Target) ANAChanged(nqn string) {
	if s := t.find(nqn); s != nil {
		s.anaChanged()
	}
}

// Close ends all connections and listeners. It waits, within bounds, until the namespaces have completed what
// they have; memory is released when they have, even if that is later.
func (t *Target) Close() error {
	t.mu.Lock()
	if t.mu.closed {
		t.mu.Unlock()
		return nil
	}
	t.mu.closed = true
	close(t.closing)
	for ln := range t.mu.listeners {
		_ = ln.Close() // Serve closes it, too
	}
	conns := make([]*conn, 0, len(t.mu.conns))
	for c := range t.mu.conns {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	for _, c := range conns {
		c.fail(errTargetClosed)
	}
	drained := make(chan struct{})
	go func() {
		t.serving.Wait()
		t.memory.close()
		close(drained)
	}()
	select {
	case <-drained:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("nvmet: requests are still with their namespaces after %v", closeTimeout)
	}
}
