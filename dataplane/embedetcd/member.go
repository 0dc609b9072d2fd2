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
	"go.etcd.io/etcd/server/v3/embed"
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
	Heartbeat       time.Duration
	Election        time.Duration
	QuotaBytes      int64
	Log             logrus.FieldLogger
}

// Member is a running etcd member. Its methods may be called from any goroutine.
type Member struct {
	etcd  *embed.Etcd
	cfg   Config
	ready chan struct{}
	done  chan struct{}
	stop  sync.Once
	hang  context.CancelFunc // ends the streams of clients

	mu struct {
		sync.Mutex
		err error
	}
}

// Start opens the member's listeners and starts it. The error names the setting that is wrong, or is etcd's
// own (data directory of another cluster, address in use ...). Nothing keeps running after an error.
func Start(cfg Config) (*Member, error) {
	ec, err := cfg.embed()
	if err != nil {
		return nil, err
	}
	streams, hang := context.WithCancel(context.Background())
	ec.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(endWith(streams))}
	e, err := embed.StartEtcd(ec)
	if err != nil {
		hang()
		return nil, fmt.Errorf("start etcd member %q: %w", cfg.Name, err)
	}
	m := &Member{etcd: e, cfg: cfg, ready: make(chan struct{}), done: make(chan struct{}), hang: hang}
	go m.watch()
	return m, nil
}

// watch closes ready and done when their time comes.
func (m *Member) watch() {
	readyC := m.etcd.Server.ReadyNotify()
	for {
		select {
		case <-readyC:
			close(m.ready)
			readyC = nil
		case err := <-m.etcd.Err():
			m.fail(err)
			return
		case <-m.etcd.Server.StopNotify():
			m.fail(errors.New("etcd member stopped"))
			return
		}
	}
}

func (m *Member) fail(err error) {
	m.mu.Lock()
	m.mu.err = err
	m.mu.Unlock()
	close(m.done)
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

// ID is the member's number in its cluster.
func (m *Member) ID() uint64 { return uint64(m.etcd.Server.MemberID()) }

// IsLeader says whether this member leads the cluster now.
func (m *Member) IsLeader() bool { return m.etcd.Server.Leader() == m.etcd.Server.MemberID() }

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
	m.stop.Do(func() {
		m.hang()
		hurry := time.AfterFunc(politeStop, m.etcd.Server.HardStop)
		m.etcd.Close()
		hurry.Stop()
		<-m.done
	})
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
			return nil, fmt.Errorf("etcd %s %q: want http://host:port", u.what, u.raw)
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
