package api

import (
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound how many calls this node takes, in calls per second; 0: no limit. A caller may save up
// burstSeconds of them. Every node counts for itself.
type Limits struct {
	PerToken   float64 // with one bearer token
	PerAddress float64 // from one IP address, whoever calls
}

const (
	burstSeconds = 4
	maxCallers   = 4096 // that a meter remembers
)

// meter counts the calls of each caller against one limit. It may be used from any goroutine.
type meter struct {
	limit rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex
	callers map[string]*rate.Limiter
}

func newMeter(perSecond float64, now func() time.Time) *meter {
	burst := int(math.Ceil(min(perSecond*burstSeconds, 1<<20)))
	return &meter{limit: rate.Limit(perSecond), burst: burst, now: now, callers: make(map[string]*rate.Limiter)}
}

// pass counts one call. The error says when the caller may call again.
func (m *meter) pass(who string) error {
	if m.limit <= 0 {
		return nil
	}
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.callers[who]
	if l == nil {
		m.forget(now)
		l = rate.NewLimiter(m.limit, m.burst)
		m.callers[who] = l
	}
	r := l.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return &tooMany{after: wait}
	}
	return nil
}

// forget makes room for one more caller: those go of whom nothing is known that a new one would not have, and
// when all are busy any one.
func (m *meter) forget(now time.Time) {
	if len(m.callers) < maxCallers {
		return
	}
	for who, l := range m.callers {
		if l.TokensAt(now) >= float64(m.burst) {
			delete(m.callers, who)
		}
	}
	for who := range m.callers {
		if len(m.callers) < maxCallers {
			return
		}
		delete(m.callers, who)
	}
}

// tooMany is the refusal of a caller who is too fast.
type tooMany struct{ after time.Duration }

// Error implements error.
func (e *tooMany) Error() string {
	return fmt.Sprintf("more calls than this node takes of one caller; go on in %d s", e.seconds())
}

func (e *tooMany) seconds() int { return int(math.Ceil(e.after.Seconds())) }

// addressOf is the IP address of a peer, without its port.
func addressOf(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return remote
}
