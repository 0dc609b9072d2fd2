package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// The test world: model devices that keep versions as a chunk server must, a network that delivers requests
// in any order and loses answers, an owner record with compare-and-swap, owners that crash and zombies that
// go on.

type version struct {
	w     cluster.Seq
	state chunk.State
	data  []byte
	crc   uint32
}

type modelDevice struct {
	up        bool
	fence     uint32
	residency uint32
	settled   uint32
	stable    map[uint32]cluster.Seq
	rows      map[rowKey][]version // newest last
}

func newModelDevice() *modelDevice {
	return &modelDevice{up: true, residency: 1, stable: map[uint32]cluster.Seq{}, rows: map[rowKey][]version{}}
}

func (m *modelDevice) isStable(w cluster.Seq) bool {
	return w.Epoch() < m.settled || w <= m.stable[w.Epoch()] && m.stable[w.Epoch()] != 0
}

func (m *modelDevice) do(r *chunk.Request) chunk.Status {
	if r.Op == chunk.OpFence {
		if r.Epoch < m.fence {
			return chunk.Fenced
		}
		m.fence = r.Epoch
		return chunk.OK
	}
	if r.Epoch < m.fence {
		return chunk.Fenced
	}
	m.fence = r.Epoch
	if r.Op == chunk.OpBegin {
		if r.Residency > m.residency {
			m.residency, m.rows = r.Residency, map[rowKey][]version{}
		}
		return chunk.OK
	}
	if r.Residency != m.residency {
		return chunk.NotMine
	}
	m.stable[r.Epoch] = max(m.stable[r.Epoch], r.Stable)
	switch r.Op {
	case chunk.OpSettle:
		m.settled = max(m.settled, r.Epoch)
	case chunk.OpList:
		m.list(r)
	case chunk.OpStable:
	default:
		for i := 0; i < int(r.Count); i++ {
			m.block(r, i, rowKey{r.Page, r.Block + uint16(i)})
		}
	}
	m.prune()
	return chunk.OK
}

func (m *modelDevice) block(r *chunk.Request, i int, k rowKey) {
	vs := m.rows[k]
	at := slices.IndexFunc(vs, func(v version) bool { return v.w == r.W })
	switch r.Op {
	case chunk.OpRead:
		r.Blocks[i] = chunk.BlockInfo{}
		for j := len(vs) - 1; j >= 0; j-- {
			if v := vs[j]; r.W == 0 || v.w <= r.W {
				r.Blocks[i] = chunk.BlockInfo{W: v.w, CRC: v.crc, State: v.state}
				if v.state == chunk.Data {
					copy(r.Data[i*cluster.BlockSize:], v.data)
				}
				return
			}
		}
	case chunk.OpUndo:
		if at >= 0 {
			m.rows[k] = slices.Delete(vs, at, at+1)
		}
	case chunk.OpWrite, chunk.OpTombstone:
		v := version{w: r.W, state: chunk.Tombstone}
		if r.Op == chunk.OpWrite {
			v.state, v.crc = chunk.Data, r.Blocks[i].CRC
			v.data = slices.Clone(r.Data[i*cluster.BlockSize : (i+1)*cluster.BlockSize])
		}
		switch {
		case at >= 0 && vs[at].state == chunk.Bad:
			vs[at] = v
		case at < 0 && !slices.ContainsFunc(vs, func(o version) bool { return o.w > r.W && m.isStable(o.w) }):
			vs = append(vs, v)
			slices.SortFunc(vs, func(a, b version) int { return cmpUint(uint64(a.w), uint64(b.w)+1) })
			slices.SortFunc(vs, func(a, b version) int {
				if a.w < b.w {
					return -1
				}
				return 1
			})
			m.rows[k] = vs
		}
	}
}

// prune frees versions below a newer stable one, as a page store does; a lone stable tombstone goes too.
func (m *modelDevice) prune() {
	for k, vs := range m.rows {
		for len(vs) > 1 && m.isStable(vs[1].w) {
			vs = vs[1:]
		}
		if len(vs) == 1 && vs[0].state == chunk.Tombstone && m.isStable(vs[0].w) {
			vs = nil
		}
		if m.rows[k] = vs; len(vs) == 0 {
			delete(m.rows, k)
		}
	}
}

func (m *modelDevice) list(r *chunk.Request) {
	var all []chunk.Entry
	for k, vs := range m.rows {
		for i, v := range vs {
			if r.Mode == chunk.ListUnstable && !m.isStable(v.w) || r.Mode == chunk.ListAll && i == len(vs)-1 {
				all = append(all, chunk.Entry{Cursor: chunk.Cursor{Page: k.page, Block: k.block, W: v.w}, State: v.state})
			}
		}
	}
	slices.SortFunc(all, func(a, b chunk.Entry) int {
		if a.Page != b.Page {
			return cmpUint(a.Page, b.Page)
		}
		if a.Block != b.Block {
			return int(a.Block) - int(b.Block)
		}
		return cmpUint(uint64(a.W), uint64(b.W))
	})
	r.Entries = all
}

