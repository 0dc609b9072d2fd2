package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// ring has one cluster key.
type ring struct{ key seal.ClusterKey }

// Cipher implements gateway.Keys.
func (r ring) Cipher(_ context.Context, e *cluster.Encryption) (*seal.Cipher, error) {
	d, err := r.key.Unwrap(e.Wrapped, e.DataKey)
	if err != nil {
		return nil, err
	}
	return seal.NewCipher(d)
}

// encrypt makes the key of a volume that nodes started from now on can open.
func (w *world) encrypt() *cluster.Encryption {
	w.t.Helper()
	d, err := seal.NewDataKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := seal.NewClusterKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	e := &cluster.Encryption{Algorithm: cluster.AES256XTS, DataKey: cluster.UUID{1}, ClusterKey: "k1"}
	if e.Wrapped, err = k.Wrap(d, e.DataKey, rand.Reader); err != nil {
		w.t.Fatal(err)
	}
	w.keys = ring{k}
	return e
}

// TestClonesAreCompressedOrNot: whatever the parent is, and in the clear or encrypted, a clone shows it,
// takes parts of its stripe units over, and stands alone in the end.
func TestClonesAreCompressedOrNot(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		for _, parent := range []string{"", cluster.CompressionS2} {
			for _, clone := range []string{"", cluster.CompressionS2} {
				t.Run(fmt.Sprintf("encrypted %v, %q of %q", encrypted, clone, parent), func(t *testing.T) {
					testStoredClone(t, encrypted, parent, clone)
				})
			}
		}
	}
}

func testStoredClone(t *testing.T, encrypted bool, parent, clone string) {
	w := newWorld(t, 3, 2)
	var sealed *cluster.Encryption
	if encrypted {
		sealed = w.encrypt()
	}
	w.startAll(3)
	const size = 1 << 20
	vol, cfg := w.createBy(&cluster.Volume{Name: "v", Pool: "p", Size: size, Hosts: []string{testHost},
		Storing: cluster.Storing{Compression: parent}, Encryption: sealed}, 1)
	v := open(t, cfg)
	want := bytes.Repeat([]byte("ninety nine bottles of beer on the wall "), size/40+1)[:size]
	fill(want[size/4:size/2], 1, 1) // noise
	clear(want[size*3/4:])          // never written
	w.must(v.Write(t.Context(), want[:size*3/4], 0))
	rec := w.snapshot(vol, 1)
	w.must(v.Write(t.Context(), make([]byte, size), 0)) // what comes later is not for the clone

	c, ccfg := w.createBy(&cluster.Volume{Name: "c", Pool: "p", Size: size, Hosts: []string{testHost},
		Storing: cluster.Storing{Compression: clone}, Encryption: sealed,
		Parent: &cluster.Parent{Volume: rec.Volume, Key: rec.Key, Snapshot: rec.UUID, Pin: rec.Pin,
			Size: rec.Size}}, 2)
	host := open(t, ccfg)
	w.shows(host, want, "at first")
	write := func(off, n int) {
		t.Helper()
		fill(want[off:off+n], off, 3)
		w.must(host.Write(t.Context(), want[off:off+n], int64(off)))
	}
	write(512, 1024) // a part of a block
	write(40<<10, 4<<10)
	write(size/4+8<<10, 16<<10)
	write(size*3/4+4<<10, 512) // where the parent has nothing
	w.must(host.WriteZeroes(t.Context(), 128<<10, 20<<10))
	clear(want[128<<10 : 148<<10])
	w.shows(host, want, "partly written")
	if got := w.healing(c).Packed > 0; got != (clone != "") {
		t.Errorf("its owner compresses: %v", got)
	}
	w.stop(2)
	w.shows(host, want, "under the next owner")
	asked := *c.Parent
	asked.Flatten = true
	w.reparent(c.Key, &asked)
	w.until("the clone is flat", func() bool { o := w.owner(c); return o.Independent() })
	w.reparent(c.Key, nil)
	w.shows(host, want, "without its parent")
	if encrypted {
		w.hides([]byte("bottles of beer"))
	}
}

// hides looks for a text on all devices.
func (w *world) hides(plaintext []byte) {
	w.t.Helper()
	for _, d := range w.ctl.Newest().Map.Devices {
		if all, err := os.ReadFile(d.Path); err != nil || bytes.Contains(all, plaintext) {
			w.t.Errorf("plaintext lies on %s, or %v", d.Path, err)
		}
	}
}
