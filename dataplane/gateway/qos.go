package gateway

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/delta"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/qos"
)

// Limits are kept before anything else happens to a command: what waits is the host's command in the target's
// memory, which bounds how many there are. Each pool with limits has one scheduler and one timer; a volume
// whose pool has none, and which has none itself, has no flow, and costs one look at a pointer.
//
// The limit of a pool is for all gateways together, and none knows what the others do just now: each has the
// part that its volumes are of all that have an owner. What one leaves unused another cannot have.

// throttle keeps the limits of one pool and of its volumes.
type throttle struct {
	g     *Gateway
	mu    sync.Mutex
	s     *qos.Scheduler
	timer *time.Timer
	armed int64 // when the timer fires; qos.Never: it does not
}

func newThrottle(g *Gateway) *throttle {
	t := &throttle{g: g, s: qos.New(), armed: qos.Never}
	t.timer = time.AfterFunc(time.Hour, t.fire)
	t.timer.Stop()
	return t
}

// submit lets a command begin now or later.
func (t *throttle) submit(f *qos.Flow, h *hostIO) {
	h.wait.Bytes, h.wait.Tag = h.bytes(), h
	t.mu.Lock()
	h.asked = t.g.now()
	t.s.Submit(f, &h.wait)
	ready := t.ready(h.asked)
	t.mu.Unlock()
	begin(ready)
}

// change changes limits; what may begin under the new ones begins.
func (t *throttle) change(do func(*qos.Scheduler)) {
	t.mu.Lock()
	do(t.s)
	ready := t.ready(t.g.now())
	t.mu.Unlock()
	begin(ready)
}

// drain lets everything that waits in a flow begin: its session is over, which turns it into path errors.
func (t *throttle) drain(f *qos.Flow) {
	t.mu.Lock()
	waiting := t.s.Drain(f)
	t.mu.Unlock()
	begin(waiting)
}

func (t *throttle) fire() {
	t.mu.Lock()
	t.armed = qos.Never
	ready := t.ready(t.g.now())
	t.mu.Unlock()
	begin(ready)
}

// ready takes what may begin now and sets the timer for what may not. t.mu is held.
func (t *throttle) ready(now int64) *qos.Item {
	ready := t.s.Ready(now)
	if next := t.s.Next(); next < t.armed {
		t.armed = next
		t.timer.Reset(time.Duration(next - now))
	}
	return ready
}

// begin hands commands to their sessions. No lock is held: they may complete at once.
func begin(it *qos.Item) {
	for it != nil {
		next := it.Next // the command may be over, and used again, when start returns
		it.Tag.(*hostIO).start()
		it = next
	}
}

// bytes is what a command moves.
func (h *hostIO) bytes() uint32 {
	switch h.req.Cmd.Opcode() {
	case nvme.OpRead, nvme.OpWrite:
		return uint32(len(h.req.Data))
	}
	return 0
}

// flow is a volume's place in the throttle of its pool.
type flow struct {
	t *throttle
	f *qos.Flow
}

// followQoS sets the limits of the volumes that changed, of all when a pool did, and those of the pools. g.mu
// is not held.
func (g *Gateway) followQoS(was, s *cluster.State, changed []cluster.VolumeKey) {
	g.bounds.Lock()
	defer g.bounds.Unlock()
	if was.Map == nil || len(delta.Keys(was.Map.Pools, s.Map.Pools)) > 0 {
		changed = slices.Collect(maps.Keys(s.Volumes))
	}
	for _, key := range changed {
		v, rec := g.Volume(key), s.Volumes[key]
		if v == nil || rec == nil || s.Map.Pools[v.pool.name] == nil {
			continue
		}
		p := s.Map.Pools[v.pool.name]
		g.limit(v, limits(p.VolumeQoS(rec), 1, 1), !p.TotalQoS().None())
	}
	var own, owned map[string]uint64
	known := g.known()
	for name, p := range s.Map.Pools {
		if k := known[p.ID]; k != nil && k.throttle != nil {
			if own == nil {
				own, owned = g.owned(s)
			}
			total := limits(p.TotalQoS(), max(own[name], 1), max(owned[name], 1))
			k.throttle.change(func(s *qos.Scheduler) { s.Limit(total) })
		}
	}
}

// owned counts the volumes of every pool that have an owner, and those that have this gateway.
func (g *Gateway) owned(s *cluster.State) (own, all map[string]uint64) {
	own, all = make(map[string]uint64), make(map[string]uint64)
	for key, rec := range s.Volumes {
		if o := s.Owners[key]; o != nil {
			all[rec.Pool]++
			if o.Gateway == g.o.Self {
				own[rec.Pool]++
			}
		}
	}
	return own, all
}

// limit sets the limits of one volume. g.bounds is held.
func (g *Gateway) limit(v *Volume, l qos.Limits, shared bool) {
	f := v.flow.Load()
	switch {
	case l.None() && !shared:
		if f != nil {
			v.flow.Store(nil)
			f.t.drain(f.f)
		}
		return
	case f == nil:
		if v.pool.throttle == nil {
			v.pool.throttle = newThrottle(g)
		}
		f = &flow{v.pool.throttle, v.pool.throttle.s.NewFlow()}
	}
	f.t.change(func(s *qos.Scheduler) { s.LimitFlow(f.f, l) })
	v.flow.Store(f)
}

// limits are a part of those of a record.
func limits(q *cluster.QoS, part, of uint64) qos.Limits {
	if q.None() {
		return qos.Limits{}
	}
	burst := q.BurstMS
	if burst == 0 {
		burst = cluster.DefaultBurst
	}
	l := qos.Limits{IOPS: q.IOPS * part / of, Bytes: q.Bandwidth * part / of,
		Burst: int64(burst) * int64(time.Millisecond)}
	if q.IOPS > 0 {
		l.IOPS = max(l.IOPS, 1) // 0 would be no bound
	}
	if q.Bandwidth > 0 {
		l.Bytes = max(l.Bytes, 1)
	}
	return l
}
