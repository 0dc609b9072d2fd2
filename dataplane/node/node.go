package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/peer"
	"github.com/ashlar-storage/ashlar/dataplane/voter"
)

// States is the stream of cluster states: a watch.Watcher.
type States interface {
	Newest() *cluster.State
	Next(ctx context.Context, after int64) (*cluster.State, error)
}

// Options of a node. All are needed but those with a default.
type Options struct {
	Self      cluster.NodeID
	ClusterID cluster.UUID
	Secret    []byte // the cluster secret
	// PeerTLS encrypts what goes between nodes, both ways; nil: in clear.
	PeerTLS *tls.Config
	DataDir string
	// Listen addresses, "host:port". Empty Discovery: discovery is only at Hosts, which always answers it too.
	Hosts, Discovery, Peers string

	States  States
	Arbiter gateway.Arbiter
	// Patience is how long after the start a volume's open waits for devices that do not answer. Default 10 s.
	Patience time.Duration
	// ChunkTimeout is how long a device of another node may take to answer. Default 2 s.
	ChunkTimeout time.Duration
	Audit        gateway.AuditOptions
	Sampling     gateway.Sampling
	Keys         gateway.Keys // nil: no encrypted volume is served here
	// OpenDevice opens the disk or file at a path. Default blockdev.OpenFile.
	OpenDevice func(path string) (blockdev.Device, error)
	Log        logrus.FieldLogger
}

// stopTimeout bounds the hand-over of the volumes when the node stops.
const stopTimeout = 5 * time.Second

// controllersPerNode is the size of a node's range of controller identifiers.
const controllersPerNode = 256

// Node is the data plane of one node. Make it with New, then Run once.
type Node struct {
	o       Options
	log     *logrus.Entry
	state   atomic.Pointer[cluster.State]
	voter   *voter.Voter
	chunks  *chunkd.Server
	peers   *peer.Manager
	gateway *gateway.Gateway
	hosts   *nvmet.Target
	nodes   *nvmet.Target
	shown   subsystems
	disks   disks
	memory  pinned
	listen  []listener
}

type listener struct {
	net.Listener
	target *nvmet.Target
}

// New binds the listeners and opens the voter. After an error nothing is left open.
func New(o Options) (*Node, error) {
	o.Patience = orDefault(o.Patience, 10*time.Second)
	o.ChunkTimeout = orDefault(o.ChunkTimeout, 2*time.Second)
	n := &Node{o: o, log: o.Log.WithField("node", o.Self), chunks: chunkd.New()}
	if o.OpenDevice == nil {
		n.o.OpenDevice = n.openFile
	}
	n.disks.init(n)
	n.shown.init(n)
	dir := filepath.Join(o.DataDir, "voter")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	var err error
	if n.voter, err = voter.Open(dir); err != nil {
		return nil, fmt.Errorf("start node: %w", err)
	}
	if err := n.openTargets(); err != nil {
		n.voter.Close()
		return nil, fmt.Errorf("start node: %w", err)
	}
	n.peers = peer.NewManager(peer.Options{Cluster: o.ClusterID, Self: o.Self, Secret: o.Secret,
		TLS: o.PeerTLS, Timeout: o.ChunkTimeout, Log: n.log})
	n.gateway = gateway.New(gateway.Options{Self: o.Self, Chunks: n, Peers: n.peers, Arbiter: o.Arbiter,
		Votes: votes{n}, Events: &n.shown, Keys: o.Keys, Patience: o.Patience, Audit: o.Audit,
		Sampling: o.Sampling, Log: n.log})
	return n, nil
}

func (n *Node) openFile(path string) (blockdev.Device, error) {
	return blockdev.OpenFile(path, blockdev.FileOptions{Pinned: [][]byte{n.memory.hosts, n.memory.nodes}})
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// openTargets makes the two targets, with their memory, and binds their listeners.
func (n *Node) openTargets() (err error) {
	if n.memory, err = mapPinned(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			for _, l := range n.listen {
				l.Close()
			}
			n.memory.free()
		}
	}()
	first := uint16(1 + (uint32(n.o.Self)-1)%255*controllersPerNode)
	if n.hosts, err = nvmet.New(nvmet.Options{MinCNTLID: first, MaxCNTLID: first + controllersPerNode - 1,
		Pinned: n.memory.hosts, Logger: n.log}); err != nil {
		return err
	}
	// Between nodes one association carries all volumes: deep queues, chunks of up to 1 MiB.
	if n.nodes, err = nvmet.New(nvmet.Options{Secret: n.o.Secret, QueueDepth: 1024, MDTS: cluster.MaxChunkSize,
		Memory: 512 << 20, Pinned: n.memory.nodes, Logger: n.log}); err != nil {
		return err
	}
	for _, l := range []struct {
		addr   string
		target *nvmet.Target
	}{{n.o.Hosts, n.hosts}, {n.o.Discovery, n.hosts}, {n.o.Peers, n.nodes}} {
		if l.addr == "" {
			continue
		}
		ln, err := nvmet.Listen(context.Background(), l.addr)
		if err != nil {
			return err
		}
		if l.target == n.nodes && n.o.PeerTLS != nil {
			ln = tls.NewListener(ln, n.o.PeerTLS)
		}
		n.listen = append(n.listen, listener{ln, l.target})
	}
	return nil
}

