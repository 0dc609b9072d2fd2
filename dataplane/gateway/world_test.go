package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// The world of these tests: three nodes, each with a voter, a chunk server with one device in memory, and
// perhaps a gateway; the owner records of one volume with two copies; and connections that can be cut. It
// lives in a synctest bubble: time passes only when everybody waits.

const nodes = 3

var errCut = errors.New("cut off")

type world struct {
	t       *testing.T
	servers map[cluster.NodeID]*chunkd.Server
	disks   []*blockdev.Mem

	watching sync.Mutex // states are delivered in order, as a watch does

	mu       sync.Mutex
	voters   map[cluster.NodeID]*lease.Voter
	gateways map[cluster.NodeID]*Gateway
	cut      map[[2]cluster.NodeID]bool // from the first to the second; number 0 is etcd
	refusing map[cluster.NodeID]bool
	deaf     map[cluster.NodeID]bool // gets no answer from voters
	delays
	record  cluster.OwnerAt
	snaps   map[cluster.UUID]cluster.SnapshotAt
	lost    bool // the answer to the next change of snapshots
	deleted bool
	policies
	size    uint64
	reads   map[cluster.DeviceID]int // that devices were asked for
	told    []cluster.NodeID         // who has told hosts of a new size
	swapped func(cluster.Owner)      // told of every change of the record, before its answer
}

// delays are what takes long.
type delays struct {
	stalling bool // devices take requests and do nothing
	stalled  []*chunk.Request
	lag      *lag // of messages; nil: none
}

// policies are those of the volume and of its pool.
type policies struct {
	shrink *cluster.Cut
	sealed *cluster.Encryption
	packed bool // units of 16 KiB, compressed
	keys   Keys
	bound  *cluster.QoS     // of the volume
	pool   *cluster.PoolQoS // of its pool
	order  *cluster.Move

	locality *cluster.Locality         // of its pool
	domains  map[cluster.NodeID]string // of nodes
	anew     bool                      // the pool was deleted, and made again without device 1
}

func key() cluster.VolumeKey { return cluster.VolumeKey{VUID: 1, Generation: 1} }

// inBubble runs a test in a world with a volume that nobody has owned yet.
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, servers: map[cluster.NodeID]*chunkd.Server{}, voters: map[cluster.NodeID]*lease.Voter{},
			gateways: map[cluster.NodeID]*Gateway{}, cut: map[[2]cluster.NodeID]bool{},
			refusing: map[cluster.NodeID]bool{}, deaf: map[cluster.NodeID]bool{}, size: 1 << 20,
			reads: map[cluster.DeviceID]int{}, snaps: map[cluster.UUID]cluster.SnapshotAt{}}
		w.record = cluster.OwnerAt{Owner: cluster.Owner{Gateway: 1}, Revision: 1}
		for n := cluster.NodeID(1); n <= nodes; n++ {
			w.voters[n] = lease.NewVoter(uint64(n), 0, nil)
			w.servers[n] = w.serve(cluster.DeviceID(n))
		}
		f(t, w)
		for n := range cluster.NodeID(nodes) {
			if w.gateway(n+1) != nil {
				w.stop(n + 1)
			}
		}
	})
}

func (w *world) serve(id cluster.DeviceID) *chunkd.Server {
	dev := blockdev.NewMem(blockdev.MemOptions{Size: 16 << 20})
	w.disks = append(w.disks, dev)
	names := pagestore.FormatOptions{ClusterID: [16]byte{1}, DeviceUUID: [16]byte{byte(id)}}
	if err := pagestore.Format(w.t.Context(), dev, names); err != nil {
		w.t.Fatal(err)
	}
	store, err := pagestore.Open(w.t.Context(), dev, pagestore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		store.Close()
		dev.Close()
	})
	s := chunkd.New()
	s.Attach(id, store)
	return s
}

