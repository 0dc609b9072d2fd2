package pagemap

import "github.com/ashlar-storage/ashlar/dataplane/chunk"

// table is what a map keeps outside the Go heap.
type table struct {
	slabs   slabs
	chunks  pool   // 32 bytes for each chunk
	nodes   pool   // versions in flux
	pages   pool   // of the indexes of volumes
	blobs   *arena // packed chunks, and who is in flux in a chunk
	scratch scratch
}

const (
	chunkSize = 32
	pageSize  = 2048
)

func newTable(blocks uint64, mem Memory) *table {
	t := &table{}
	shift, step := slabSizes(blocks)
	t.slabs = slabs{mem: mem, shift: shift, step: step}
	t.chunks, t.nodes = newPool(&t.slabs, chunkSize), newPool(&t.slabs, nodeSize)
	t.pages = newPool(&t.slabs, pageSize)
	t.blobs = newArena(&t.slabs, func(owner uint32, from, to handle) {
		c := t.at(owner)
		switch from {
		case c.packed():
			c.setPacked(to)
		case c.flux():
			c.setFlux(to)
		default:
			panic("pagemap: a blob moved that its chunk does not have")
		}
	})
	return t
}

// chunkMap is the map of one chunk: a record of the table. The zero value is no chunk.
//
//	 0      8                      16       20     24               32
//	+------+----------------------+--------+------+----------------+
//	| page | residency,column<<56 | packed | flux | snap,fresh<<56 |
//	+------+----------------------+--------+------+----------------+
//
// packed and flux are blobs: the versions that are at rest, and the heads of the lists of those that are not.
// snap is the last snapshot that has this chunk already, or does not need it. fresh counts the blocks changed
// since somebody looked whether the chunk consists of runs.
type chunkMap struct {
	id uint32
	b  []byte
}

const (
	columnShift = 56
	freshShift  = 56
)

func (t *table) at(id uint32) chunkMap { return chunkMap{id, t.chunks.at(id)} }

func (t *table) newChunk(key chunkKey, r chunk.Residency) chunkMap {
	id, b := t.chunks.get()
	c := chunkMap{id, b}
	put64(b, key.page)
	put64(b[8:], uint64(r)|uint64(key.column)<<columnShift)
	return c
}

func (c chunkMap) ok() bool { return c.id != 0 }

func (c chunkMap) key() chunkKey { return chunkKey{get64(c.b), c.b[15]} }

func (c chunkMap) is(key chunkKey) bool { return get64(c.b) == key.page && c.b[15] == key.column }

func (c chunkMap) residency() chunk.Residency {
	return chunk.Residency(get64(c.b[8:]) & (1<<columnShift - 1))
}

func (c chunkMap) setResidency(r chunk.Residency) {
	put64(c.b[8:], uint64(r)|uint64(c.b[15])<<columnShift)
}

func (c chunkMap) packed() handle     { return handle(get32(c.b[16:])) }
func (c chunkMap) setPacked(h handle) { put32(c.b[16:], uint32(h)) }
func (c chunkMap) flux() handle       { return handle(get32(c.b[20:])) }
func (c chunkMap) setFlux(h handle)   { put32(c.b[20:], uint32(h)) }

func (c chunkMap) snap() uint64     { return get64(c.b[24:]) & (1<<freshShift - 1) }
func (c chunkMap) setSnap(n uint64) { put64(c.b[24:], n|uint64(c.b[31])<<freshShift) }

// written counts one more change of a block, as far as it can count.
func (c chunkMap) written()   { c.b[31] += 1 - c.b[31]/255 }
func (c chunkMap) fresh() int { return int(c.b[31]) }
func (c chunkMap) looked()    { c.b[31] = 0 }