// Run serves until ctx ends, then hands the volumes over and closes everything. An error before that means
// that the node cannot go on.
func (n *Node) Run(ctx context.Context) error {
	failed := make(chan error, len(n.listen))
	var serving sync.WaitGroup
	for _, l := range n.listen {
		serving.Add(1)
		go func() {
			defer serving.Done()
			if err := l.target.Serve(l.Listener); err != nil {
				failed <- fmt.Errorf("serve %v: %w", l.Addr(), err)
			}
		}()
	}
	run, stop := context.WithCancel(ctx)
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		n.follow(run)
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	<-followed
	return errors.Join(err, n.close(&serving))
}

// close ends everything, from the top down.
func (n *Node) close(serving *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs := []error{n.gateway.Close(ctx), n.hosts.Close(), n.nodes.Close(), n.peers.Close()}
	serving.Wait()
	errs = append(errs, n.disks.close(), n.voter.Close())
	err := errors.Join(errs...)
	if err == nil { // else somebody may still have a buffer
		n.memory.free()
	}
	return err
}

// follow applies one cluster state after the other.
func (n *Node) follow(ctx context.Context) {
	after := int64(0)
	for {
		s, err := n.o.States.Next(ctx, after)
		if err != nil {
			return
		}
		after = s.Revision
		n.state.Store(s)
		if err := n.peers.Update(s.Map.Nodes); err != nil {
			n.log.WithError(err).Error("cannot connect to all nodes")
		}
		n.disks.follow(ctx, s)
		if err := n.gateway.Apply(s); err != nil {
			n.log.WithError(err).Error("not all volumes can be served")
		}
		n.disks.promise(s, n.gateway.Shares)
		n.shown.follow(s)
	}
}

// Submit implements gateway.Chunks: a local call, or a request to the node that has the device.
func (n *Node) Submit(r *chunk.Request) {
	s := n.state.Load()
	if s == nil {
		r.Complete(chunk.Unreachable)
		return
	}
	switch d := s.Map.Devices[r.Device]; {
	case d == nil:
		r.Complete(chunk.NotMine)
	case d.Node == n.o.Self:
		n.chunks.Submit(r)
	default:
		n.peers.Submit(d.Node, r)
	}
}

// Stats says how devices and volumes are.
func (n *Node) Stats() cluster.NodeStats {
	return cluster.NodeStats{Node: n.o.Self, Devices: n.disks.stats(), Volumes: n.gateway.Stats()}
}

// Associations lists the hosts that are connected to volumes and snapshots here.
func (n *Node) Associations() []nvmet.Association { return n.hosts.Associations() }

// HostAddr is where hosts connect; useful when the port was 0.
func (n *Node) HostAddr() net.Addr { return n.listen[0].Addr() }

// votes reaches the voters of all nodes, its own without the network.
type votes struct{ n *Node }

func (v votes) Renew(ctx context.Context, node cluster.NodeID, since lease.Position) (lease.Reply, error) {
	if node == v.n.o.Self {
		return v.n.voter.Renew(node, since), nil
	}
	return v.n.peers.Renew(ctx, node, since)
}

func (v votes) Fence(ctx context.Context, node cluster.NodeID, f lease.Fence,
	about cluster.NodeID) (lease.Fenced, error) {
	if node == v.n.o.Self {
		return v.n.voter.Fence(f, about)
	}
	return v.n.peers.Fence(ctx, node, f, about)
}

func (v votes) Yield(ctx context.Context, node cluster.NodeID, f lease.Fence) error {
	if node == v.n.o.Self {
		v.n.gateway.Yield(f)
		return nil
	}
	return v.n.peers.Yield(ctx, node, f)
}

func (v votes) Refused(ctx context.Context, node cluster.NodeID) bool {
	return node != v.n.o.Self && v.n.peers.Refused(ctx, node)
}

func (v votes) Connected(node cluster.NodeID) bool {
	return node == v.n.o.Self || v.n.peers.Connected(node)
}
