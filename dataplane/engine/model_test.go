package engine

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// version is one version of a row on a model device.
type version struct {
	w      cluster.Seq
	state  chunk.State
	data   []byte
	crc    uint32
	rotten bool // bad because it rotted; else because the power went while it was written
}

func (v version) String() string { return fmt.Sprintf("%v:%d", v.w, v.state) }

// modelDevice is a chunk server with one device and one volume, in memory. It keeps versions as the page
// store must and runs the suite of all chunk servers (TestModelDevice).
type modelDevice struct {
	up        bool // answers
	served    bool // else the device is not attached: "not mine"
	slow      bool // its requests are delivered late
	failing   int  // requests that will still get an I/O error
	capacity  int  // versions with data
	pageSize  int  // entries per list
	fence     uint32
	residency uint32
	settled   uint32
	stable    map[uint32]cluster.Seq
	rows      map[rowKey][]version // newest last
}

func newModelDevice() *modelDevice {
	m := &modelDevice{up: true, served: true, residency: 1, capacity: 1000, pageSize: chunk.MaxEntries}
	m.empty()
	return m
}

func (m *modelDevice) empty() {
	m.settled, m.stable, m.rows = 0, map[uint32]cluster.Seq{}, map[rowKey][]version{}
}

func (m *modelDevice) isStable(w cluster.Seq) bool {
	return w.Epoch() < m.settled || w <= m.stable[w.Epoch()]
}

func (m *modelDevice) used() (n int) {
	for _, vs := range m.rows {
		for _, v := range vs {
			if v.state != chunk.Tombstone {
				n++
			}
		}
	}
	return n
}

// do carries out a request.
func (m *modelDevice) do(r *chunk.Request) chunk.Status {
	s := m.admit(r)
	if s == chunk.OK {
		s = m.run(r)
	}
	r.Known, r.Free = m.fence, uint64(max(m.capacity-m.used(), 0))
	return s
}

// admit checks fence and residency, and begins a residency.
func (m *modelDevice) admit(r *chunk.Request) chunk.Status {
	switch {
	case !m.served:
		return chunk.NotMine
	case r.Validate() != nil:
		return chunk.Invalid
	case m.failing > 0:
		m.failing--
		return chunk.IOError
	case r.Epoch < m.fence:
		return chunk.Fenced
	}
	m.fence = max(m.fence, r.Epoch)
	if r.Op == chunk.OpFence {
		return chunk.OK
	}
	if r.Op == chunk.OpBegin && r.Residency > m.residency {
		m.residency = r.Residency
		m.empty()
	}
	if r.Residency != m.residency {
		return chunk.NotMine
	}
	return chunk.OK
}

func (m *modelDevice) run(r *chunk.Request) chunk.Status {
	switch r.Op {
	case chunk.OpBegin:
		return chunk.OK
	case chunk.OpSettle:
		m.settled = max(m.settled, r.Epoch)
	case chunk.OpList:
		m.list(r)
	case chunk.OpWrite, chunk.OpTombstone:
		if s := m.check(r); s != chunk.OK {
			return s
		}
	}
	if r.Stable.Counter() > 0 {
		m.stable[r.Stable.Epoch()] = max(m.stable[r.Stable.Epoch()], r.Stable)
	}
	if r.Op != chunk.OpList {
		for i := range int(r.Count) {
			m.block(r, i, rowKey{r.Page, r.Block + uint16(i)})
		}
	}
	m.prune()
	return chunk.OK
}

// check refuses a write as a whole: spoiled on the way, other content under the same w, no space.
func (m *modelDevice) check(r *chunk.Request) chunk.Status {
	missing := 0
	for i := range int(r.Count) {
		var crc uint32
		if r.Op == chunk.OpWrite {
			crc = r.Blocks[i].CRC
			if crc32.Checksum(r.Data[i*cluster.BlockSize:(i+1)*cluster.BlockSize], castagnoli()) != crc {
				return chunk.Invalid
			}
		}
		at := m.find(rowKey{r.Page, r.Block + uint16(i)}, r.W)
		switch {
		case at == nil:
			missing++
		case (at.state == chunk.Tombstone) != (r.Op == chunk.OpTombstone) || at.crc != crc:
			return chunk.Invalid
		}
	}
	if r.Op == chunk.OpWrite && m.used()+missing > m.capacity {
		return chunk.Full
	}
	return chunk.OK
}

