//go:build e2e

package chaos

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
)

// readThroughOwners takes every node away once, which moves the volumes it owns, and reads what the others
// must be able to give without it.
func (w *world) readThroughOwners() {
	seen := map[*volume][]string{}
	for _, n := range w.cluster.Nodes {
		n.Stop()
		w.state[n] = down
		for _, v := range w.verifyEnduring() {
			if owner := w.cluster.Owner(v.ID).Name; !slices.Contains(seen[v], owner) {
				seen[v] = append(seen[v], owner)
			}
		}
		w.restart(n)
		w.whole()
	}
	for _, v := range w.verifyEnduring() {
		w.t.Logf("%s was read in full without each of the nodes it can spare, through %v", v.Name, seen[v])
	}
}

// verifyEnduring reads all volumes whose I/O must go on now, in full.
func (w *world) verifyEnduring() (read []*volume) {
	w.t.Helper()
	for _, v := range w.volumes {
		if !w.endures(v) {
			continue
		}
		if err := v.verify(v.host); err != nil {
			w.t.Fatalf("%s: %v", v.Name, err)
		}
		read = append(read, v)
	}
	return read
}

// lookAtDisks stops all nodes and looks at the disks themselves: every page store must be sound, and every n
// columns of a row must yield what hosts read (rows_test.go).
func (w *world) lookAtDisks() {
	stores := map[string]*pagestore.Store{}
	for _, n := range w.cluster.Nodes {
		n.Stop()
	}
	for _, n := range w.cluster.Nodes {
		for _, d := range n.Disks {
			if w.dead[d] {
				continue
			}
			s, err := w.openStore(d)
			if err != nil {
				w.t.Fatalf("%s: %v", d.Name, err)
			}
			stores[d.Name] = s
		}
	}
	for _, v := range w.volumes {
		if err := w.readDisks(v, stores); err != nil {
			w.t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// openStore checks a disk that no daemon uses, with all its data, and opens it.
func (w *world) openStore(d *cluster.Disk) (*pagestore.Store, error) {
	dev, err := blockdev.OpenFile(d.Path(), blockdev.FileOptions{})
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
