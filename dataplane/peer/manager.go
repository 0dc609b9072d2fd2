package peer

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	opFence uint8 = 0xa0
	opRenew uint8 = 0xa2
	opYield uint8 = 0xa4

	opSuspect uint8 = 0xac
	opGroup   uint8 = 0xb2

	groupAnswer = 16 // bytes
)

// Options of a Manager.
type Options struct {
	Cluster cluster.UUID
	Self    cluster.NodeID
	Secret  []byte        // the cluster secret
	TLS     *tls.Config   // nil: in clear; ServerName is filled in
	Timeout time.Duration // of one request; default 2 s
	Log     *logrus.Entry
}

// Manager keeps an association to every other node. Safe for concurrent use.
type Manager struct {
	o     Options
	calls sync.Pool

	mu    sync.RWMutex
	peers map[cluster.NodeID]*remote
}

type remote struct {
	addr string
	path *initiator.Path
}

// NewManager starts without peers.
func NewManager(o Options) *Manager {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	m := &Manager{o: o, peers: make(map[cluster.NodeID]*remote)}
	m.calls.New = func() any { return newCall() }
	return m
}

// Update follows the cluster map: connects to new nodes, drops removed ones, moves with changed addresses.
func (m *Manager) Update(nodes map[cluster.NodeID]*cluster.Node) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for id, r := range m.peers {
		if n := nodes[id]; n == nil || n.Addresses.Peer != r.addr {
			delete(m.peers, id)
			go r.path.Close()
		}
	}
	for id, n := range nodes {
		if id == m.o.Self || m.peers[id] != nil {
			continue
		}
		r, err := m.connect(n)
		if err != nil {
			errs = append(errs, fmt.Errorf("node %d: %w", id, err))
			continue
		}
		m.peers[id] = r
	}
	return errors.Join(errs...)
}

func (m *Manager) connect(n *cluster.Node) (*remote, error) {
	log := m.o.Log.WithField("peer", n.Number)
	path, err := initiator.NewPath(initiator.PathConfig{
		Config: initiator.Config{
			Addr: n.Addresses.Peer, SubNQN: cluster.NodeNQN(m.o.Cluster, n.Number),
			HostNQN: cluster.NodeNQN(m.o.Cluster, m.o.Self), HostID: hostID(m.o.Cluster, m.o.Self),
			Dial:   m.dialer(n.Number),
			Queues: 1, Depth: initiator.MaxDepth, Timeout: m.o.Timeout, KATO: 4 * time.Second, Secret: m.o.Secret,
		},
		Backoff: initiator.Backoff{First: 50 * time.Millisecond, Max: time.Second},
		OnUp:    func(*initiator.Client) { log.Info("connected to node") },
		OnDown:  func(_ *initiator.Client, err error) { log.WithError(err).Warn("lost connection to node") },
	})
	if err != nil {
		return nil, err
	}
	return &remote{addr: n.Addresses.Peer, path: path}, nil
}

