package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// ring is where these tests keep their one cluster key; nil: it is lost.
type ring struct{ key *seal.ClusterKey }

// Cipher implements Keys.
func (r ring) Cipher(_ context.Context, e *cluster.Encryption) (*seal.Cipher, error) {
	if r.key == nil {
		return nil, errors.New("nobody has cluster key k1")
	}
	d, err := r.key.Unwrap(e.Wrapped, e.DataKey)
	if err != nil {
		return nil, err
	}
	return seal.NewCipher(d)
}

// encrypt makes the volume of the world an encrypted one.
func (w *world) encrypt() {
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
	w.sealed, w.keys = e, ring{&k}
}

// io carries one command out, on blocks of 512 B.
func (w *world) io(n cluster.NodeID, opcode uint8, lba, blocks uint64, data []byte) nvme.Status {
	var cmd nvme.Command
	cmd.SetOpcode(opcode)
	cmd.SetNSID(1)
	cmd.SetSLBA(lba)
	cmd.SetNLB(uint32(blocks))
	done := make(chan nvme.Status, 1)
	w.volume(n).Submit(nvmet.NewRequest(cmd, data, func(_ *nvmet.Request, st nvme.Status, _, _ uint32) {
		done <- st
	}))
	return <-done
}

// marked fills blocks of 512 B with a text that a search finds.
func marked(blocks int, what string) []byte {
	var b bytes.Buffer
	for i := range blocks * cluster.LBASize / 32 {
		fmt.Fprintf(&b, "plaintext %-10s %010d\n", what, i)
	}
	return b.Bytes()
}

// onDisk reports whether a text is anywhere on the devices.
func (w *world) onDisk(text string) bool {
	for _, d := range w.disks {
		all := make([]byte, 16<<20)
		d.Peek(0, all)
		if bytes.Contains(all, []byte(text)) {
			return true
		}
	}
	return false
}

// TestEncryptedVolume: hosts read what they wrote in every size, at every place, over blocks that were never
// written and that were deallocated; on the devices there is no plaintext of it.
func TestEncryptedVolume(t *testing.T) { testStored(t, (*world).encrypt) }

// TestCompressedVolume and TestCompressedEncryptedVolume: the same, and less is written than hosts write.
func TestCompressedVolume(t *testing.T) { testStored(t, func(w *world) { w.packed = true }) }

func TestCompressedEncryptedVolume(t *testing.T) {
	testStored(t, func(w *world) {
		w.packed = true
		w.encrypt()
	})
}

func testStored(t *testing.T, policy func(*world)) {
	inBubble(t, func(t *testing.T, w *world) {
		policy(w)
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		model := make([]byte, 1<<20)
		write := func(lba uint64, blocks int) {
			t.Helper()
			data := marked(blocks, fmt.Sprint(lba))
			copy(model[lba*512:], data)
			if st := w.io(1, nvme.OpWrite, lba, uint64(blocks), data); st != nvme.Success {
				t.Fatalf("write %d+%d: %v", lba, blocks, st)
			}
		}
		zero := func(lba uint64, blocks int) {
			t.Helper()
			clear(model[lba*512 : (lba+uint64(blocks))*512])
			if st := w.io(1, nvme.OpWriteZeroes, lba, uint64(blocks), nil); st != nvme.Success {
				t.Fatalf("write zeroes %d+%d: %v", lba, blocks, st)
			}
		}
		check := func(lba uint64, blocks int) {
			t.Helper()
			got := make([]byte, blocks*512)
			if st := w.io(1, nvme.OpRead, lba, uint64(blocks), got); st != nvme.Success {
				t.Fatalf("read %d+%d: %v", lba, blocks, st)
			}
			if !bytes.Equal(got, model[lba*512:][:len(got)]) {
				t.Fatalf("read %d+%d: differs", lba, blocks)
			}
		}
		everything := func() {
			t.Helper()
			for lba := uint64(0); lba < 2048; lba += 256 {
				check(lba, 256)
			}
		}
		everything() // nothing was written: zeroes, not what zeroes decrypt to
		write(3, 1)  // a part of a block that is absent
		everything()
		write(8, 8)
		write(127, 130) // over a page's end, with parts at both ends
		write(1024, 128)
		everything()
		zero(10, 1) // a part of a block
		zero(1032, 64)
		write(1040, 1)
		zero(1200, 3)
		everything()
		check(3, 1)
		check(1040, 2)
		if w.onDisk("plaintext") && w.sealed != nil {
			t.Error("there is plaintext on the devices")
		}
		if st := w.gateway(1).Stats(); w.packed != (st[0].Packed > 0 && st[0].Packed < 70) {
			t.Errorf("%d %% of what was written is stored", st[0].Packed)
		}
		w.stop(1)
		w.start(2) // another node has the key, too
		w.until("served by node 2", func() bool { return w.serving(2) })
		got := make([]byte, 512)
		if st := w.io(2, nvme.OpRead, 1040, 1, got); st != nvme.Success {
			t.Errorf("node 2 reads: %v", st)
		}
		if !bytes.Equal(got, model[1040*512:][:512]) {
			t.Error("node 2 reads something else")
		}
	})
}

// TestPlainVolumeIsFoundOnDisk shows that the search of TestEncryptedVolume can find something.
func TestPlainVolumeIsFoundOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		st := w.io(1, nvme.OpWrite, 8, 8, marked(8, "x"))
		if st != nvme.Success || !w.onDisk("plaintext") {
			t.Errorf("not found, %v", st)
		}
	})
}

// TestWithoutTheKeyNothingIsServed: a node that restarts without the key refuses the volume and says why;
// with the key it serves what was written before.
func TestWithoutTheKeyNothingIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.encrypt()
		keys := w.keys
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.write(1, 7)
		w.stop(1)
		w.change(func(o *cluster.Owner) { o.Gateway = 1 })
		w.keys = ring{}
		g := w.start(1)
		w.until("the node says why", func() bool {
			st := g.Stats()
			return len(st) == 1 && st[0].State == "refusing" && strings.Contains(st[0].Reason, "cluster key k1") &&
				st[0].Epoch == w.owner().Epoch
		})
		if w.serving(1) {
			t.Fatal("served without the key")
		}
		st := w.io(1, nvme.OpWrite, 8, 8, marked(8, "leak"))
		if st != nvme.AsymmetricAccessInaccessible {
			t.Errorf("a write without the key: %v", st)
		}
		if w.onDisk("plaintext") {
			t.Error("there is plaintext on the devices")
		}
		w.stop(1)
		w.keys = keys
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.read(1, 7)
	})
}

// TestDestroyedKeyEndsService: once the wrapped key is gone from the record, the volume is served nowhere.
func TestDestroyedKeyEndsService(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.encrypt()
		w.start(1)
		w.until("served", func() bool { return w.serving(1) })
		w.write(1, 7)
		gone := *w.sealed
		gone.Wrapped = nil
		w.mu.Lock()
		w.sealed = &gone
		w.mu.Unlock()
		w.watch()
		w.until("not served", func() bool { return !w.serving(1) })
		w.must(w.host(1, nvme.OpRead, 0), nvme.AsymmetricAccessInaccessible)
		pass(lostAfter)
		if w.serving(1) {
			t.Error("served again")
		}
	})
}
