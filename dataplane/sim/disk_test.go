package sim

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
)

// local is a disk as chunkdtest wants it.
type local struct{ d *Disk }

func (l local) Submit(r *chunk.Request) {
	if r.Device != chunkdtest.Device {
		r.Complete(chunk.NotMine)
		return
	}
	r.Complete(l.d.Do(r))
}

// TestDisk holds the simulated disk to what real chunk servers must do.
func TestDisk(t *testing.T) {
	chunkdtest.Run(t, func(t *testing.T) chunkdtest.Submitter {
		d, err := NewDisk(1500)
		if err != nil {
			t.Fatal(err)
		}
		return local{d}
	})
}
