package nvmet

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keepAliveGranularity is KAS, in units of 100 ms.
	keepAliveGranularity = 10
	// discoveryKeepAlive is what a discovery controller gets whose host asked for none: it must not stay for
	// ever (Base 3.1.2.3.3).
	discoveryKeepAlive = 120 * time.Second
)

// keepAlive is the keep alive timer of an association, traffic based (Base 3.9.4): it expires when a whole
// timeout passed in which no command of any queue arrived. It looks once per timeout, so it costs a timer and
// no work per command; a dead host is found after one to two timeouts.
type keepAlive struct {
	seen    atomic.Bool // a command arrived since the last look
	expired func()

	mu struct {
		sync.Mutex
		timeout time.Duration // 0: off
		timer   *time.Timer
		stopped bool
	}
}

// set changes the timeout to kato milliseconds, rounded up to the granularity; 0 turns the timer off.
func (k *keepAlive) set(kato uint32) {
	const unit = keepAliveGranularity * 100 * time.Millisecond
	d := (time.Duration(kato)*time.Millisecond + unit - 1) / unit * unit
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.timer != nil {
		k.mu.timer.Stop()
		k.mu.timer = nil
	}
	k.mu.timeout = d
	if d > 0 && !k.mu.stopped {
		k.mu.timer = time.AfterFunc(d, k.look)
	}
}

// milliseconds is the timeout in force.
func (k *keepAlive) milliseconds() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return uint32(k.mu.timeout / time.Millisecond)
}

func (k *keepAlive) look() {
	if !k.seen.Swap(false) {
		k.expired()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.mu.stopped && k.mu.timer != nil {
		k.mu.timer.Reset(k.mu.timeout)
	}
}

func (k *keepAlive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.stopped = true
	if k.mu.timer != nil {
		k.mu.timer.Stop()
	}
}