// pending is a request on its way to a device.
type pending struct {
	owner *Engine
	r     *chunk.Request
}

// ghost is what is left of a request whose sender has been told "unreachable": it may still arrive, until the
// device takes up a new session with that owner.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	cfg     Config
	devices map[cluster.DeviceID]*modelDevice
	net     []pending
	owner   cluster.Owner
	current *Engine
	zombies []*Engine
	records map[*Engine]*cluster.Owner
	hist    observed
	trace   []string
	rotted  int
}

const testBlocks = 24 // volume size in blocks: three pages of eight, in the test geometry

func newWorld(t *testing.T, seed int64, copies int) *world {
	m := &cluster.Map{Nodes: map[cluster.NodeID]*cluster.Node{}, Devices: map[cluster.DeviceID]*cluster.Device{}}
	w := &world{t: t, rng: rand.New(rand.NewSource(seed)), devices: map[cluster.DeviceID]*modelDevice{},
		records: map[*Engine]*cluster.Owner{}}
	pool := &cluster.Pool{Name: "p", Code: cluster.CodeReplica, Data: 1, Parity: copies - 1,
		Domain:    cluster.DomainNode,
		ChunkSize: cluster.MinChunkSize, StripeUnit: cluster.BlockSize}
	for i := 1; i <= copies+1; i++ {
		n, d := cluster.NodeID(i), cluster.DeviceID(i)
		m.Nodes[n] = &cluster.Node{Number: n}
		m.Devices[d] = &cluster.Device{Number: d, Node: n, Weight: 1, State: cluster.DeviceOnline}
		pool.Devices = append(pool.Devices, d)
		w.devices[d] = newModelDevice()
	}
	table, err := placement.New(pool, m)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = Config{Vol: cluster.VolumeKey{VUID: 7, Generation: 1}, Table: table,
		Geometry: stripe.Geometry{Data: 1, Parity: copies - 1, ChunkBlocks: 8}}
	w.hist.init()
	w.takeOver()
	return w
}

// takeOver makes a new owner; the old one goes on as a zombie that does not know.
func (w *world) takeOver() {
	if w.current != nil {
		w.zombies = append(w.zombies, w.current)
	}
	w.owner = w.owner.Clone()
	w.owner.Epoch++
	cfg := w.cfg
	cfg.Owner = w.owner.Clone()
	e, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.current = e
	w.logf("owner %d, out %v", w.owner.Epoch, w.owner.Out)
	w.drain(e)
}

func (w *world) logf(f string, a ...any) { w.trace = append(w.trace, fmt.Sprintf(f, a...)) }

// drain carries the engine's actions over into the world.
func (w *world) drain(e *Engine) {
	var r Ready
	e.Drain(&r)
	for _, s := range r.Sends {
		w.net = append(w.net, pending{owner: e, r: s})
	}
	if r.Record != nil {
		w.records[e] = r.Record
	}
	for _, op := range r.Done {
		w.hist.done(w.t, op)
	}
}

// deliver carries out one request on its way, or breaks it.
func (w *world) deliver(i int) {
	p := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	d := w.devices[p.r.Device]
	p.r.Status = chunk.Unreachable
	if d.up {
		p.r.Status = d.do(p.r)
		p.r.Free = 1000
	}
	w.logf("dev %d %#x vol-epoch %d page %d block %d+%d w %v -> %v", p.r.Device, uint8(p.r.Op), p.r.Epoch,
		p.r.Page,
		p.r.Block, p.r.Count, p.r.W, p.r.Status)
	p.owner.ChunkDone(p.r)
	w.drain(p.owner)
}

// down cuts a device off: each request on its way is carried out or not, and its sender learns neither.
func (w *world) down(id cluster.DeviceID) {
	w.logf("down %d", id)
	d := w.devices[id]
	d.up = false
	var keep, cut []pending
	for _, p := range w.net {
		if p.r.Device != id {
			keep = append(keep, p)
			continue
		}
		cut = append(cut, p)
	}
	w.net = keep
	for _, p := range cut {
		if w.rng.Intn(2) == 0 {
			d.do(p.r)
		}
		p.r.Status = chunk.Unreachable
		p.owner.ChunkDone(p.r)
		w.drain(p.owner)
	}
}

// record answers an engine's compare-and-swap.
func (w *world) record(e *Engine) {
	next := w.records[e]
	delete(w.records, e)
	ok := e == w.current
	if ok {
		w.owner = next.Clone()
	}
	w.logf("record of %d: %v out %v", next.Epoch, ok, next.Out)
	e.Recorded(ok)
	w.drain(e)
}

// stamp fills blocks with a number that tells which write made them.
func stamp(b []byte, n uint64) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], n)
	}
}
