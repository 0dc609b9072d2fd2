package node

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// TestAThickVolumeFindsRoom: the hosts of a thin volume fill a pool; what is set aside for a thick one is not
// theirs, so that it can be written in full, and anew, when nothing else is free.
func TestAThickVolumeFindsRoom(t *testing.T) {
	const device, thick, piece = 64 << 20, 16 << 20, 1 << 20
	w := newWorld(t, 2, 2)
	w.inMemory(1, device)
	w.inMemory(2, device)
	w.startAll(2)
	_, thickAt := w.createBy(&cluster.Volume{Name: "thick", Pool: "p", Size: thick, Hosts: []string{testHost},
		Storing: cluster.Storing{Thick: true}}, 1)
	_, thinAt := w.create(2 * device)
	fills, counts := open(t, thinAt), open(t, thickAt)
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i), 0x5c, byte(i >> 8)}, piece)[:piece] }
	written := 0
	for ; ; written++ {
		err := fills.Write(t.Context(), content(written), int64(written)*piece)
		var status nvme.Status
		if errors.As(err, &status) && status.Code() == nvme.CapacityExceeded {
			break
		}
		w.must(err)
	}
	if limit := (device - thick) / piece; written > limit || written < limit/2 {
		t.Errorf("%d MiB of a thin volume were written, of %d that are not set aside", written, limit)
	}
	for round := range 3 {
		for i := range thick / piece {
			if err := counts.Write(t.Context(), content(i+round), int64(i)*piece); err != nil {
				t.Fatalf("round %d, MiB %d of the thick volume: %v", round, i, err)
			}
		}
	}
	got := make([]byte, piece)
	for i := range written {
		if err := fills.Read(t.Context(), got, int64(i)*piece); err != nil || !bytes.Equal(got, content(i)) {
			t.Fatalf("MiB %d of the thin volume: %v", i, err)
		}
	}
}