// state is what a watch of etcd would deliver.
func (w *world) state() *cluster.State {
	m := &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{}, Devices: map[cluster.DeviceID]*cluster.Device{},
		Pools: map[string]*cluster.Pool{}}
	pool := &cluster.Pool{ID: 1, Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: 1,
		Domain: cluster.DomainNode, ChunkSize: cluster.MinChunkSize, StripeUnit: cluster.BlockSize,
		QoS: w.pool, Locality: w.locality}
	m.Pools["p"] = pool
	for n := cluster.NodeID(1); n <= nodes; n++ {
		d := cluster.DeviceID(n)
		m.Nodes[n] = &cluster.Node{Number: n, Domain: w.domains[n]}
		m.Devices[d] = &cluster.Device{Number: d, Node: n, Weight: 1, State: cluster.DeviceOnline}
		m.Voters.Nodes = append(m.Voters.Nodes, n)
		pool.Members = append(pool.Members, cluster.Member{Device: d, Weight: 1,
			Domain: fmt.Sprintf("az/rack/%d", n)})
	}
	if w.anew {
		pool.ID, pool.Members = 2, pool.Members[1:]
	}
	s := &cluster.State{Map: m, Revision: w.record.Revision, Volumes: map[cluster.VolumeKey]*cluster.Volume{},
		Owners: map[cluster.VolumeKey]*cluster.OwnerAt{}}
	if !w.deleted {
		o := cluster.OwnerAt{Owner: w.record.Clone(), Revision: w.record.Revision}
		s.Volumes[key()] = &cluster.Volume{UUID: cluster.UUID{7}, Name: "v", Pool: "p", Key: key(), Size: w.size,
			Cut: w.shrink, Encryption: w.sealed,
			Serving: cluster.Serving{QoS: w.bound, Move: w.order}}
		if w.packed {
			pool.StripeUnit, s.Volumes[key()].Compression = 16<<10, cluster.CompressionS2
		}
		s.Owners[key()] = &o
	}
	s.Snapshots = map[cluster.UUID]*cluster.SnapshotAt{}
	for id, x := range w.snaps {
		s.Snapshots[id] = &x
	}
	return s
}

// watch delivers the present state to every gateway that reaches etcd.
func (w *world) watch() {
	if w.lag != nil {
		w.lag.deliver(w)
		return
	}
	w.watching.Lock()
	defer w.watching.Unlock()
	w.mu.Lock()
	s := w.state()
	var to []*Gateway
	for n, g := range w.gateways {
		if !w.cut[[2]cluster.NodeID{n, 0}] {
			to = append(to, g)
		}
	}
	w.mu.Unlock()
	for _, g := range to {
		if err := g.Apply(s); err != nil {
			w.t.Error(err)
		}
	}
}

// start starts the gateway of a node.
func (w *world) start(n cluster.NodeID) *Gateway {
	log := logrus.New()
	log.SetOutput(io.Discard)
	l := w.links(n)
	g := New(Options{Self: n, Chunks: l, Arbiter: l, Votes: l, Events: l, Keys: w.keys,
		Log: logrus.NewEntry(log)})
	w.mu.Lock()
	w.gateways[n] = g
	w.refusing[n] = false
	w.mu.Unlock()
	w.watch()
	return g
}

func (w *world) stop(n cluster.NodeID) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := w.gateway(n).Close(ctx); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.gateways, n)
}

func (w *world) gateway(n cluster.NodeID) *Gateway {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gateways[n]
}

func (w *world) volume(n cluster.NodeID) *Volume { return w.gateway(n).Volume(key()) }

// owner is the record.
func (w *world) owner() cluster.Owner {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.record.Clone()
}

// change changes the record behind everybody's back.
func (w *world) change(f func(*cluster.Owner)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.record.Owner)
	w.record.Revision++
}

// set cuts or mends connections of a node, in both directions.
func (w *world) set(cut bool, n cluster.NodeID, others ...cluster.NodeID) {
	w.mu.Lock()
	for _, o := range others {
		w.cut[[2]cluster.NodeID{n, o}], w.cut[[2]cluster.NodeID{o, n}] = cut, cut
	}
	w.mu.Unlock()
	if !cut {
		w.watch()
	}
}

// kill ends the process of a node's gateway: its host refuses connections. Its device lives on.
func (w *world) kill(n cluster.NodeID) {
	w.mu.Lock()
	g := w.gateways[n]
	delete(w.gateways, n)
	for o := range cluster.NodeID(nodes + 1) {
		w.cut[[2]cluster.NodeID{n, o}] = true
	}
	w.refusing[n] = true
	w.mu.Unlock()
	g.stop()
	g.wg.Wait()
}

// setDeaf keeps the voters' answers from a node, and nothing else.
func (w *world) setDeaf(n cluster.NodeID, deaf bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf[n] = deaf
}

// other is the node of the other copy of the first block, whose first copy is wherever.
func (w *world) other(n cluster.NodeID) cluster.NodeID {
	for _, d := range w.gateways[n].tables(w.volume(n))[0].Row(placement.Group(key(), 0)) {
		if d != cluster.DeviceID(n) {
			return cluster.NodeID(d)
		}
	}
	return 0
}

