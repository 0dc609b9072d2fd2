package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/delta"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
)

// Chunks carries out chunk requests on any device of the cluster. Each comes back through its Completer
// exactly once.
type Chunks interface {
	Submit(*chunk.Request)
}

// Arbiter keeps the owner records, and those of snapshots. SwapOwner stores next if the record is still at
// revision rev, and with it the records of snapshots with, or removes those that are gone; all of it or
// nothing. It returns the new revision; cluster.ErrConflict when one of the records has moved,
// cluster.ErrNoRecord when the volume is gone. Any other error says nothing. SwapOwners does so for the
// records of several volumes, all in one.
type Arbiter interface {
	Owner(ctx context.Context, vol cluster.VolumeKey) (cluster.Owner, int64, error)
	SwapOwner(ctx context.Context, vol cluster.VolumeKey, rev int64, next cluster.Owner,
		with ...cluster.SnapshotAt) (int64, error)
	SwapOwners(ctx context.Context, swaps []cluster.OwnerSwap, with ...cluster.SnapshotAt) error
}

// Votes reaches the voters, this node's own included.
type Votes interface {
	Renew(ctx context.Context, node cluster.NodeID, since lease.Position) (lease.Reply, error)
	Fence(ctx context.Context, node cluster.NodeID, f lease.Fence, about cluster.NodeID) (lease.Fenced, error)
	// Yield has a node give up a volume that it owns by an epoch below the fence's. No error: that node answers
	// no host for the volume any more.
	Yield(ctx context.Context, node cluster.NodeID, f lease.Fence) error
	// Refused proves that the process of a node is gone: a connection begun now is refused by its host.
	Refused(ctx context.Context, node cluster.NodeID) bool
	Connected(node cluster.NodeID) bool
}

// Events are told what changes for hosts; called without locks, on any goroutine.
type Events interface {
	AccessChanged(v *Volume) // ANAState
	SizeChanged(v *Volume)   // Blocks
}

// Options of a Gateway.
type Options struct {
	Self    cluster.NodeID
	Chunks  Chunks
	Peers   Peers
	Arbiter Arbiter
	Votes   Votes
	Events  Events
	// Patience is how long after the start of this process an open waits for devices of nodes that have not
	// been met, or only just: after a start of the whole cluster nodes come up one by one.
	Patience time.Duration
	Keys     Keys // opens encrypted volumes; nil: none is served here
	Audit    AuditOptions
	Sampling Sampling
	Log      *logrus.Entry
}

// tickEvery is the pace of the engines and of the look-out for volumes without an owner.
const tickEvery = 100 * time.Millisecond

// dueMost bounds the volumes that wait to be taken over before the next tick, which looks at those that have
// no room.
const dueMost = 64

// lostAfter is how long a session outlives the lease. Until then what it keeps back may still go out as it
// is; after that somebody else is likely to serve, and hosts that still reach this node must not wait here
// for what they could have elsewhere.
const lostAfter = time.Duration(lease.Duration)

// openWidth bounds the take-overs under way at the same time.
const openWidth = 16

// Gateway owns the volumes of one node. Make it with New, then Run.
type Gateway struct {
	o     Options
	start time.Time
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	wg    sync.WaitGroup
	opens chan struct{} // semaphore of openWidth
	due   chan *Volume  // given to this gateway just now
	pools pools
	near  atomic.Pointer[map[cluster.DeviceID]int] // engine.Config.Near; replaced, not changed

	rota rota
	told told

	auditing   *session // whose turn it is to compare its rows; of the tick goroutine
	attracting attraction

	validUntil atomic.Int64 // of the lease, nanoseconds since start
	counts     counts
	books      books
	bounds     sync.Mutex // is held to change limits

	mu struct {
		sync.Mutex
		state   *cluster.State
		volumes map[cluster.VolumeKey]*Volume
		order   []*Volume                // the same
		known   map[cluster.PoolID]*pool // replaced, not changed
		holder  *lease.Holder
		silent  map[cluster.NodeID]time.Time // nodes that refuse connections, since when
		met     map[cluster.NodeID]time.Time // when a node was first connected to
		probing map[cluster.NodeID]bool
		closed  bool
		// Looked at again with the next state: volumes whose pool was not known, and those whose session did not
		// know the newest owner record.
		poolless, behind []cluster.VolumeKey
	}
}

