package keystone

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/auth"
)

const (
	// maxKnown bounds the tokens that are remembered; one takes some 200 bytes.
	maxKnown = 10_000
	// refusedFor is short: a token may be refused because Keystone's own nodes do not share their newest keys
	// yet.
	refusedFor = 5 * time.Second
)

// digest stands for a token; whoever reads the memory of the process shall not find tokens here.
type digest [sha256.Size]byte

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

// verdict is what Keystone said of a token, and until when that is believed.
type verdict struct {
	principal auth.Principal
	err       error
	until     time.Time
}

// memory is the verdicts that are believed: the newest, and those before them, which go all at once when the
// newest are many. So strangers who send one token after the other cost a bounded time and space.
type memory struct {
	mu          sync.Mutex
	newest, old map[digest]verdict
}

func (m *memory) recall(d digest, now time.Time) (verdict, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.newest[d]
	if !ok {
		v, ok = m.old[d]
	}
	return v, ok && now.Before(v.until)
}

func (m *memory) keep(d digest, v verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == nil || len(m.newest) >= maxKnown/2 {
		m.newest, m.old = make(map[digest]verdict), m.newest
	}
	m.newest[d] = v
}
