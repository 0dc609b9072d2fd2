package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	// DefaultGiveUp is how long a request looks for a path unless it says otherwise.
	DefaultGiveUp = 2 * time.Minute

	anaPoll    = time.Second           // how often the state of an unusable path is read, besides events
	anaSpacing = 10 * time.Millisecond // and how often at most
)

// VolumeConfig says which namespace to use and by which ways.
type VolumeConfig struct {
	Config                 // of every path; Addr and OnEvent are the Volume's to set
	Portals  []string      // host:port, one path each
	NSID     uint32        // 0: the first active namespace
	Backoff  Backoff       // of reconnecting
	GiveUp   time.Duration // how long a request looks for a path, default DefaultGiveUp
	OnResize func(bytes int64)
}

// Volume is a namespace that is reached by several paths. It sends I/O to paths in ANA state optimized, else
// non-optimized, in turn; moves requests of a lost path to another one; and lets requests wait while no path
// is usable. A path that shows another namespace (other UUID, NGUID or block size) is never used.
//
// A write that was in flight on a lost path is sent again on the next. That is safe only if the target
// cancels the commands of a closed association before it admits its successor, as Ashlar does.
type Volume struct {
	cfg     VolumeConfig
	portals []*portal
	onIO    func(*IO)

	mu      sync.Mutex
	turn    int
	waiting requestList
	timer   *time.Timer
	alarm   time.Time // when timer fires; zero: it is off
	closed  bool
	ns      *namespace    // nil until the first path has come up, then constant
	known   chan struct{} // closed when ns is set
	blocks  atomic.Uint64 // size
	limit   atomic.Int64  // MaxTransfer of the most modest path
	zeroes  atomic.Int64  // bytes of one Write Zeroes, as the most modest path takes it
}

// namespace is what all paths must agree on.
type namespace struct {
	nsid  uint32
	ids   nvme.NSDescriptors
	shift uint8 // log2 of the logical block size
}

// portal is one path of a Volume.
type portal struct {
	v    *Volume
	path *Path
	kick chan struct{} // the state should be read again

	// Guarded by v.mu.
	client *Client // nil: down
	ana    nvme.ANAState
}

// Open starts to connect all paths and returns when the first has shown the namespace. The others come, and
// come back, in the background.
func Open(ctx context.Context, cfg VolumeConfig) (*Volume, error) {
	if len(cfg.Portals) == 0 {
		return nil, errors.New("initiator: no portals")
	}
	if cfg.GiveUp <= 0 {
		cfg.GiveUp = DefaultGiveUp
	}
	v := &Volume{cfg: cfg, known: make(chan struct{})}
	v.onIO = v.ioDone
	v.timer = time.AfterFunc(time.Hour, v.pump)
	v.timer.Stop()
	for _, addr := range cfg.Portals {
		if err := v.addPortal(addr); err != nil {
			return nil, err
		}
	}
	for _, p := range v.portals { // only now: each path looks at all
		go p.path.run()
		go p.watch()
	}
	select {
	case <-v.known:
		return v, nil
	case <-ctx.Done():
		err := ctx.Err()
		for _, p := range v.portals {
			if perr := p.path.Err(); perr != nil {
				err = errors.Join(err, perr)
			}
		}
		v.Close()
		return nil, fmt.Errorf("open volume: %w", err)
	}
}

func (v *Volume) addPortal(addr string) error {
	p := &portal{v: v, kick: make(chan struct{}, 1)}
	cfg := v.cfg.Config
	cfg.Addr = addr
	// Whatever the event, everything is looked at: that is a handful of commands.
	cfg.OnEvent = func(*Client, nvme.AsyncEvent) { p.refresh() }
	path, err := idlePath(PathConfig{
		Config: cfg, Backoff: v.cfg.Backoff, Prepare: p.prepare, OnUp: p.up, OnDown: p.down,
	})
	if err != nil {
		return err
	}
	p.path = path
	v.portals = append(v.portals, p)
	return nil
}