// dialer reaches a node over TLS; nil without.
func (m *Manager) dialer(n cluster.NodeID) func(context.Context, string) (net.Conn, error) {
	if m.o.TLS == nil {
		return nil
	}
	d := &tls.Dialer{NetDialer: &net.Dialer{}, Config: m.o.TLS.Clone()}
	d.NetDialer.SetMultipathTCP(false)
	d.Config.ServerName = cluster.NodeServerName(m.o.Cluster, n)
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

// hostID is the same for every process of a node, so that its next association replaces the former one.
func hostID(id cluster.UUID, n cluster.NodeID) (out [16]byte) {
	sum := sha256.Sum256([]byte(cluster.NodeNQN(id, n)))
	copy(out[:], sum[:])
	return out
}

func (m *Manager) peer(n cluster.NodeID) *remote {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.peers[n]
}

// Connected reports whether a node can be reached now.
func (m *Manager) Connected(n cluster.NodeID) bool {
	r := m.peer(n)
	return r != nil && r.path.Client() != nil
}

// call is one command to a peer with its buffers; calls are reused, so that a request allocates nothing.
type call struct {
	io      initiator.IO
	r       *chunk.Request
	records []byte
	pool    *sync.Pool
}

func newCall() *call {
	c := &call{}
	c.io.Done = c.done
	return c
}

// Submit sends a chunk request to a device of another node, or to its gateway. It comes back through its
// Completer exactly once.
func (m *Manager) Submit(node cluster.NodeID, r *chunk.Request) {
	r.Result = chunk.Result{Entries: r.Entries[:0]}
	p := m.peer(node)
	if p == nil {
		r.Complete(chunk.Unreachable)
		return
	}
	c := m.calls.Get().(*call)
	c.r, c.pool = r, &m.calls
	chunk.EncodeCommand(r, &c.io.Cmd)
	records := c.buffer(chunk.RecordsSize(r))
	chunk.PutRequest(records, r)
	if r.Op.Moves() {
		c.io.Data, c.io.Tail = r.Data[:r.Bytes()], records
	} else {
		c.io.Data, c.io.Tail = records, nil
	}
	p.path.Submit(&c.io)
}

func (c *call) buffer(n int) []byte {
	if cap(c.records) < n {
		c.records = make([]byte, n)
	}
	c.records = c.records[:n]
	return c.records
}

// done takes the completion apart and gives the request back.
func (c *call) done(io *initiator.IO) {
	r := c.r
	n := chunk.DecodeResult(r, io.Completion.Status, io.Completion.DW0, io.Completion.DW1)
	if r.Status == chunk.OK {
		if chunk.GetAnswer(c.records, n, r) != nil {
			r.Status = chunk.Invalid
		} else if r.Op.Moves() && r.Op != chunk.OpWrite {
			verify(r)
		}
	}
	c.r = nil
	c.io.Data, c.io.Tail = nil, nil
	c.pool.Put(c)
	r.Completer.ChunkDone(r)
}

// verify checks what came over the network against the CRC that travelled with it (promise P3): a block that
// was spoiled on the way counts as bad, and is read again from another copy.
func verify(r *chunk.Request) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for i := range r.Blocks[:r.Count] {
		b := r.Data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
		if r.Blocks[i].State == chunk.Data && crc32.Checksum(b, table) != r.Blocks[i].CRC {
			r.Blocks[i].State = chunk.Bad
		}
	}
}

// Renew renews the lease with a voter.
func (m *Manager) Renew(ctx context.Context, node cluster.NodeID, since lease.Position) (lease.Reply, error) {
	var cmd nvme.Command
	cmd.SetOpcode(opRenew)
	cmd.SetNSID(1)
	cmd.SetCDW10(uint32(since.Boot))
	cmd.SetCDW11(uint32(since.Boot >> 32))
	cmd.SetCDW12(uint32(since.Seq))
	cmd.SetCDW13(uint32(since.Seq >> 32))
	cmd.SetCDW14(uint32(m.o.Self))
	b := make([]byte, lease.ReplySize)
	if _, err := m.do(ctx, node, &cmd, b); err != nil {
		return lease.Reply{}, fmt.Errorf("renew lease with node %d: %w", node, err)
	}
	return lease.DecodeReply(b)
}

// Fence has a voter store a fence, and asks how long it has not heard of a gateway.
func (m *Manager) Fence(ctx context.Context, node cluster.NodeID, f lease.Fence,
	about cluster.NodeID) (lease.Fenced, error) {
	cmd := fenceCommand(opFence, f)
	cmd.SetCDW13(uint32(about))
	c, err := m.do(ctx, node, &cmd, nil)
	if err != nil {
		return lease.Fenced{}, fmt.Errorf("store fence at node %d: %w", node, err)
	}
	return lease.Fenced{Known: c.DW0, Silent: int64(c.DW1) * 1e6}, nil
}

