package nvmet

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Reasons why the target ends a controller or a queue.
var (
	errKeepAlive    = errors.New("keep alive timeout")
	errReset        = errors.New("controller reset by the host")
	errReplaced     = errors.New("a newer association of the node replaced this one")
	errAssociation  = errors.New("the admin queue of the association is gone")
	errAccessLost   = errors.New("the host lost access to the subsystem")
	errRemoved      = errors.New("the subsystem was removed")
	errTargetClosed = errors.New("the target was closed")
)

// hostKey is what makes two associations come from the same host.
type hostKey struct {
	nqn string
	id  [16]byte
}

// controller is one association of a host with a subsystem: an admin queue and its I/O queues. It lives from
// the Connect of the admin queue until that queue's connection ends.
type controller struct {
	target *Target
	sub    *subsystem
	id     uint16 // CNTLID
	host   hostKey
	admin  *conn
	since  time.Time // of its Connect
	alive  keepAlive

	ready   atomic.Bool   // enabled and not shut down: I/O and admin commands are served
	drained chan struct{} // closed when it has ended and none of its requests is with the namespace

	mu struct {
		sync.Mutex
		cc       nvme.CC
		csts     nvme.CSTS
		queues   []*conn // admin and I/O, until they are drained
		limit    int     // I/O queues granted by Number of Queues
		features features
		events   events
		errors   errorLog
		ended    bool
	}
}

func newController(c *conn, sub *subsystem, id uint16, host hostKey, kato uint32) *controller {
	ctrl := &controller{
		target: c.target, sub: sub, id: id, host: host, admin: c, drained: make(chan struct{}),
		since: time.Now(),
	}
	ctrl.mu.limit = c.target.options.Queues
	ctrl.mu.queues = []*conn{c}
	ctrl.mu.features = defaultFeatures()
	ctrl.alive.expired = func() { ctrl.end(errKeepAlive) }
	ctrl.alive.set(kato)
	return ctrl
}

// traffic notes that a command arrived: with traffic based keep alive any command counts.
func (k *controller) traffic() {
	if !k.alive.seen.Load() { // a store by every queue would bounce the cache line
		k.alive.seen.Store(true)
	}
}

func (k *controller) queueLimit() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.limit
}

// join makes c the queue qid. A queue of that number whose connection is gone counts as there until its
// requests have left the namespace.
func (k *controller) join(c *conn, qid uint16) nvme.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.ended {
		return nvme.ConnectControllerBusy
	}
	for _, other := range k.mu.queues {
		if other.qid != qid {
			continue
		}
		if other.at() == phaseEnding {
			return nvme.ConnectControllerBusy
		}
		return nvme.InvalidQueueIdentifier.NoRetry()
	}
	c.qid = qid // under the lock: the loop above reads it
	k.mu.queues = append(k.mu.queues, c)
	return nvme.Success
}

// left is called when the reader of a queue has ended. The admin queue takes the association with it.
func (k *controller) left(c *conn) {
	if c == k.admin {
		k.end(errAssociation)
	}
}

// gone is called when the namespace has no request of the queue any more.
func (k *controller) gone(c *conn) {
	if k.sub.retire(k, c) {
		k.sub.forget(k)
		close(k.drained)
	}
}

// end ends the association: every connection of it fails with cause. It returns those that it told to stop.
// It may be called more than once, and from anywhere without a lock of this package.
func (k *controller) end(cause error) []*conn {
	k.mu.Lock()
	if k.mu.ended {
		k.mu.Unlock()
		return nil
	}
	k.mu.ended = true
	k.ready.Store(false)
	k.alive.stop()
	conns := slices.Clone(k.mu.queues)
	parked := k.mu.events.drain()
	k.mu.Unlock()
	for _, c := range conns {
		c.fail(cause)
	}
	for _, r := range parked {
		r.Complete(nvme.AbortedSQDeletion)
	}
	return conns
}

func (k *controller) isEnded() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.ended
}

// property carries out Property Get (Base 6.5).
func (k *controller) property(offset uint32, size int) (uint64, nvme.Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case offset == nvme.PropertyCAP && size == 8:
		return k.capabilities().Value(), nvme.Success
	case size != 4:
	case offset == nvme.PropertyVS:
		return uint64(nvme.Version20), nvme.Success
	case offset == nvme.PropertyCC:
		return uint64(k.mu.cc.Value()), nvme.Success
	case offset == nvme.PropertyCSTS:
		return uint64(k.mu.csts.Value()), nvme.Success
	case offset == nvme.PropertyNSSR:
		return 0, nvme.Success
	case offset == nvme.PropertyCRTO:
		return readyTimeout, nvme.Success
	}
	return 0, nvme.InvalidField.NoRetry()
}

// readyTimeout is the worst time to become ready, in units of 500 ms. We are ready at once.
const readyTimeout = 15

func (k *controller) capabilities() nvme.CAP {
	return nvme.CAP{
		MQES: uint16(k.target.options.QueueDepth - 1), CQR: true, TO: readyTimeout,
		CSS: nvme.CAPCSSNVM | nvme.CAPCSSIOCS, CRMS: 1,
	}
}

// setProperty carries out Property Set: only CC can be written.
func (k *controller) setProperty(offset uint32, size int, v uint64) nvme.Status {
	if offset != nvme.PropertyCC || size != 4 {
		return nvme.InvalidField.NoRetry()
	}
	k.mu.Lock()
	var drop []*conn
	var parked []*Request
	old, cc := k.mu.cc, nvme.ParseCC(uint32(v))
	k.mu.cc = cc
	if cc.EN && !old.EN {
		k.enable(cc)
	}
	shut := cc.SHN != nvme.SHNNone && old.SHN == nvme.SHNNone
	if shut {
		k.mu.csts.SHST = nvme.SHSTComplete // nothing is cached, so nothing takes time
	} else if cc.SHN == nvme.SHNNone {
		k.mu.csts.SHST = nvme.SHSTNormal
	}
	reset := old.EN && !cc.EN
	if reset {
		k.mu.csts = nvme.CSTS{SHST: k.mu.csts.SHST}
		parked = k.mu.events.drain()
		k.mu.features = defaultFeatures()
	}
	if reset || shut {
		k.ready.Store(false)
		drop = slices.DeleteFunc(slices.Clone(k.mu.queues), func(c *conn) bool { return c == k.admin })
	}
	k.mu.Unlock()
	for _, c := range drop {
		c.fail(errReset)
	}
	for _, r := range parked {
		r.Complete(nvme.AbortedSQDeletion)
	}
	return nvme.Success
}

// enable is CC.EN going from 0 to 1 (Base 3.1.4.5). Values we do not have are a fatal error that CSTS shows.
// The caller holds mu.
func (k *controller) enable(cc nvme.CC) {
	entries := k.sub.discovery || cc.IOSQES == 6 && cc.IOCQES == 4
	set := cc.CSS == nvme.CCCSSNVM || cc.CSS == nvme.CCCSSAll
	if !entries || !set || cc.MPS != 0 || cc.AMS != 0 || k.mu.ended {
		k.mu.csts.CFS = true
		return
	}
	k.mu.csts = nvme.CSTS{RDY: true}
	k.ready.Store(true)
	k.alive.seen.Store(true)
}
