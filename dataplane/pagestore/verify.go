package pagestore

import (
	"cmp"
	"errors"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/scrub"
)

// verifyPiece bounds the versions that one step of a Verifier reads: 2 MiB.
const verifyPiece = 512

// Verifier reads what a store holds, every version with data, so that each block passes its checksum or is
// known to be bad. Not safe for concurrent use.
type Verifier struct {
	s       *Store
	read    Read
	entries []pagemap.Entry
	done    chan error
}

// NewVerifier makes a verifier with the buffers of one chunk, 1 MiB.
func (s *Store) NewVerifier() *Verifier {
	v := &Verifier{s: s, done: make(chan error, 1), entries: make([]pagemap.Entry, verifyPiece)}
	v.read.Data = make([]byte, pagemap.MaxChunkBlocks*BlockSize)
	v.read.Info = make([]BlockInfo, pagemap.MaxChunkBlocks)
	v.read.Done = func(_ *Read, err error) { v.done <- err }
	return v
}

// Next reads the versions behind a position, of one chunk at most, and waits for the device. ErrClosed.
func (v *Verifier) Next(after scrub.Position) (scrub.Found, error) {
	vol, entries := v.s.nextVersions(after, v.entries[:verifyPiece])
	if v.s.Closed() {
		return scrub.Found{}, ErrClosed
	}
	if len(entries) == 0 {
		return scrub.Found{End: true}, nil
	}
	last := entries[len(entries)-1]
	out := scrub.Found{At: scrub.Position{Vol: vol, Cursor: last.Cursor}}
	for len(entries) > 0 {
		n := 1 // what lies in one run of blocks is read at once
		for n < len(entries) && entries[n].Block <= entries[n-1].Block+1 {
			n++
		}
		left, err := v.pass(vol, entries[:n], &out)
		if errors.Is(err, ErrNotMine) { // the chunk has got another number: the next pass reads it
			return out, nil
		}
		if err != nil {
			return out, err
		}
		entries = append(left, entries[n:]...)
	}
	return out, nil
}

// nextVersions lists versions behind a position, of one chunk.
func (s *Store) nextVersions(after scrub.Position, buf []pagemap.Entry) (cluster.VolumeKey, []pagemap.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vol := after.Vol
	n, _, _ := s.mu.m.List(vol, ListVersions, after.Cursor, buf)
	for _, next := range s.volumesBehind(vol, n > 0) {
		if n, _, _ = s.mu.m.List(next, ListVersions, pagemap.Cursor{}, buf); n > 0 {
			vol = next
			break
		}
	}
	for i := range buf[:n] {
		if e := &buf[i]; e.Page != buf[0].Page || e.Column != buf[0].Column {
			return vol, buf[:i]
		}
	}
	return vol, buf[:n]
}

// volumesBehind lists the volumes behind one, or none when they are not needed.
func (s *Store) volumesBehind(vol cluster.VolumeKey, needless bool) []cluster.VolumeKey {
	if needless {
		return nil
	}
	return slices.DeleteFunc(s.mu.m.Volumes(), func(k cluster.VolumeKey) bool { return !vol.Less(k) })
}

// pass reads consecutive blocks as the newest version among the entries sees them, and returns the entries
// that are still to be read: those that others hide.
func (v *Verifier) pass(vol cluster.VolumeKey, entries []pagemap.Entry, out *scrub.Found) ([]pagemap.Entry,
	error) {
	first, n := entries[0].Block, entries[len(entries)-1].Block-entries[0].Block+1
	w := slices.MaxFunc(entries, func(a, b pagemap.Entry) int { return cmp.Compare(a.W, b.W) }).W
	r := &v.read
	r.Extent = pagemap.Extent{Vol: vol, Page: entries[0].Page, Residency: entries[0].Residency,
		Column: entries[0].Column, First: first, N: n}
	r.AsOf, r.Data, r.Info = w, r.Data[:int(n)*BlockSize], r.Info[:n]
	v.s.Read(r)
	if err := <-v.done; err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e pagemap.Entry) bool {
		info := &r.Info[e.Block-first]
		if e.W != info.W {
			return e.W == w // freed meanwhile
		}
		if info.State != pagemap.Tombstone {
			out.Bytes += BlockSize
		}
		if info.State.Spoiled() {
			out.Bad++
			if e.State == pagemap.Data {
				out.New++
			}
		}
		return true
	}), nil
}
