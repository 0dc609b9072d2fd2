package pagestore

import (
	"fmt"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// A checkpoint must never outgrow its ring, so what it may hold is bounded before anything is accepted. A
// version takes about 13 bytes there, a chunk about 6; but numbers are as long as they need, so the bounds
// follow the largest numbers that were ever accepted. mapShare bytes per data block are enough for any map of
// a device that is full of whole chunks, and in practice for one version per chunk.

// room is what limits admission besides free blocks.
type room struct {
	versions   uint64 // with data
	tombstones uint64
	chunks     uint64 // that may be new
	volumes    uint64 // requests that may each make a volume
	meta       uint64 // bytes, of view lists and marks too
	marks      int    // bytes, of those that came with writes
}

// largest remembers the largest numbers that the map holds, or held.
type largest struct {
	vol   cluster.VolumeKey
	page  uint64
	table chunk.Residency
	low   chunk.Residency // of alternates
	w     cluster.Seq
	cols  pagemap.Columns
}

// place takes the numbers of a chunk in.
func (x *largest) place(e *pagemap.Extent) {
	x.vol.VUID, x.vol.Generation = max(x.vol.VUID, e.Vol.VUID), max(x.vol.Generation, e.Vol.Generation)
	x.page, x.table = max(x.page, e.Page), max(x.table, e.Residency>>40)
	x.low = max(x.low, e.Residency&(1<<40-1))
}

// version takes those of a version in.
func (x *largest) version(w cluster.Seq, c pagemap.Columns) {
	x.w = max(x.w, w)
	x.cols.Set |= c.Set
	x.cols.Mask |= c.Mask
}

// deltaSize bounds the length of the difference of two numbers up to v.
func deltaSize(v uint64) uint64 { return uint64(bits.Len64(v)+1+6) / 7 }

// tombSize bounds what a tombstone takes of an image, in bytes, dataSize what a version with data does.
func (x *largest) tombSize() uint64 {
	return 2 + deltaSize(uint64(x.w)) + size(uint64(x.cols.Set)) + size(uint64(x.cols.Mask))
}

func (x *largest) dataSize(blocks uint64) uint64 { return x.tombSize() + deltaSize(blocks) + 4 }

func size(v uint64) uint64 { return uint64(uvarintSize(v)) }

// bound is how many bytes the images of the map may take, with what was promised and what is wanted.
func (s *Store) bound(x *largest, want *room) uint64 {
	u, f := s.mu.m.Usage(), &s.mu.inFlight
	head := 1 + size(uint64(x.vol.VUID)) + size(uint64(x.vol.Generation)) + deltaSize(x.page) + 1 +
		size(uint64(x.table)<<1|1) + 3
	if x.low != 0 {
		head += size(uint64(x.low))
	}
	versions, tombs := u.Live+f.versions+want.versions, u.Tombstones+f.tombstones+want.tombstones
	chunks := u.Chunks + u.Gone + f.chunks + want.chunks + (versions+tombs)/partVersions
	return x.dataSize(s.lay.dataBlocks)*versions + x.tombSize()*tombs + head*chunks
}

// admit reserves room for a request, so that a checkpoint always fits its ring.
func (s *Store) admit(r *request) error {
	var want room
	grows := false // the metadata and what is kept of volumes
	x, limit := s.mu.largest, s.lay.mapBytes()
	for i := range r.recs {
		rec := &r.recs[i]
		switch {
		case rec.Kind == pagemap.Put && rec.Tombstone:
			want.tombstones += uint64(rec.N)
		case rec.Kind == pagemap.Put:
			want.versions += uint64(rec.N)
			limit = s.lay.mapBytes() - s.lay.mapBytes()/16 // tombstones give space back, so they have a reserve
		}
		if rec.Kind == pagemap.Put || rec.Kind == pagemap.Renumber {
			x.place(&rec.Extent)
			want.chunks++
			for _, c := range rec.Columns {
				x.version(rec.W, c)
			}
		}
		if _, known := s.mu.m.Volume(rec.Vol); !known &&
			(rec.Kind == pagemap.Put || rec.Kind == pagemap.Settle || rec.Kind == pagemap.View) {
			want.volumes, grows = 1, true
		}
		if rec.Kind == pagemap.View || rec.Kind == pagemap.Stable {
			want.meta += uint64(recordSize(rec))
			grows = true
		}
	}
	for i := range r.metas {
		if e := &r.metas[i]; !e.gone {
			want.meta += uint64(e.size())
			old := s.mu.meta.byKey[e.key]
			grows = grows || old == nil || e.size() > old.size()
		}
	}
	if want.chunks+want.volumes > 0 {
		if got := s.bound(&x, &want); got > limit {
			s.mu.ckpt.wanted = s.mu.m.Usage().Gone > 0 // it frees what the ends of chunks take
			return fmt.Errorf("%w: the map may take %d bytes of a checkpoint, room for %d", ErrFull, got, limit)
		}
	}
	if aux := s.aux() + want.meta + want.volumes*volumeSize; grows && aux > s.lay.auxBytes() {
		return fmt.Errorf("%w: metadata of %d bytes, room for %d", ErrFull, aux, s.lay.auxBytes())
	}
	r.room, s.mu.largest = want, x
	s.mu.inFlight.add(&want, 1)
	return nil
}

// Crowded reports that the room for metadata is nearly used up: what is left is for volumes that are known.
// Each change of theirs needs some for a moment, and a volume that is new takes it bit by bit.
func (s *Store) Crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aux()+s.lay.auxBytes()/crowdedShare+crowdedBytes > s.lay.auxBytes()
}

const (
	crowdedShare = 16      // this part of the room is for volumes that are known,
	crowdedBytes = 2 << 10 // and so much more
)

// volumeSize bounds what a checkpoint needs for a new volume, in bytes.
const volumeSize = 1 + maxVolume + 15

// add adds to what is promised, or takes away with a factor of -1.
func (f *room) add(r *room, factor int) {
	n := uint64(factor)
	f.versions += n * r.versions
	f.tombstones += n * r.tombstones
	f.chunks += n * r.chunks
	f.volumes += n * r.volumes
	f.meta += n * r.meta
}

// aux is what volumes and metadata take of a checkpoint, those on their way included.
func (s *Store) aux() uint64 {
	f := &s.mu.inFlight
	return s.mu.meta.bytes + f.meta + notesSize(s.mu.m.Usage().Notes) + f.volumes*volumeSize + uint64(f.marks)
}

// leave gives back what admit reserved.
func (s *Store) leave(r *request) {
	s.mu.inFlight.add(&r.room, -1)
	r.room = room{}
}
