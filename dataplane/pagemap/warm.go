package pagemap

// Warm asks memory for what puts will look at. One after the other they wait for several loads each, of which
// every one says where the next is. Here each pass makes one of them for all records; none waits for another,
// and hardly a branch depends on what it gives, so a processor has many under way. Nothing changes but the
// time that it takes to apply the records.
func (m *Map) Warm(recs []Record) {
	at := m.warm[:0]
	for i := range recs {
		if r := &recs[i]; r.Kind == Put {
			if v := m.vols[r.Vol]; v != nil && v.index.hash.n > 0 {
				m.warmth += v.index.hash.warm(r.key())
				at = append(at, warmBlock{v: v, key: r.key(), block: r.First})
			}
		}
	}
	found := at[:0]
	for _, b := range at {
		if b.c = b.v.index.get(b.key); b.c.ok() {
			found = append(found, b)
		}
	}
	at = found
	for i := range at {
		if p := m.t.packedOf(at[i].c); p != nil {
			m.warmth += p[0] + p[max(p.unit(int(at[i].block)), 0)]
		}
	}
	for i := range at {
		if u, ok := m.t.rest(at[i].c, at[i].block); ok {
			m.warmth += m.alloc.free[u.loc/8] // it is going to be free
		}
	}
	m.warm = at
}

// warmBlock is a block on its way through the passes.
type warmBlock struct {
	v     *volume
	key   chunkKey
	c     chunkMap
	block uint16
}

// warm loads what find begins with.
func (x *hash) warm(key chunkKey) byte {
	tag := key.tag()
	return x.t.pages.at(x.segs[x.dir[tag>>(32-x.depth)]].page)[tag%segmentSlots*8]
}
