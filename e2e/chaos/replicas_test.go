//go:build e2e

package chaos

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
)

const sectorsPerBlock = model.BlockSize / sectorSize

// readThroughOwners reads every volume through its owner, moves it, and reads it again.
func (w *world) readThroughOwners() {
	seen := map[*volume][]string{}
	for i := range w.cluster.Nodes {
		for _, v := range w.volumes {
			owner := w.cluster.Owner(v.ID).Name
			if slices.Contains(seen[v], owner) {
				continue
			}
			seen[v] = append(seen[v], owner)
			if err := v.verify(v.host); err != nil {
				w.t.Fatalf("%s read through %s: %v", v.Name, owner, err)
			}
		}
		n := w.cluster.Owner(w.volumes[i%len(w.volumes)].ID)
		n.Stop()
		for _, v := range w.volumes {
			w.cluster.Owner(v.ID)
		}
		n.Restart()
		w.whole()
	}
	for _, v := range w.volumes {
		w.t.Logf("%s was read in full through %v", v.Name, seen[v])
	}
}

// place of a block on the devices, as the page store numbers it.
type row struct {
	page  uint64
	block uint16
}

// compareReplicas stops all nodes and looks at the disks themselves.
func (w *world) compareReplicas() {
	stores := map[string]*pagestore.Store{}
	for _, n := range w.cluster.Nodes {
		n.Stop()
	}
	for _, n := range w.cluster.Nodes {
		if n == w.dead {
			continue
		}
		s, err := w.openStore(n)
		if err != nil {
			w.t.Fatalf("%s: %v", n.Name, err)
		}
		stores[n.Name] = s
	}
	for _, v := range w.volumes {
		if err := w.compare(v, stores); err != nil {
			w.t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// openStore checks a disk that no daemon uses, with all its data, and opens it.
func (w *world) openStore(n *cluster.Node) (*pagestore.Store, error) {
	dev, err := blockdev.OpenFile(w.memory[n].Path(), blockdev.FileOptions{})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = dev.Close() })
	rep, err := pagestore.Check(w.t.Context(), dev, pagestore.CheckOptions{Data: true})
	if err != nil {
		return nil, err
	}
	if len(rep.BadData) > 0 {
		return nil, fmt.Errorf("bad data: %v", rep.BadData)
	}
	s, err := pagestore.Open(w.t.Context(), dev,
		pagestore.Options{ClusterID: rep.ClusterID, DeviceUUID: rep.DeviceUUID})
	if err == nil {
		w.t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// compare holds the copies of a volume against each other and against the history.
func (w *world) compare(v *volume, stores map[string]*pagestore.Store) error {
	held := map[row]map[string]pagemap.Entry{}
	for name, s := range stores {
		buf := make([]pagemap.Entry, 1024)
		var after pagemap.Cursor
		for more := true; more; {
			var n int
			n, after, more = s.List(v.key(), pagestore.ListAll, after, buf)
			for _, e := range buf[:n] {
				k := row{e.Page, e.Block}
				if held[k] == nil {
					held[k] = map[string]pagemap.Entry{}
				}
				held[k][name] = e
			}
		}
	}
	content := make([]byte, volumeSize)
	full := 0
	for k, copies := range held {
		data, err := v.sameCopies(copies, w.dead != nil)
		if err != nil {
			return fmt.Errorf("page %d block %d: %w: %+v", k.page, k.block, err, copies)
		}
		if !data {
			continue
		}
		full++
		at := k.page*blocksPerPage + uint64(k.block)
		for name, e := range copies {
			if err := readBlock(stores[name], v.key(), e, content[at*model.BlockSize:][:model.BlockSize]); err != nil {
				return fmt.Errorf("page %d block %d on %s: %w", k.page, k.block, name, err)
			}
			break // the others have the same checksum, and it was verified
		}
	}
	w.t.Logf("%s: %d of %d blocks hold data, all copies are alike", v.Name, full, volumeSectors/sectorsPerBlock)
	op := v.read(0, volumeSectors)
	return v.done(op, 0, content)
}

// blocksPerPage of a pool of whole copies with the default chunk size.
const blocksPerPage = 256 << 10 / model.BlockSize

// sameCopies tells whether a row holds data; the error says how its copies differ. One of them may be missing
// when a disk is dead.
func (v *volume) sameCopies(copies map[string]pagemap.Entry, dead bool) (data bool, err error) {
	var first *pagemap.Entry
	n := 0
	for _, e := range copies {
		switch e.State {
		case pagemap.Tombstone:
			continue
		case pagemap.Data:
		default:
			return false, fmt.Errorf("state %v", e.State)
		}
		if first == nil {
			first = &e
		}
		if n++; e.W != first.W || e.CRC != first.CRC {
			return false, fmt.Errorf("copies differ")
		}
	}
	if n != 0 && n != v.copies && !(dead && n == v.copies-1) {
		return false, fmt.Errorf("%d copies of %d", n, v.copies)
	}
	return n != 0, nil
}

func readBlock(s *pagestore.Store, vol model.VolumeKey, e pagemap.Entry, data []byte) error {
	done := make(chan error, 1)
	r := &pagestore.Read{Extent: pagemap.Extent{Vol: vol, Page: e.Page, Column: e.Column, First: e.Block, N: 1},
		Data: data, Info: make([]pagestore.BlockInfo, 1), Done: func(_ *pagestore.Read, err error) { done <- err }}
	s.Read(r)
	if err := <-done; err != nil {
		return err
	}
	if r.Info[0].State != pagemap.Data {
		return fmt.Errorf("state %v", r.Info[0].State)
	}
	return nil
}