func (m *modelDevice) find(k rowKey, w cluster.Seq) *version {
	for i := range m.rows[k] {
		if m.rows[k][i].w == w {
			return &m.rows[k][i]
		}
	}
	return nil
}

// newest gives the newest version, an absent one when there is none.
func (m *modelDevice) newest(k rowKey) version {
	if vs := m.rows[k]; len(vs) > 0 {
		return vs[len(vs)-1]
	}
	return version{}
}

func (m *modelDevice) block(r *chunk.Request, i int, k rowKey) {
	vs := m.rows[k]
	switch r.Op {
	case chunk.OpRead:
		r.Blocks[i] = chunk.BlockInfo{}
		for _, v := range slices.Backward(vs) {
			if r.W == 0 || v.w <= r.W {
				r.Blocks[i] = chunk.BlockInfo{W: v.w, CRC: v.crc, State: v.state}
				copy(r.Data[i*cluster.BlockSize:(i+1)*cluster.BlockSize], v.data)
				return
			}
		}
	case chunk.OpUndo:
		m.rows[k] = slices.DeleteFunc(vs, func(v version) bool { return v.w == r.W })
	case chunk.OpWrite, chunk.OpTombstone:
		v := version{w: r.W, state: chunk.Tombstone}
		if r.Op == chunk.OpWrite {
			v.state, v.crc = chunk.Data, r.Blocks[i].CRC
			v.data = slices.Clone(r.Data[i*cluster.BlockSize : (i+1)*cluster.BlockSize])
		}
		if held := m.find(k, r.W); held != nil {
			*held = v
			return
		}
		vs = append(vs, v)
		slices.SortFunc(vs, func(a, b version) int { return cmp.Compare(a.w, b.w) })
		m.rows[k] = vs
	}
}

// prune frees what a newer stable version replaced, as package pagemap does, and a lone stable tombstone.
func (m *modelDevice) prune() {
	for k, vs := range m.rows {
		var by cluster.Seq
		kept := vs[:0:0]
		for _, v := range slices.Backward(vs) {
			if by != 0 && (v.w.Epoch() < m.settled || v.w.Epoch() == by.Epoch()) {
				continue
			}
			if v.state != chunk.Bad && m.isStable(v.w) {
				by = v.w
			}
			kept = append(kept, v)
		}
		slices.Reverse(kept)
		if len(kept) == 1 && kept[0].state == chunk.Tombstone && m.isStable(kept[0].w) {
			kept = nil
		}
		if m.rows[k] = kept; len(kept) == 0 {
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
	order := func(a, b chunk.Cursor) int {
		return cmp.Or(cmp.Compare(a.Page, b.Page), cmp.Compare(a.Block, b.Block), cmp.Compare(b.W, a.W))
	}
	slices.SortFunc(all, func(a, b chunk.Entry) int { return order(a.Cursor, b.Cursor) })
	after := r.After
	if r.Mode == chunk.ListAll && after.W != 0 {
		after.W = 1 // the block was listed, whatever its newest version is now
	}
	if after != (chunk.Cursor{}) {
		all = slices.DeleteFunc(all, func(x chunk.Entry) bool { return order(x.Cursor, after) <= 0 })
	}
	n := min(len(all), int(r.Count), m.pageSize)
	r.Entries, r.More = append(r.Entries[:0], all[:n]...), n < len(all)
}

// tear carries out a write as a power cut may: each block is written, or torn, or not there.
func (m *modelDevice) tear(r *chunk.Request, chance func(n int) int) {
	if r.Op != chunk.OpWrite || m.admit(r) != chunk.OK || m.check(r) != chunk.OK {
		return
	}
	for i := range int(r.Count) {
		k := rowKey{r.Page, r.Block + uint16(i)}
		if m.find(k, r.W) != nil {
			continue
		}
		switch chance(3) {
		case 0:
			m.block(r, i, k)
		case 1:
			m.block(r, i, k)
			v := m.find(k, r.W)
			v.state, v.data = chunk.Bad, nil
		}
	}
}

// local is a model device as chunkdtest wants it.
type local struct{ m *modelDevice }

func (l local) Submit(r *chunk.Request) {
	if r.Device != chunkdtest.Device {
		r.Complete(chunk.NotMine)
		return
	}
	r.Complete(l.m.do(r))
}

// TestModelDevice holds the model to what real chunk servers must do.
func TestModelDevice(t *testing.T) {
	chunkdtest.Run(t, func(*testing.T) chunkdtest.Submitter { return local{newModelDevice()} })
}