// New makes a gateway without volumes.
func New(o Options) *Gateway {
	if o.Audit.Rate == 0 {
		o.Audit.Rate = defaultAuditRate
	}
	if o.Audit.Interval == 0 {
		o.Audit.Interval = defaultAuditInterval
	}
	g := &Gateway{o: o, start: time.Now(), opens: make(chan struct{}, openWidth),
		due: make(chan *Volume, dueMost)}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.attracting.well = make(map[cluster.NodeID]time.Time)
	g.mu.volumes = make(map[cluster.VolumeKey]*Volume)
	g.mu.silent = make(map[cluster.NodeID]time.Time)
	g.mu.probing = make(map[cluster.NodeID]bool)
	g.mu.met = make(map[cluster.NodeID]time.Time)
	g.pools.init(g)
	g.wg.Add(1)
	go g.tick()
	return g
}

// now is the gateway's clock: nanoseconds since its start, monotonic.
func (g *Gateway) now() int64 { return int64(time.Since(g.start)) }

// leased reports whether hosts may be answered now.
func (g *Gateway) leased() bool { return g.now() < g.validUntil.Load() }

// bereft reports whether the lease has been gone for so long that sessions end.
func (g *Gateway) bereft() bool { return g.now() >= g.validUntil.Load()+int64(lostAfter) }

// Apply follows the cluster state: new, changed and deleted volumes, new owners, the voter list.
func (g *Gateway) Apply(s *cluster.State) error {
	g.mu.Lock()
	if g.mu.closed {
		g.mu.Unlock()
		return nil
	}
	was := g.mu.state
	if g.mu.state = s; was == nil {
		was = new(cluster.State)
	}
	turned := g.followNear(s.Map)
	moved, err := g.followPools(s)
	changed := delta.Volumes(was, s)
	reshaped, lost, failed := g.followVolumes(s, changed)
	replaced, overtaken := g.followOwners(s, delta.Owners(was, s), changed)
	lost = append(lost, replaced...)
	g.followVoters(s.Map.Voters)
	asked := g.followSnapshots(was, s)
	g.mu.Unlock()
	for _, ses := range lost {
		ses.end("the owner record names another owner or is gone, or the volume's key was destroyed")
	}
	for _, ses := range turned {
		ses.followNear()
	}
	for _, ses := range moved {
		ses.followTables()
	}
	for ses, o := range overtaken {
		ses.followRecord(o)
	}
	for _, ses := range asked {
		g.rouse(ses.v)
		ses.settleSnapshots()
		ses.takeGroups()
	}
	for _, v := range reshaped {
		if v.reshape(s.Volumes[v.key]) {
			g.announce(v)
		}
	}
	g.followQoS(was, s, changed)
	return errors.Join(err, failed)
}

// followVolumes makes, changes and forgets volumes whose records have changed. Those whose pool is not known
// are tried again with every state. g.mu is held.
func (g *Gateway) followVolumes(s *cluster.State, changed []cluster.VolumeKey) (reshaped []*Volume,
	lost []*session, err error) {
	again := g.mu.poolless
	g.mu.poolless = nil
	for _, key := range slices.Concat(changed, again) {
		rec, v := s.Volumes[key], g.mu.volumes[key]
		switch {
		case rec == nil && v == nil:
		case rec == nil:
			g.remove(v)
			if ses := v.session.Load(); ses != nil {
				lost = append(lost, ses)
			}
		case v != nil:
			v.encryption.Store(rec.Encryption)
			if v.reshapes(rec) {
				reshaped = append(reshaped, v)
			}
			g.rouse(v)
			if ses := v.session.Load(); ses != nil && v.keyDestroyed() {
				lost = append(lost, ses)
			}
		default:
			if p := s.Map.Pools[rec.Pool]; p != nil && len(g.mu.known[p.ID].tables) > 0 {
				g.add(newVolume(g, rec, p, g.mu.known[p.ID]))
				continue
			}
			g.mu.poolless = append(g.mu.poolless, key)
			err = fmt.Errorf("volume %s: pool %q does not exist or has no group table", rec.Name, rec.Pool)
		}
	}
	return reshaped, lost, err
}

// followOwners names the sessions whose volume has another owner now, and those whose record was changed for
// a group snapshot. What is no news to its session by the next state is looked at again then. g.mu is held.
func (g *Gateway) followOwners(s *cluster.State, changed, volumes []cluster.VolumeKey) (lost []*session,
	overtaken map[*session]*cluster.OwnerAt) {
	overtaken = make(map[*session]*cluster.OwnerAt)
	again := g.mu.behind
	g.mu.behind = nil
	for _, key := range slices.Concat(changed, volumes, again) {
		v, o := g.mu.volumes[key], s.Owners[key]
		if v == nil || o == nil {
			continue
		}
		switch ses := v.session.Load(); {
		case ses == nil:
			g.rouse(v)
			g.noteDue(v, o)
			continue
		case o.Revision <= ses.revision():
			continue
		case ses.owns(o):
			overtaken[ses] = o
		default:
			lost = append(lost, ses)
		}
		g.mu.behind = append(g.mu.behind, key)
	}
	return lost, overtaken
}

