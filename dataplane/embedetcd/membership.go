package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Times of a client. gRPC's own back-off grows to two minutes, far too long to notice that etcd is back.
const (
	dialTimeout      = 5 * time.Second
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 5 * time.Second
	reconnectMin     = 100 * time.Millisecond
	reconnectMax     = time.Second
	endpointSync     = 30 * time.Second
	retryJoin        = 100 * time.Millisecond
	startGrace       = 5 * time.Second
)

// Client is a client of an etcd cluster, named here for packages that only pass it on.
type Client = clientv3.Client

// ErrHasRun says that a member at that URL ran before: what it promised is in its data directory, and a new
// member that knows nothing of it would break the cluster's majority.
var ErrHasRun = errors.New("an etcd member at this peer URL has run before and needs its data directory")

// Dial makes a client of the cluster behind endpoints (client URLs, any non-empty part of the members). It
// does not wait for a connection. With follow the client learns the endpoints of members that join later;
// leave it false when etcd is reached through addresses the members do not know (a proxy, NAT). Without
// encryption, nil, endpoints are http URLs, else https.
func Dial(endpoints []string, follow bool, encryption Encryption, log logrus.FieldLogger) (*Client, error) {
	if len(endpoints) == 0 {
		return nil, errors.New("no etcd endpoint given")
	}
	cfg := clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		Logger:               zapToLogrus(log),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: reconnectMin, Multiplier: 1.6, Jitter: 0.2,
				MaxDelay: reconnectMax},
			MinConnectTimeout: dialTimeout,
		})},
	}
	if encryption != nil {
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithTransportCredentials(encryption))
	}
	if follow {
		cfg.AutoSyncInterval = endpointSync
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("make etcd client for %v: %w", endpoints, err)
	}
	return c, nil
}

// AddLearner adds a member reachable at peerURL to the running cluster and returns the peers to start it with
// (name's own entry included). Calling it again for the same URL before the member ever started is harmless:
// a node that crashed between the two steps just goes on. A cluster that has its share of learners makes it
// wait until ctx is done.
//
// Members start one after the other: two that start at the same time ask each other for the cluster and wait
// many seconds for the answer. So a member that was added before and has not started is waited for, but not
// for longer than startGrace: it may be dead.
func AddLearner(ctx context.Context, c *Client, name, peerURL string) ([]Peer, error) {
	for patience := startGrace; ; patience -= retryJoin {
		list, err := c.MemberList(ctx)
		if err != nil {
			return nil, fmt.Errorf("list etcd members: %w", err)
		}
		own, waiting := findMember(list, peerURL)
		switch {
		case own != nil && own.Name != "":
			return nil, fmt.Errorf("add etcd member %q at %s: %w (it is %q)", name, peerURL, ErrHasRun, own.Name)
		case waiting && patience > 0:
		case own != nil:
			return peersOf(list, name, peerURL), nil
		default:
			_, err = c.MemberAddAsLearner(ctx, []string{peerURL})
			switch {
			case err == nil:
				continue // read the list again: another member may have been added in between
			case errors.Is(err, rpctypes.ErrTooManyLearners), errors.Is(err, rpctypes.ErrUnhealthy),
				errors.Is(err, rpctypes.ErrPeerURLExist):
			default:
				return nil, fmt.Errorf("add etcd member %q at %s: %w", name, peerURL, err)
			}
		}
		if err := pause(ctx, retryJoin); err != nil {
			return nil, fmt.Errorf("add etcd member %q: other members are still joining: %w", name, err)
		}
	}
}

// findMember finds the member at peerURL, and says whether another one is to start before it: all that have
// not started when it is not added yet, later those with a smaller id.
func findMember(list *clientv3.MemberListResponse, peerURL string) (own *etcdserverpb.Member, waiting bool) {
	for _, m := range list.Members {
		if slices.Contains(m.PeerURLs, peerURL) {
			own = m
		}
	}
	for _, m := range list.Members {
		if m.Name == "" && m != own && (own == nil || m.ID < own.ID) {
			waiting = true
		}
	}
	return own, waiting
}

func peersOf(list *clientv3.MemberListResponse, name, peerURL string) []Peer {
	var peers []Peer
	for _, m := range list.Members {
		for _, u := range m.PeerURLs {
			if u == peerURL {
				peers = append(peers, Peer{Name: name, URL: u})
			} else {
				peers = append(peers, Peer{Name: m.Name, URL: u})
			}
		}
	}
	return peers
}

// Counts says how many members of each kind a cluster has.
type Counts struct {
	Voters, Learners int // Learners: those that started
	Unstarted        int
}

// Settle promotes as many started learners as keep the number of voters odd (see the package doc) and returns
// the counts after it. A learner that has not caught up yet is left for the next call: call it again
// until Learners is what you expect, and then now and then.
func Settle(ctx context.Context, c *Client) (Counts, error) {
	list, err := c.MemberList(ctx)
	if err != nil {
		return Counts{}, fmt.Errorf("list etcd members: %w", err)
	}
	var n Counts
	var learners []uint64
	for _, m := range list.Members {
		switch {
		case m.Name == "":
			n.Unstarted++
		case m.IsLearner:
			learners = append(learners, m.ID)
		default:
			n.Voters++
		}
	}
	slices.Sort(learners)
	promote := learners
	if (n.Voters+len(promote))%2 == 0 && len(promote) > 0 {
		promote = promote[:len(promote)-1]
	}
	n.Learners = len(learners)
	for _, id := range promote {
		_, err := c.MemberPromote(ctx, id)
		switch {
		case err == nil:
			n.Voters++
			n.Learners--
		case errors.Is(err, rpctypes.ErrMemberLearnerNotReady), errors.Is(err, rpctypes.ErrMemberNotLearner),
			errors.Is(err, rpctypes.ErrUnhealthy):
			return n, nil // not yet, or another node was faster: the next call sees it
		default:
			return n, fmt.Errorf("promote etcd member %x: %w", id, err)
		}
	}
	return n, nil
}

// Endpoints lists the client URLs of the members that serve clients (voters that have started).
func Endpoints(ctx context.Context, c *Client) ([]string, error) {
	list, err := c.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list etcd members: %w", err)
	}
	var urls []string
	for _, m := range list.Members {
		if m.Name != "" && !m.IsLearner {
			urls = append(urls, m.ClientURLs...)
		}
	}
	slices.Sort(urls)
	return urls, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
