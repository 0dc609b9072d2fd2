package pagemap

import (
	"cmp"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ListKind selects what List returns.
type ListKind uint8

// The kinds of lists.
const (
	ListAll      ListKind = iota // the newest version of every block
	ListUnstable                 // every version that is not stable
	ListVersions                 // every version
	ListChunks                   // one entry for every chunk, with the last cursor of it: Block 255, W 0
)

// compare orders cursors: page, column, block, then descending W.
func (c Cursor) compare(o Cursor) int {
	return cmp.Or(cmp.Compare(c.Page, o.Page), cmp.Compare(c.Column, o.Column), cmp.Compare(c.Block, o.Block),
		cmp.Compare(o.W, c.W))
}

// behind reports whether e lies behind a cursor. W 0 stands before every version of its block.
func (c Cursor) behind(e Cursor) bool {
	if c.W == 0 {
		c.W = ^cluster.Seq(0)
		return c.compare(e) <= 0
	}
	return c.compare(e) < 0
}

// List fills buf with versions of a volume behind the cursor (the zero Cursor: from the start), in Cursor
// order. It returns how many, the cursor to go on from, and whether there may be more.
func (m *Map) List(key cluster.VolumeKey, kind ListKind, after Cursor,
	buf []Entry) (n int, next Cursor, more bool) {
	v := m.vols[key]
	if v == nil || len(buf) == 0 {
		return 0, after, v != nil
	}
	switch kind {
	case ListUnstable:
		n, more = m.listUnstable(v, after, buf)
	case ListChunks:
		n, more = m.listChunks(v, after, buf)
	default:
		n, more = m.listVersions(v, kind == ListAll, after, buf)
	}
	if n > 0 {
		after = buf[n-1].Cursor
	}
	return n, after, more
}

func (n *node) entry(c chunkMap, block uint16) Entry {
	k := c.key()
	return Entry{Cursor: Cursor{Page: k.page, Column: k.column, Block: block, W: n.w}, Residency: c.residency(),
		State: n.state(), CRC: n.crc, Columns: n.columns}
}

func (m *Map) listChunks(v *volume, after Cursor, buf []Entry) (n int, more bool) {
	c := v.index.seek(chunkKey{})
	if after != (Cursor{}) {
		c = v.index.after(chunkKey{after.Page, after.Column})
	}
	for ; c.ok() && n < len(buf); c = v.index.after(c.key()) {
		k := c.key()
		buf[n] = Entry{Cursor: Cursor{Page: k.page, Column: k.column, Block: MaxChunkBlocks - 1},
			Residency: c.residency()}
		n++
	}
	return n, c.ok()
}

func (m *Map) listVersions(v *volume, newest bool, after Cursor, buf []Entry) (n int, more bool) {
	start := chunkKey{after.Page, after.Column}
	for c := v.index.seek(start); c.ok(); c = v.index.after(c.key()) {
		first := 0
		if c.is(start) {
			first = int(after.Block)
		}
		for b := m.t.nextBlock(c, first); b >= 0; b = m.t.nextBlock(c, b+1) {
			for ver := range m.t.versions(c, uint16(b)) {
				e := ver.entry(c, uint16(b))
				done := newest && c.is(start) && b == first && after.W != 0 // this block was listed
				if !done && after.behind(e.Cursor) {
					if n == len(buf) {
						return n, true
					}
					buf[n] = e
					n++
				}
				if newest {
					break
				}
			}
		}
	}
	return n, false
}

// listUnstable costs time in proportion to all unstable versions of the volume: those since the last mark.
func (m *Map) listUnstable(v *volume, after Cursor, buf []Entry) (n int, more bool) {
	var all []Entry
	for _, h := range v.unstable {
		for _, u := range h.refs {
			c := v.index.get(u.chunkKey)
			for b := u.first; c.ok() && b < u.first+u.n; b++ {
				p := m.t.find(c, b, u.w)
				if p.id == 0 {
					continue
				}
				n := m.t.node(p.id)
				if e := n.entry(c, b); n.w == u.w && n.flags&flagQueued != 0 && after.behind(e.Cursor) {
					all = append(all, e)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return a.Cursor.compare(b.Cursor) })
	all = slices.CompactFunc(all, func(a, b Entry) bool { return a.Cursor == b.Cursor })
	n = copy(buf, all)
	return n, n < len(all)
}