// until lets time pass until something is true; it fails after a minute.
func (w *world) until(what string, done func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for yes := false; !yes; {
		if time.Since(begin) > time.Minute {
			w.t.Fatalf("not within a minute: %s", what)
		}
		if yes = done(); !yes {
			pass(10 * time.Millisecond)
		}
		w.oneAnswers()
	}
	return time.Since(begin)
}

// oneAnswers: at no time more than one gateway may answer hosts.
func (w *world) oneAnswers() {
	w.t.Helper()
	var who []cluster.NodeID
	for n := cluster.NodeID(1); n <= nodes; n++ {
		if g := w.gateway(n); g != nil && w.serving(n) && g.leased() {
			who = append(who, n)
		}
	}
	if len(who) > 1 {
		w.t.Fatalf("nodes %v may answer hosts at the same time", who)
	}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) serving(n cluster.NodeID) bool {
	v := w.volume(n)
	return v != nil && v.ANAState() == nvme.ANAOptimized
}

// wire is what a gateway is connected by.
type wire interface {
	Chunks
	Arbiter
	Votes
	Events
}

func (w *world) links(n cluster.NodeID) wire {
	if w.lag != nil {
		return slowLinks{links{w, n}, w.lag}
	}
	return links{w, n}
}

// links are the connections of one node's gateway.
type links struct {
	w    *world
	from cluster.NodeID
}

func (l links) broken(to cluster.NodeID) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.cut[[2]cluster.NodeID{l.from, to}]
}

// Submit implements Chunks. Device n is on node n.
func (l links) Submit(r *chunk.Request) {
	n := cluster.NodeID(r.Device)
	if l.broken(n) {
		r.Complete(chunk.Unreachable)
		return
	}
	l.w.mu.Lock()
	if r.Op == chunk.OpRead {
		l.w.reads[r.Device]++
	}
	stalling := l.w.stalling
	if stalling {
		l.w.stalled = append(l.w.stalled, r)
	}
	l.w.mu.Unlock()
	if !stalling {
		l.w.servers[n].Submit(r)
	}
}

// stall stops all devices, or lets them go on.
func (w *world) stall(on bool) {
	w.mu.Lock()
	w.stalling = on
	requests := w.stalled
	if !on {
		w.stalled = nil
	}
	w.mu.Unlock()
	if !on {
		for _, r := range requests {
			w.servers[cluster.NodeID(r.Device)].Submit(r)
		}
	}
}

// Owner implements Arbiter.
func (l links) Owner(context.Context, cluster.VolumeKey) (cluster.Owner, int64, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	switch {
	case l.w.cut[[2]cluster.NodeID{l.from, 0}]:
		return cluster.Owner{}, 0, errCut
	case l.w.deleted:
		return cluster.Owner{}, 0, cluster.ErrNoRecord
	}
	return l.w.record.Clone(), l.w.record.Revision, nil
}

// SwapOwner implements Arbiter.
func (l links) SwapOwner(_ context.Context, _ cluster.VolumeKey, rev int64,
	next cluster.Owner, with ...cluster.SnapshotAt) (int64, error) {
	l.w.mu.Lock()
	switch {
	case l.w.cut[[2]cluster.NodeID{l.from, 0}]:
		l.w.mu.Unlock()
		return 0, errCut
	case l.w.deleted:
		l.w.mu.Unlock()
		return 0, cluster.ErrNoRecord
	case rev != l.w.record.Revision || slices.ContainsFunc(with, l.w.moved):
		l.w.mu.Unlock()
		return 0, cluster.ErrConflict
	}
	l.w.record = cluster.OwnerAt{Owner: next.Clone(), Revision: rev + 1}
	for _, x := range with {
		if x.Revision = max(x.Revision, rev) + 1; x.State == cluster.SnapshotGone {
			delete(l.w.snaps, x.UUID)
			continue
		}
		l.w.snaps[x.UUID] = x
	}
	if l.w.lost && len(with) > 0 {
		l.w.lost = false
		l.w.mu.Unlock()
		return 0, errCut
	}
	told := l.w.swapped
	l.w.mu.Unlock()
	if told != nil {
		told(next)
	}
	go l.w.watch()
	return rev + 1, nil
}