// Yield asks a node to give a volume up. No error: it answers no host for it any more.
func (m *Manager) Yield(ctx context.Context, node cluster.NodeID, f lease.Fence) error {
	cmd := fenceCommand(opYield, f)
	if _, err := m.do(ctx, node, &cmd, nil); err != nil {
		return fmt.Errorf("ask node %d to yield volume %v: %w", node, f.Vol, err)
	}
	return nil
}

// Suspect tells a node that owns a volume that a device holds bad blocks of it.
func (m *Manager) Suspect(ctx context.Context, node cluster.NodeID, vol cluster.VolumeKey,
	device cluster.DeviceID) error {
	var cmd nvme.Command
	cmd.SetOpcode(opSuspect)
	cmd.SetNSID(1)
	cmd.SetCDW10(vol.VUID)
	cmd.SetCDW11(vol.Generation)
	cmd.SetCDW12(uint32(device))
	if _, err := m.do(ctx, node, &cmd, nil); err != nil {
		return fmt.Errorf("tell node %d of bad blocks of volume %v: %w", node, vol, err)
	}
	return nil
}

// GroupStep has the node that owns a volume do a step of a group snapshot. When it fails, it may have been
// done.
func (m *Manager) GroupStep(ctx context.Context, node cluster.NodeID, vol cluster.VolumeKey, round uint64,
	step cluster.GroupStep) (cluster.Pinned, error) {
	var cmd nvme.Command
	cmd.SetOpcode(opGroup)
	cmd.SetNSID(1)
	cmd.SetCDW10(vol.VUID)
	cmd.SetCDW11(vol.Generation)
	cmd.SetCDW12(uint32(round))
	cmd.SetCDW13(uint32(round >> 32))
	cmd.SetCDW14(uint32(step))
	b := make([]byte, groupAnswer)
	if _, err := m.do(ctx, node, &cmd, b); err != nil {
		return cluster.Pinned{}, fmt.Errorf("step %d of a group snapshot at node %d, volume %v: %w", step, node,
			vol, err)
	}
	return cluster.Pinned{Pin: cluster.Seq(binary.LittleEndian.Uint64(b)),
		Revision: int64(binary.LittleEndian.Uint64(b[8:]))}, nil
}

func fenceCommand(opcode uint8, f lease.Fence) (cmd nvme.Command) {
	cmd.SetOpcode(opcode)
	cmd.SetNSID(1)
	cmd.SetCDW10(f.Vol.VUID)
	cmd.SetCDW11(f.Vol.Generation)
	cmd.SetCDW12(f.Epoch)
	return cmd
}

// do runs one command and waits for it.
func (m *Manager) do(ctx context.Context, node cluster.NodeID, cmd *nvme.Command,
	data []byte) (nvme.Completion, error) {
	p := m.peer(node)
	if p == nil {
		return nvme.Completion{}, fmt.Errorf("node %d is not known", node)
	}
	done := make(chan nvme.Completion, 1)
	p.path.Submit(&initiator.IO{Cmd: *cmd, Data: data, Done: func(io *initiator.IO) { done <- io.Completion }})
	select {
	case c := <-done:
		return c, c.Status.Err()
	case <-ctx.Done():
		return nvme.Completion{}, ctx.Err() // the buffer stays with the command, which ends by its own timeout
	}
}

// Refused proves that the process of a node is gone: its host is alive and refuses a connection that was
// begun after this call. A process keeps its listener open for as long as it serves anything.
func (m *Manager) Refused(ctx context.Context, node cluster.NodeID) bool {
	p := m.peer(node)
	if p == nil {
		return false
	}
	var d net.Dialer
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", p.addr)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// Close ends all associations. Requests under way come back first.
func (m *Manager) Close() error {
	m.mu.Lock()
	peers := m.peers
	m.peers = nil
	m.mu.Unlock()
	for _, p := range peers {
		p.path.Close()
	}
	return nil
}