// noteDue has a volume taken over at once that a record newly gives to this gateway, for hosts wait for it,
// or that it is asked to take over. g.mu is held.
func (g *Gateway) noteDue(v *Volume, o *cluster.OwnerAt) {
	switch {
	case o.Gateway == g.o.Self && o.Revision > v.vacant.given:
		v.vacant.given = o.Revision
	case !g.called(v.key, o):
		return
	}
	select {
	case g.due <- v:
	default:
	}
}

// announceLater is how long after the owner other nodes tell hosts of a new size.
const announceLater = 2 * time.Second

// announce tells hosts that a volume has another size: its owner at once, other nodes a while later. A host
// believes whoever says it first, and what it sends then goes to the owner, which must not refuse it as out
// of range because its own watch is a moment behind.
func (g *Gateway) announce(v *Volume) {
	if s := v.session.Load(); s != nil && s.serving.Load() {
		g.o.Events.SizeChanged(v)
		return
	}
	g.wg.Go(func() {
		select {
		case <-time.After(announceLater):
			g.o.Events.SizeChanged(v)
		case <-g.ctx.Done():
		}
	})
}

// Volume finds a volume; nil when there is none.
func (g *Gateway) Volume(key cluster.VolumeKey) *Volume {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.volumes[key]
}

func (g *Gateway) volumes() []*Volume {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.mu.order)
}

// tick drives the engines and looks for volumes to take over.
func (g *Gateway) tick() {
	defer g.wg.Done()
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for turn := uint32(1); ; turn++ {
		select {
		case <-g.ctx.Done():
			return
		case v := <-g.due:
			if g.consider(v) {
				g.rouse(v)
			}
			turn--
			continue
		case <-t.C:
		}
		g.probeSilent()
		g.attractTurn(time.Now())
		g.tickVolumes(turn)
	}
}

// tickVolumes ticks the sessions that are not at rest, and some of those that are, and looks for volumes to
// take over.
func (g *Gateway) tickVolumes(turn uint32) {
	if v := g.attracting.drawn; v != nil {
		g.rouse(v)
	}
	bereft := g.bereft()
	var awake []*session
	for _, v := range g.turnOf(turn, bereft) {
		if v.place.turn == turn {
			continue
		}
		v.place.turn = turn
		s := v.session.Load()
		busy := false
		switch {
		case s == nil:
			busy = g.consider(v)
		case bereft:
			s.end("no majority of the voters has renewed the lease")
		default:
			rested := s.walking.resting.Load()
			s.tick()
			awake = append(awake, s)
			busy = !rested || !s.walking.resting.Load() // once more than needed: what it came to is told, too
		}
		if busy {
			g.rouse(v)
		}
	}
	now := time.Now()
	g.auditTurn(now, awake)
	if s := g.auditing; s != nil {
		g.rouse(s.v)
	}
	g.flattenTurn(now, awake)
	g.cutTurn(now, awake)
}

// Yield gives a volume up that a newer owner, of the fence's epoch, takes over. When it returns, no host is
// answered any more under an older one, and none will be: to begin, an owner has to change the record.
func (g *Gateway) Yield(f lease.Fence) {
	if v := g.Volume(f.Vol); v != nil {
		if s := v.session.Load(); s != nil && s.epoch < f.Epoch {
			s.end("its new owner asks for it")
		}
	}
}

// Suspect has a volume, if it is owned here, repair what a device says is bad of it.
func (g *Gateway) Suspect(vol cluster.VolumeKey, device cluster.DeviceID) {
	if v := g.Volume(vol); v != nil {
		if s := v.session.Load(); s != nil {
			s.suspect(device)
		}
	}
}

// Close hands every volume over as far as that is possible before ctx ends, and stops. Call it while the
// listeners are still open: a closed listener is taken as proof that nothing is served any more.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	g.mu.closed = true
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, v := range g.volumes() {
		if s := v.session.Load(); s != nil {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s.release(ctx)
			}()
		}
	}
	wg.Wait()
	g.stop()
	g.wg.Wait()
	return nil
}
