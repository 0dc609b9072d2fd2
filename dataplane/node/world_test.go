package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/freeport"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// control is the control plane's twin in memory: the stream of states and the owner records.
type control struct {
	mu      sync.Mutex
	state   *cluster.State
	changed chan struct{}
	away    bool // the owner records cannot be reached
}

func (c *control) setAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

func (c *control) reach() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return errors.New("the arbiter is away")
	}
	return nil
}

func (c *control) Newest() *cluster.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *control) Next(ctx context.Context, after int64) (*cluster.State, error) {
	for {
		c.mu.Lock()
		s, changed := c.state, c.changed
		c.mu.Unlock()
		if s.Revision > after {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// change publishes a new state: a copy with its collections copied, too.
func (c *control) change(f func(s *cluster.State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := *c.state
	s.Revision++
	s.Volumes = map[cluster.VolumeKey]*cluster.Volume{}
	for k, v := range c.state.Volumes {
		cp := *v
		s.Volumes[k] = &cp
	}
	s.Owners = map[cluster.VolumeKey]*cluster.OwnerAt{}
	for k, o := range c.state.Owners {
		s.Owners[k] = o
	}
	s.Snapshots = maps.Clone(c.state.Snapshots)
	f(&s)
	c.state = &s
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *control) Owner(_ context.Context, vol cluster.VolumeKey) (cluster.Owner, int64, error) {
	if err := c.reach(); err != nil {
		return cluster.Owner{}, 0, err
	}
	o := c.Newest().Owners[vol]
	if o == nil {
		return cluster.Owner{}, 0, cluster.ErrNoRecord
	}
	return o.Owner.Clone(), o.Revision, nil
}

func (c *control) SwapOwner(_ context.Context, vol cluster.VolumeKey, rev int64,
	next cluster.Owner, with ...cluster.SnapshotAt) (int64, error) {
	return c.swap([]cluster.OwnerSwap{{Volume: vol, Revision: rev, Next: next}}, with)
}

func (c *control) SwapOwners(_ context.Context, swaps []cluster.OwnerSwap, with ...cluster.SnapshotAt) error {
	_, err := c.swap(swaps, with)
	return err
}

func (c *control) swap(swaps []cluster.OwnerSwap, with []cluster.SnapshotAt) (int64, error) {
	if err := c.reach(); err != nil {
		return 0, err
	}
	err := cluster.ErrConflict
	var now int64
	c.change(func(s *cluster.State) {
		moved := func(x cluster.SnapshotAt) bool { return s.Snapshots[x.UUID].Revision != x.Revision }
		other := func(x cluster.OwnerSwap) bool {
			o := s.Owners[x.Volume]
			return o == nil || o.Revision != x.Revision
		}
		if slices.ContainsFunc(swaps, other) || slices.ContainsFunc(with, moved) {
			return
		}
		for _, x := range swaps {
			s.Owners[x.Volume] = &cluster.OwnerAt{Owner: x.Next.Clone(), Revision: s.Revision}
		}
		for _, x := range with {
			if x.Revision = s.Revision; x.State == cluster.SnapshotGone {
				delete(s.Snapshots, x.UUID)
			} else {
				s.Snapshots[x.UUID] = &x
			}
		}
		now, err = s.Revision, nil
	})
	return now, err
}

// world is a cluster of nodes in this process, with real sockets and files.
type world struct {
	t       testing.TB
	dir     string
	ctl     *control
	id      cluster.UUID
	running map[cluster.NodeID]*run
	audit   gateway.AuditOptions
	keys    gateway.Keys
	inMem   map[string]*blockdev.Mem  // devices in memory, by path
	broken  map[cluster.DeviceID]bool // not to be checked when their node has stopped
}

type run struct {
	node *Node
	stop context.CancelFunc
	done chan error
}

const deviceSize = 128 << 20

func newWorld(t testing.TB, nodes, copies int) *world {
	w := &world{t: t, dir: t.TempDir(), id: cluster.UUID{1, 2, 3}, running: map[cluster.NodeID]*run{},
		inMem: map[string]*blockdev.Mem{}, broken: map[cluster.DeviceID]bool{}}
	m := &cluster.Map{Epoch: 1, Nodes: map[cluster.NodeID]*cluster.Node{},
		Devices: map[cluster.DeviceID]*cluster.Device{}, Pools: map[string]*cluster.Pool{}}
	pool := &cluster.Pool{ID: 1, Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: copies - 1,
		Domain: cluster.DomainNode, ChunkSize: 256 << 10, StripeUnit: 16 << 10}
	for i := 1; i <= nodes; i++ {
		n := cluster.NodeID(i)
		m.Nodes[n] = &cluster.Node{Number: n, Name: fmt.Sprint("n", i),
			Addresses: cluster.Addresses{Host: freeport.Addr(t), Peer: freeport.Addr(t)}}
		d := &cluster.Device{Number: cluster.DeviceID(i), UUID: cluster.UUID{9, byte(i)}, Node: n, Weight: 1,
			State: cluster.DeviceOnline, Path: filepath.Join(w.dir, fmt.Sprint("disk", i)), Size: deviceSize}
		m.Devices[d.Number] = d
		pool.Members = append(pool.Members, cluster.Member{Device: d.Number, Weight: 1,
			Domain: fmt.Sprintf("az/rack/%d", n)})
		w.format(d)
		m.Voters.Nodes = append(m.Voters.Nodes, n)
	}
	m.Pools["p"] = pool
	w.ctl = &control{changed: make(chan struct{}), state: &cluster.State{Revision: 1, Map: m,
		Volumes: map[cluster.VolumeKey]*cluster.Volume{}, Owners: map[cluster.VolumeKey]*cluster.OwnerAt{},
		Snapshots: map[cluster.UUID]*cluster.SnapshotAt{}}}
	t.Cleanup(func() {
		for n := range w.running {
			w.stop(n)
		}
		for _, m := range w.inMem {
			_ = m.Close()
		}
	})
	return w
}

// memory is a device in memory that outlives the nodes which open and close it.
type memory struct{ *blockdev.Mem }

func (memory) Close() error { return nil }

// inMemory makes a device one in memory, which can be made to fail.
func (w *world) inMemory(id cluster.DeviceID, size int64) *blockdev.Mem {
	d := w.ctl.Newest().Map.Devices[id]
	d.Path = fmt.Sprint("memory", id)
	d.Size = uint64(size)
	m := blockdev.NewMem(blockdev.MemOptions{Size: size, VolatileCache: true})
	w.inMem[d.Path] = m
	w.format(d)
	return m
}

func (w *world) openDevice(path string) (blockdev.Device, error) {
	if m := w.inMem[path]; m != nil {
		return memory{m}, nil
	}
	return blockdev.OpenFile(path, blockdev.FileOptions{Create: deviceSize})
}

func (w *world) format(d *cluster.Device) {
	dev, err := w.openDevice(d.Path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer dev.Close()
	if err := pagestore.Format(context.Background(), dev,
		pagestore.FormatOptions{ClusterID: w.id, DeviceUUID: d.UUID}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) start(n cluster.NodeID) { w.run(n, w.build(n)) }

// startAll starts nodes 1 to n.
func (w *world) startAll(n cluster.NodeID) {
	for i := range n {
		w.start(i + 1)
	}
}

// build makes a node that does nothing yet.
func (w *world) build(n cluster.NodeID) *Node {
	log := logrus.New()
	log.SetOutput(io.Discard)
	if testing.Verbose() {
		log.SetOutput(w.t.Output())
	}
	rec := w.ctl.Newest().Map.Nodes[n]
	node, err := New(Options{Self: n, ClusterID: w.id, Secret: []byte("a secret of the cluster, 32 byte"),
		DataDir: filepath.Join(w.dir, fmt.Sprint("data", n)), Hosts: rec.Addresses.Host, Peers: rec.Addresses.Peer,
		States: w.ctl, Arbiter: w.ctl, Patience: 2 * time.Second, Log: log,
		OpenDevice: w.openDevice, Audit: w.audit, Keys: w.keys})
	if err != nil {
		w.t.Fatal(err)
	}
	return node
}

func (w *world) run(n cluster.NodeID, node *Node) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{node: node, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- node.Run(ctx) }()
	w.running[n] = r
}

func (w *world) stop(n cluster.NodeID) {
	r := w.running[n]
	delete(w.running, n)
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			w.t.Errorf("node %d: %v", n, err)
		}
	case <-time.After(30 * time.Second):
		w.t.Errorf("node %d does not stop", n)
		return
	}
	w.check(n)
}

// check verifies the devices of a node that has stopped.
func (w *world) check(n cluster.NodeID) {
	w.t.Helper()
	for id, d := range w.ctl.Newest().Map.Devices {
		if d.Node != n || w.broken[id] {
			continue
		}
		dev, err := w.openDevice(d.Path)
		if err != nil {
			w.t.Errorf("device %d: %v", id, err)
			continue
		}
		if _, err := pagestore.Check(context.Background(), dev, pagestore.CheckOptions{Data: true}); err != nil {
			w.t.Errorf("device %d after node %d has stopped: %v", id, n, err)
		}
		if err := dev.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

const testHost = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001"

// create makes a volume and says how to attach it.
func (w *world) create(size uint64) (*cluster.Volume, initiator.VolumeConfig) {
	return w.createBy(&cluster.Volume{Name: "v", Pool: "p", Size: size, Hosts: []string{testHost}}, 1)
}

// createBy makes a volume that a node is to own.
func (w *world) createBy(v *cluster.Volume, owner cluster.NodeID) (*cluster.Volume, initiator.VolumeConfig) {
	w.ctl.change(func(s *cluster.State) {
		v.Key = cluster.VolumeKeyAfter(s.LastSerial)
		s.LastSerial = v.Key.Serial()
		v.UUID = cluster.UUID{7, byte(v.Key.VUID), byte(v.Key.Generation)}
		s.Volumes[v.Key] = v
		s.Owners[v.Key] = &cluster.OwnerAt{Owner: cluster.Owner{Gateway: owner}, Revision: s.Revision}
	})
	cfg := initiator.VolumeConfig{}
	cfg.SubNQN, cfg.HostNQN, cfg.HostID = cluster.VolumeNQN(v.UUID), testHost, [16]byte{1}
	for _, n := range w.ctl.Newest().Map.SortedNodes() {
		cfg.Portals = append(cfg.Portals, n.Addresses.Host)
	}
	return v, cfg
}

// until waits for a condition; every wait of a test is bounded by it.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	end := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			w.t.Fatalf("timeout: %s; owners %+v", what, w.owners())
		}
		<-tick.C
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) owners() (out []cluster.Owner) {
	for _, o := range w.ctl.Newest().Owners {
		out = append(out, o.Owner)
	}
	return out
}

func (w *world) owner(v *cluster.Volume) cluster.Owner { return w.ctl.Newest().Owners[v.Key].Owner }

// healing is what the owner of a volume says of it; the zero value while nobody serves it.
func (w *world) healing(vol *cluster.Volume) cluster.VolumeStats {
	o := w.owner(vol)
	r := w.running[o.Gateway]
	if r == nil {
		return cluster.VolumeStats{}
	}
	for _, s := range r.node.Stats().Volumes {
		if s.Key == vol.Key && s.Epoch == o.Epoch {
			return s
		}
	}
	return cluster.VolumeStats{}
}

// whole reports that the owner of a volume serves and has nothing left to heal.
func (w *world) whole(vol *cluster.Volume) bool {
	s := w.healing(vol)
	return s.State == "serving" && len(s.Down) == 0 && s.Away == 0
}
