package gateway

import (
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// The volumes of a gateway take turns in comparing their rows (package engine, audit.go): one at a time, so
// that all together take no more than the rate. A turn is a pass over the whole volume. A volume that has
// come here has its first one after a seventh of the interval: owners that change every day must not mean a
// pass a day.

// AuditOptions say how fast and how often rows are compared.
type AuditOptions struct {
	Rate     uint64        // bytes a second of this gateway, all columns counted; default 16 MiB
	Interval time.Duration // from one pass over a volume to the next; default a week
}

const (
	defaultAuditRate     = 16 << 20
	defaultAuditInterval = 7 * 24 * time.Hour
	// auditFirst is the part of the interval that a new owner waits.
	auditFirst = 7
	// auditBusy is how many operations of hosts between two ticks make an owner compare less: a part of
	// auditYield.
	auditBusy  = 16
	auditYield = 8
)

// audit is what the tick goroutine knows of a session's passes.
type audit struct {
	due    time.Time
	passes uint64 // of the engine, when its turn began
	ops    uint64 // of hosts, as of the last tick
	row    float64
}

// auditTurn lets the session whose turn it is compare as many rows as a tick allows, and passes the turn on.
// Of the tick goroutine.
func (g *Gateway) auditTurn(now time.Time, sessions []*session) {
	var next *session
	for _, s := range sessions {
		if !s.serving.Load() {
			continue
		}
		if s == g.auditing {
			next = s
			break
		}
		if now.After(s.walking.audit.due) && (next == nil || s.walking.audit.due.Before(next.walking.audit.due)) {
			next = s
		}
	}
	if next == nil {
		g.auditing = nil
		return
	}
	if next != g.auditing {
		g.auditing = next
		next.mu.Lock()
		next.walking.audit.passes = next.eng.Counters.AuditPasses
		next.mu.Unlock()
	}
	if next.compare(float64(g.o.Audit.Rate) * tickEvery.Seconds()) {
		next.walking.audit.due = now.Add(g.o.Audit.Interval)
		g.auditing = nil
	}
}

// compare allows rows worth so many bytes, and reports that the pass has ended.
func (s *session) compare(bytes float64) (ended bool) {
	a, v := &s.walking.audit, s.v
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ops-a.ops > auditBusy {
		bytes /= auditYield
	}
	a.ops = s.ops
	a.row += bytes / float64((v.geometry.Data+v.geometry.Parity)*cluster.BlockSize)
	rows := int(a.row)
	a.row -= float64(rows)
	if s.eng.Counters.AuditPasses > a.passes {
		return true
	}
	s.eng.Audit(rows)
	return false
}