// SwapOwners implements Arbiter; there is one volume.
func (l links) SwapOwners(ctx context.Context, swaps []cluster.OwnerSwap, with ...cluster.SnapshotAt) error {
	if len(swaps) != 1 || swaps[0].Volume != key() {
		return fmt.Errorf("swap %d records", len(swaps))
	}
	_, err := l.SwapOwner(ctx, key(), swaps[0].Revision, swaps[0].Next, with...)
	return err
}

// moved tells whether a snapshot's record is not what somebody believes. w.mu is held.
func (w *world) moved(x cluster.SnapshotAt) bool { return w.snaps[x.UUID].Revision != x.Revision }

// Renew implements Votes.
func (l links) Renew(_ context.Context, n cluster.NodeID, since lease.Position) (lease.Reply, error) {
	if l.broken(n) {
		return lease.Reply{}, errCut
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.deaf[l.from] {
		return lease.Reply{}, errCut
	}
	return l.w.voters[n].Renew(time.Now().UnixNano(), l.from, since), nil
}

// Fence implements Votes.
func (l links) Fence(_ context.Context, n cluster.NodeID, f lease.Fence,
	about cluster.NodeID) (lease.Fenced, error) {
	if l.broken(n) {
		return lease.Fenced{}, errCut
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	v := l.w.voters[n]
	v.Stored(f)
	return lease.Fenced{Known: v.Epoch(f.Vol), Silent: v.Age(time.Now().UnixNano(), about)}, nil
}

// Yield implements Votes.
func (l links) Yield(_ context.Context, n cluster.NodeID, f lease.Fence) error {
	l.w.mu.Lock()
	g := l.w.gateways[n]
	l.w.mu.Unlock()
	if g == nil || l.broken(n) {
		return errCut
	}
	g.Yield(f)
	return nil
}

// Refused implements Votes.
func (l links) Refused(_ context.Context, n cluster.NodeID) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.refusing[n]
}

// Connected implements Votes.
func (l links) Connected(n cluster.NodeID) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.gateways[n] != nil && !l.w.cut[[2]cluster.NodeID{l.from, n}]
}

// AccessChanged implements Events.
func (l links) AccessChanged(*Volume) {}

// SizeChanged implements Events.
func (l links) SizeChanged(*Volume) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.told = append(l.w.told, l.from)
}

// command is a host command under way, or its outcome.
type command struct {
	done   chan struct{}
	status nvme.Status
	data   []byte
	when   time.Time
}

// host hands a command on the first block to a gateway, whether it is ready for it or not.
func (w *world) host(n cluster.NodeID, opcode uint8, stamp uint64) *command {
	return w.hostAt(n, opcode, 0, stamp)
}

// hostAt hands over one on any block.
func (w *world) hostAt(n cluster.NodeID, opcode uint8, block, stamp uint64) *command {
	return hand(w.volume(n), opcode, block, stamp)
}

// hand hands a command to a volume, perhaps of a gateway that has died since.
func hand(v *Volume, opcode uint8, block, stamp uint64) *command {
	c := &command{done: make(chan struct{}), data: make([]byte, cluster.BlockSize)}
	binary.LittleEndian.PutUint64(c.data, stamp)
	var cmd nvme.Command
	cmd.SetOpcode(opcode)
	cmd.SetNSID(1)
	cmd.SetSLBA(block * (cluster.BlockSize / cluster.LBASize))
	cmd.SetNLB(cluster.BlockSize / cluster.LBASize)
	v.Submit(nvmet.NewRequest(cmd, c.data,
		func(_ *nvmet.Request, st nvme.Status, _, _ uint32) {
			c.status, c.when = st, time.Now()
			close(c.done)
		}))
	return c
}

func (c *command) answered() bool {
	synctest.Wait()
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// must waits for the outcome.
func (w *world) must(c *command, want nvme.Status) uint64 {
	w.t.Helper()
	<-c.done
	if c.status != want {
		w.t.Fatalf("status %v, want %v", c.status, want)
	}
	return c.stamp()
}

func (c *command) stamp() uint64 { return binary.LittleEndian.Uint64(c.data) }

func (w *world) write(n cluster.NodeID, stamp uint64) {
	w.t.Helper()
	w.must(w.host(n, nvme.OpWrite, stamp), nvme.Success)
}

func (w *world) read(n cluster.NodeID, want uint64) {
	w.t.Helper()
	if got := w.must(w.host(n, nvme.OpRead, 0), nvme.Success); got != want {
		w.t.Fatalf("read %d, want %d", got, want)
	}
}
