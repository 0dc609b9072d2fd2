package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/client/pkg/v3/tlsutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"google.golang.org/grpc"
)

// Defaults of Config. The times are etcd's own defaults: a leader is missed after one second.
const (
	DefaultHeartbeat  = 100 * time.Millisecond
	DefaultElection   = 1000 * time.Millisecond
	DefaultQuotaBytes = 1 << 30

	// keepRevisions is how much history stays for watchers that were away: a watcher behind it reads
	// everything again (package watch), so this bounds space without being able to lose a change.
	keepRevisions = "10000"
	// backendBatch is etcd's interval between commits to its database (the log is synced at each write
	// anyway).
	backendBatch = 250 * time.Millisecond
	// politeStop bounds what a stopping member waits for. etcd's own bound is 7 s, and it is always reached
	// when all members are stopped at once: a leader waits for a successor that is gone.
	politeStop = 1500 * time.Millisecond
	// maxLearners lets the second and the third node of a cluster join at the same time.
	maxLearners = 2
)

// Peer is one member of the cluster as raft sees it.
type Peer struct {
	Name string // "" while the member was added and has not started
	URL  string // where other members reach it
}

// Config describes one member. Zero values of Heartbeat, Election, QuotaBytes mean the defaults.
type Config struct {
	Name            string // unique in the cluster, no "=" or ","
	DataDir         string // belongs to this member alone; removed by nobody
	ListenClient    string // URL, e.g. http://127.0.0.1:2379
	ListenPeer      string // URL
	AdvertiseClient string // URL clients use; "" = ListenClient
	AdvertisePeer   string // URL members use; "" = ListenPeer
	Peers           []Peer // the cluster to join, this member included; empty = found a new cluster
	ClusterToken    string // keeps members of different clusters apart
	TLS             *Files // nil: in clear; else URLs are https
	Heartbeat       time.Duration
	Election        time.Duration
	QuotaBytes      int64
	Log             logrus.FieldLogger
}

// Member is a running etcd member. Its methods may be called from any goroutine.
type Member struct {
	cfg   Config
	ready chan struct{}
	done  chan struct{}
	life  sync.Mutex // of who ends a run

	mu struct {
		sync.Mutex
		run *run
		err error
	}
}

// run is the member from one start to the next end.
type run struct {
	etcd *embed.Etcd
	hang context.CancelFunc // ends the streams of clients
	once sync.Once          // of stop
	over chan struct{}      // closed when it ended
	why  error              // set before
	// followed: Restart ends it, to start another one. Guarded by the member's mu.
	followed bool
}

// Start opens the member's listeners and starts it. The error names the setting that is wrong, or is etcd's
// own (data directory of another cluster, address in use ...). Nothing keeps running after an error.
func Start(cfg Config) (*Member, error) {
	r, err := cfg.run()
	if err != nil {
		return nil, err
	}
	m := &Member{cfg: cfg, ready: make(chan struct{}), done: make(chan struct{})}
	m.mu.run = r
	go m.watch(r, m.ready)
	return m, nil
}

func (c Config) run() (*run, error) {
	ec, err := c.embed()
	if err != nil {
		return nil, err
	}
	streams, hang := context.WithCancel(context.Background())
	ec.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(endWith(streams))}
	e, err := embed.StartEtcd(ec)
	if err != nil {
		hang()
		return nil, fmt.Errorf("start etcd member %q: %w", c.Name, err)
	}
	r := &run{etcd: e, hang: hang, over: make(chan struct{})}
	go r.watch()
	return r, nil
}

func (r *run) watch() {
	select {
	case r.why = <-r.etcd.Err():
	case <-r.etcd.Server.StopNotify():
	}
	if r.why == nil {
		r.why = errors.New("etcd member stopped")
	}
	close(r.over)
}

// watch closes ready when the first run is, and done when a run ended that none follows.
func (m *Member) watch(r *run, ready chan struct{}) {
	if ready != nil {
		select {
		case <-r.etcd.Server.ReadyNotify():
			close(ready)
		case <-r.over:
		}
	}
	<-r.over
	m.mu.Lock()
	defer m.mu.Unlock()
	if !r.followed {
		m.end(r.why)
	}
}

// end is called with mu held.
func (m *Member) end(why error) {
	m.mu.err = why
	close(m.done)
}

// Restart ends the member and starts it again on its data, with whom Config.TLS trusts by now. Clients find
// it again by themselves. It returns when the member serves its cluster again; an error of ctx leaves it on
// its way there, every other error has ended the member.
func (m *Member) Restart(ctx context.Context) error {
	m.life.Lock()
	defer m.life.Unlock()
	m.mu.Lock()
	before, err := m.mu.run, m.mu.err
	before.followed = err == nil
	m.mu.Unlock()
	if err != nil {
		return err
	}
	before.stop()
	next, err := m.cfg.run()
	m.mu.Lock()
	if err != nil {
		m.end(err)
		m.mu.Unlock()
		return err
	}
	m.mu.run = next
	m.mu.Unlock()
	var ready chan struct{}
	select {
	case <-m.ready:
	default: // the run before had not come that far
		ready = m.ready
	}
	go m.watch(next, ready)
	select {
	case <-next.etcd.Server.ReadyNotify():
		return nil
	case <-next.over:
		return next.why
	case <-ctx.Done():
		return fmt.Errorf("etcd member %q is not ready again: %w", m.cfg.Name, ctx.Err())
	}
}