// prepare judges a new association: it must show the namespace that the others show.
func (p *portal) prepare(ctx context.Context, c *Client) error {
	v := p.v
	ns, size, err := v.identify(ctx, c)
	if err != nil {
		return err
	}
	state, err := readANA(ctx, c, ns.nsid)
	if err != nil {
		return err
	}
	zeroes, err := c.maxWriteZeroes(ctx)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ns == nil {
		v.ns = ns
		v.blocks.Store(size)
		defer close(v.known)
	}
	if *v.ns != *ns {
		return fmt.Errorf("initiator: %s shows namespace %x, the other paths %x", c.cfg.Addr, ns.ids.UUID,
			v.ns.ids.UUID)
	}
	if n := int64(c.MaxTransfer()); v.limit.Load() == 0 || n < v.limit.Load() {
		v.limit.Store(n)
	}
	if n := min(zeroes, maxZeroes<<ns.shift); v.zeroes.Load() == 0 || n < v.zeroes.Load() {
		v.zeroes.Store(n)
	}
	p.ana = state
	return nil
}

// identify reads the namespace as one association shows it, and its size in blocks.
func (v *Volume) identify(ctx context.Context, c *Client) (*namespace, uint64, error) {
	b := make([]byte, nvme.IdentifySize)
	ns := &namespace{nsid: v.cfg.NSID}
	if ns.nsid == 0 {
		if err := c.Identify(ctx, nvme.CNSActiveNSList, 0, b); err != nil {
			return nil, 0, err
		}
		ids, err := nvme.DecodeNSList(b)
		if err != nil || len(ids) == 0 {
			return nil, 0, errors.Join(errors.New("no active namespace"), err)
		}
		ns.nsid = ids[0]
	}
	if err := c.Identify(ctx, nvme.CNSNSDescriptors, ns.nsid, b); err != nil {
		return nil, 0, err
	}
	var err error
	if ns.ids, err = nvme.DecodeNSDescriptors(b); err != nil {
		return nil, 0, fmt.Errorf("namespace identification: %w", err)
	}
	if err := c.Identify(ctx, nvme.CNSNamespace, ns.nsid, b); err != nil {
		return nil, 0, err
	}
	id, err := nvme.DecodeIdentifyNamespace(b)
	if err == nil {
		ns.shift, err = id.BlockShift()
	}
	if err != nil {
		return nil, 0, fmt.Errorf("identify namespace %d: %w", ns.nsid, err)
	}
	return ns, id.NSZE, nil
}

// readANA reads the state of a namespace on one path. A controller without ANA is always optimized.
func readANA(ctx context.Context, c *Client, nsid uint32) (nvme.ANAState, error) {
	if c.id.CMIC&nvme.CMICANA == 0 {
		return nvme.ANAOptimized, nil
	}
	b := make([]byte, 4096) // one group and one namespace are all that Ashlar shows per subsystem
	for {
		if err := c.LogPage(ctx, nvme.GetLogPage{LID: nvme.LogANA}, b); err != nil {
			return 0, err
		}
		l, err := nvme.DecodeANALog(b)
		if errors.Is(err, nvme.ErrShort) && 4*len(b) <= c.MaxTransfer() {
			b = make([]byte, 4*len(b))
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("ANA log: %w", err)
		}
		state, ok := l.Find(nsid)
		if !ok {
			return 0, fmt.Errorf("ANA log: namespace %d is in no group", nsid)
		}
		return state, nil
	}
}

func (p *portal) up(c *Client) {
	p.v.mu.Lock()
	p.client = c
	p.v.mu.Unlock()
	p.refresh() // an event may have come between prepare and now
	p.v.pump()
}

func (p *portal) down(*Client, error) {
	p.v.mu.Lock()
	p.client = nil
	p.v.mu.Unlock()
}

