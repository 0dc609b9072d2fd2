package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/cmd/internal/history"
	"github.com/ashlar-storage/ashlar/cmd/internal/logs"
	"github.com/ashlar-storage/ashlar/cmd/internal/metrics"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/watch"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/audit"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/keystone"
	"github.com/ashlar-storage/ashlar/restapi/manager"
)

// waitNotice is how often a daemon that waits says so.
const waitNotice = 10 * time.Second

type daemon struct {
	opt    Options
	log    logrus.FieldLogger
	recent *logs.Recent

	sampling gateway.Sampling
	member   *embedetcd.Member // nil: the node runs none
	client   *embedetcd.Client
	own      *embedetcd.Client // of the member alone; nil: the node runs none, or has no data plane yet
	watcher  *watch.Watcher
	manager  *manager.Manager
	keys     *keyring.Ring

	credMu sync.Mutex
	cred   *credentials // nil: the node has not needed them yet
	// authorityFollowed is the generation of the authority's record that the node follows.
	authorityFollowed atomic.Uint64
	memberTrusts      *x509.CertPool // by the running etcd member

	plane  atomic.Pointer[DataPlane] // nil until it is made
	purged atomic.Pointer[purged]    // nil until it was looked

	stateMu sync.Mutex
	state   *State // replaced by update; its Member fields are constant once the node is a member
}

// Run is the whole life of a daemon: it returns when ctx is done and everything is stopped (nil), or when
// the node cannot start or go on.
func Run(ctx context.Context, opt Options) error {
	if err := opt.validate(); err != nil {
		return err
	}
	lock, err := lockDir(opt.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	d := &daemon{opt: opt, log: opt.Log, recent: logs.Keep(opt.Log)}
	if d.keys, err = openKeys(opt.KeyFile, opt.KeyCloud); err != nil {
		return err
	}
	if d.state, err = LoadState(opt.DataDir); err != nil {
		return err
	}
	if err := opt.tryPorts(); err != nil {
		return err
	}
	if err := d.opt.validateOpenness(d.state); err != nil {
		return err
	}
	if err := d.conceive(); err != nil {
		return err
	}
	defer d.closeEtcd()
	if err := d.birth(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it was up
		}
		return err
	}
	return d.live(ctx)
}

// closeEtcd ends the clients, then the member.
func (d *daemon) closeEtcd() {
	for _, c := range []*embedetcd.Client{d.own, d.client} {
		if c != nil {
			_ = c.Close()
		}
	}
	if d.member != nil {
		d.member.Stop()
	}
}

// live runs the node until ctx is done or one of its parts ends.
func (d *daemon) live(ctx context.Context) error {
	ln, err := net.Listen("tcp", d.opt.Listen.REST)
	if err != nil {
		return fmt.Errorf("REST: %w", err)
	}
	counted := metrics.New(metrics.Options{Version: d.opt.Version, Figures: d.figures})
	shown, own, err := d.exposition(counted)
	if err != nil {
		return err
	}
	verifier, err := d.verifier()
	if err != nil {
		return err
	}
	trail, err := audit.Open(d.opt.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = trail.Close() }()
	peers := &peerTransport{}
	tracer, traced, err := d.trace(ctx)
	if err != nil {
		return err
	}
	past := history.New(history.Options{Node: d.state.Node, Figures: d.figures, Now: time.Now})
	server, err := api.New(api.Options{Manager: d.manager, Verifier: verifier, Audit: trail,
		Runtime: d, Surveyor: d, Observer: past, Inspector: d.inspect(counted.Handler()), Self: d.state.Node,
		Version: d.opt.Version, Log: d.log, Metrics: shown, Limits: d.opt.Limits,
		Tracer: tracer, Transport: peers})
	if err != nil {
		return err
	}
	// Three groups end one after the other: what takes requests, the data plane, what both rest on.
	front, plane, base := newGroup(ctx), newGroup(ctx), newGroup(ctx)
	base.start(func(ctx context.Context) error { return d.watcher.Run(ctx) })
	base.start(func(ctx context.Context) error { d.keepEndpoints(ctx); return nil })
	base.start(func(ctx context.Context) error { return d.manager.KeepAlive(ctx, d.state.Node) })
	if d.member != nil {
		base.start(d.watchMember)
		base.start(func(ctx context.Context) error { d.tendMember(ctx); return nil })
	}
	front.start(func(ctx context.Context) error { return d.serveREST(ctx, server, ln, peers) })
	front.start(func(ctx context.Context) error { d.announce(ctx); return nil })
	base.start(func(ctx context.Context) error { d.lookAround(ctx); return nil })
	base.start(func(ctx context.Context) error { d.tendAuthority(ctx); return nil })
	base.start(d.noticeStrangers)
	base.start(func(ctx context.Context) error { d.runSchedules(ctx); return nil })
	for _, f := range []func(context.Context) error{own, traced} {
		if f != nil {
			front.start(f)
		}
	}
	front.start(func(ctx context.Context) error { d.tendKeys(ctx); return nil })
	front.start(func(ctx context.Context) error { past.Run(ctx); return nil })
	plane.start(d.runPlane)
	d.log.WithFields(logrus.Fields{"node": d.state.Node, "name": d.state.NodeName, "rest": ln.Addr().String()}).
		Info("the node is up")

	select {
	case <-ctx.Done():
		d.log.Info("stopping")
	case err = <-front.failed:
	case err = <-plane.failed:
	case err = <-base.failed:
	}
	return errors.Join(err, d.stop(front, plane, base))
}