// Ready is closed when the member serves its cluster.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Done is closed when the member ended, by Stop or by itself.
func (m *Member) Done() <-chan struct{} { return m.done }

// Err says why the member ended; nil while it runs.
func (m *Member) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.err
}

func (m *Member) server() *etcdserver.EtcdServer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.run.etcd.Server
}

// ID is the member's number in its cluster.
func (m *Member) ID() uint64 { return uint64(m.server().MemberID()) }

// IsLeader says whether this member leads the cluster now.
func (m *Member) IsLeader() bool { s := m.server(); return s.Leader() == s.MemberID() }

// ClientURL is where clients reach this member.
func (m *Member) ClientURL() string { return orElse(m.cfg.AdvertiseClient, m.cfg.ListenClient) }

// PeerURL is where other members reach this member.
func (m *Member) PeerURL() string { return orElse(m.cfg.AdvertisePeer, m.cfg.ListenPeer) }

// WaitReady waits until the member serves its cluster, ends, or ctx is done.
func (m *Member) WaitReady(ctx context.Context) error {
	select {
	case <-m.ready:
		return nil
	case <-m.done:
		return m.Err()
	case <-ctx.Done():
		return fmt.Errorf("etcd member %q is not ready (no majority of members?): %w", m.cfg.Name, ctx.Err())
	}
}

// Stop ends the streams of clients, hands leadership over where it can, closes the listeners and the data
// directory. It waits for requests in flight and for a successor for politeStop at most. Later calls do
// nothing.
func (m *Member) Stop() {
	m.life.Lock()
	defer m.life.Unlock()
	m.mu.Lock()
	r := m.mu.run
	m.mu.Unlock()
	r.stop()
	<-m.done
}

func (r *run) stop() {
	r.once.Do(func() {
		r.hang()
		hurry := time.AfterFunc(politeStop, r.etcd.Server.HardStop)
		r.etcd.Close()
		hurry.Stop()
	})
	<-r.over
}

// endWith ends every stream when ctx is done. Left alone, the watches of other nodes keep a stopping member
// for etcd's full request timeout of 7 s, since they never finish by themselves.
func endWith(ctx context.Context) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		own, cancel := context.WithCancel(ss.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return handler(srv, &endingStream{ServerStream: ss, ctx: own})
	}
}

// endingStream is a stream with a context of its own.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *endingStream) Context() context.Context { return s.ctx }

// embed translates the configuration and validates what etcd itself reports badly.
func (c Config) embed() (*embed.Config, error) {
	if c.Name == "" || strings.ContainsAny(c.Name, "=,") {
		return nil, fmt.Errorf("etcd member name %q: want a non-empty name without '=' and ','", c.Name)
	}
	if c.DataDir == "" {
		return nil, errors.New("etcd data directory is not set")
	}
	ec := embed.NewConfig()
	for _, u := range []struct {
		what, raw string
		to        *[]url.URL
	}{
		{"client listen URL", c.ListenClient, &ec.ListenClientUrls},
		{"peer listen URL", c.ListenPeer, &ec.ListenPeerUrls},
		{"client advertise URL", orElse(c.AdvertiseClient, c.ListenClient), &ec.AdvertiseClientUrls},
		{"peer advertise URL", orElse(c.AdvertisePeer, c.ListenPeer), &ec.AdvertisePeerUrls},
	} {
		parsed, err := url.Parse(u.raw)
		if err != nil || parsed.Host == "" {
			return nil, fmt.Errorf("etcd %s %q: want http(s)://host:port", u.what, u.raw)
		}
		*u.to = []url.URL{*parsed}
	}
	ec.Name, ec.Dir = c.Name, c.DataDir
	ec.InitialClusterToken = orElse(c.ClusterToken, "ashlar")
	ec.InitialCluster = initialCluster(c.peers())
	if len(c.Peers) > 0 {
		ec.ClusterState = embed.ClusterStateFlagExisting
	}
	ec.TickMs = uint(orElse(c.Heartbeat, DefaultHeartbeat).Milliseconds())
	ec.ElectionMs = uint(orElse(c.Election, DefaultElection).Milliseconds())
	ec.QuotaBackendBytes = orElse(c.QuotaBytes, DefaultQuotaBytes)
	ec.AutoCompactionMode, ec.AutoCompactionRetention = embed.CompactorModeRevision, keepRevisions
	ec.BackendBatchInterval = backendBatch
	ec.MaxLearners = maxLearners
	ec.EnableGRPCGateway = false // nobody speaks JSON to it, and it would be one more door
	if c.TLS != nil {
		ec.ClientTLSInfo, ec.PeerTLSInfo = c.TLS.info(), c.TLS.info()
		ec.TlsMinVersion = string(tlsutil.TLSVersion13)
	}
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapToLogrus(c.Log))
	return ec, nil
}

// peers is the list of members a first start begins with.
func (c Config) peers() []Peer {
	if len(c.Peers) > 0 {
		return c.Peers
	}
	return []Peer{{Name: c.Name, URL: orElse(c.AdvertisePeer, c.ListenPeer)}}
}

// initialCluster writes peers as etcd wants them. A member that has not started has no name yet; etcd
// compares URLs only, so such a member gets a name of its own made from its position.
func initialCluster(peers []Peer) string {
	parts := make([]string, 0, len(peers))
	for i, p := range peers {
		parts = append(parts, orElse(p.Name, fmt.Sprintf("unstarted-%d", i))+"="+p.URL)
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