// refresh asks watch to read the state of the path again.
func (p *portal) refresh() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// watch follows the state of a path until the Path is closed.
func (p *portal) watch() {
	poll := time.NewTimer(anaPoll)
	defer poll.Stop()
	for {
		select {
		case <-p.kick:
		case <-poll.C:
		case <-p.path.ended:
			return
		}
		p.v.mu.Lock()
		c, usable := p.client, p.ana.Usable()
		p.v.mu.Unlock()
		if c != nil {
			// An error either ends the association, or the next poll tries again.
			usable = p.read(c) == nil && p.usable()
		}
		if usable {
			poll.Stop() // events tell the rest
		} else {
			poll.Reset(anaPoll)
		}
		select {
		case <-time.After(anaSpacing):
		case <-p.path.ended:
			return
		}
	}
}

func (p *portal) usable() bool {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	return p.client != nil && p.ana.Usable()
}

// read takes over state and size.
func (p *portal) read(c *Client) error {
	v := p.v
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	if c.id.OAES&nvme.AECNamespaceAttr != 0 {
		changed := make([]byte, nvme.ChangedNSListSize) // reading it arms the event again
		if err := c.LogPage(ctx, nvme.GetLogPage{LID: nvme.LogChangedNS}, changed); err != nil {
			return err
		}
	}
	state, err := readANA(ctx, c, v.ns.nsid)
	if err != nil {
		return err
	}
	ns, size, err := v.identify(ctx, c)
	if err != nil {
		return err
	}
	if *ns != *v.ns {
		err := fmt.Errorf("the namespace became another one: %x", ns.ids.UUID)
		c.fail(err) // prepare keeps it out from now on
		return err
	}
	v.mu.Lock()
	if p.client == c {
		p.ana = state
	}
	v.mu.Unlock()
	if old := v.blocks.Swap(size); old != size && v.cfg.OnResize != nil {
		v.cfg.OnResize(int64(size << v.ns.shift))
	}
	if state.Usable() {
		v.pump()
	}
	return nil
}

// pick chooses a usable path: in turn among the optimized, else among the non-optimized. v.mu is held.
func (v *Volume) pick() *portal {
	v.turn++
	var other *portal
	for i := range v.portals {
		p := v.portals[(v.turn+i)%len(v.portals)]
		switch {
		case p.client == nil:
		case p.ana == nvme.ANAOptimized:
			return p
		case p.ana == nvme.ANANonOptimized && other == nil:
			other = p
		}
	}
	return other
}

// Size is the size now, in bytes.
func (v *Volume) Size() int64 { return int64(v.blocks.Load() << v.ns.shift) }

// BlockSize is the logical block size in bytes: every offset and length is a multiple of it.
func (v *Volume) BlockSize() int { return 1 << v.ns.shift }

// UUID is the namespace's.
func (v *Volume) UUID() [16]byte { return v.ns.ids.UUID }

// MaxTransfer is the most bytes one Read or Write Request may move.
func (v *Volume) MaxTransfer() int {
	return int(v.limit.Load())
}

// PathState describes a path for people.
type PathState struct {
	Addr string
	Up   bool
	ANA  nvme.ANAState
	Err  error // why it is down
}

// Paths lists the paths in the order of VolumeConfig.Portals.
func (v *Volume) Paths() []PathState {
	v.mu.Lock()
	defer v.mu.Unlock()
	states := make([]PathState, len(v.portals))
	for i, p := range v.portals {
		states[i] = PathState{Addr: v.cfg.Portals[i], Up: p.client != nil, ANA: p.ana, Err: p.path.Err()}
	}
	return states
}

// Close ends all paths. Every request has been given back when it returns, with ErrClosed if it was not done.
func (v *Volume) Close() error {
	v.mu.Lock()
	v.closed = true
	v.timer.Stop()
	v.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range v.portals {
		all.Go(func() { p.path.Close() })
	}
	all.Wait()
	v.pump()
	return nil
}