// verifier tells who calls the API.
func (d *daemon) verifier() (auth.Verifier, error) {
	own := auth.NewTokens(d.manager, time.Now)
	if len(d.opt.Keystone.Roles) == 0 {
		return own, nil
	}
	other, err := keystone.New(d.opt.Keystone)
	if err != nil {
		return nil, fmt.Errorf("keystone: %w", err)
	}
	return auth.Either{Own: own, Other: other}, nil
}

// runPlane is the data plane's life.
func (d *daemon) runPlane(ctx context.Context) error {
	p, err := d.startPlane(ctx)
	if err != nil {
		return err
	}
	d.plane.Store(&p)
	publishing := newGroup(ctx)
	publishing.start(func(ctx context.Context) error { d.publish(ctx, p); return nil })
	publishing.start(func(ctx context.Context) error { d.followPurges(ctx, p); return nil })
	defer publishing.stop()
	return p.Run(ctx)
}

// watchMember fails when the etcd member ends by itself.
func (d *daemon) watchMember(ctx context.Context) error {
	select {
	case <-d.member.Done():
		return fmt.Errorf("the node's etcd member ended: %w", d.member.Err())
	case <-ctx.Done():
		return nil
	}
}

// stop ends the groups in order. A group that hangs is left behind after Options.Shutdown: the process is
// about to end, and ends safely at any moment.
func (d *daemon) stop(groups ...*group) error {
	late := time.After(d.opt.Shutdown)
	for _, g := range groups {
		done := make(chan struct{})
		go func() { g.stop(); close(done) }()
		select {
		case <-done:
		case <-late:
			return fmt.Errorf("did not stop within %v; nothing acknowledged is lost, but other nodes take this "+
				"node's volumes over only after its lease", d.opt.Shutdown)
		}
	}
	return nil
}

// update changes the state and keeps it on disk.
func (d *daemon) update(change func(*State)) error {
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	change(d.state)
	err := d.state.save(d.opt.DataDir)
	if err != nil {
		d.log.WithError(err).Error("the node's state could not be written")
	}
	return err
}

// group is goroutines that end together.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error // the first error of a member that ended by itself
}

// newGroup makes a group whose end is stop alone, not the end of ctx.
func newGroup(ctx context.Context) *group {
	g := &group{failed: make(chan error, 1)}
	g.ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return g
}

func (g *group) start(f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(g.ctx); err != nil && g.ctx.Err() == nil {
			select {
			case g.failed <- err:
			default: // one reason to stop is enough
			}
		}
	})
}

func (g *group) stop() {
	g.cancel()
	g.wg.Wait()
}
