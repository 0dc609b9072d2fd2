package gateway

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

type lentTo chan *chunk.Request

func (l lentTo) ChunkDone(r *chunk.Request) { l <- r }

// borrow asks a gateway for the first two blocks of the volume as of a pin, for a clone.
func (w *world) borrow(n cluster.NodeID, pin cluster.Seq) lentTo {
	done := make(lentTo, 1)
	w.gateway(n).Inherit(&chunk.Request{Op: chunk.OpInherit, Vol: key(), Epoch: 1, W: pin, Count: 2,
		Data: make([]byte, 2*cluster.BlockSize), Blocks: make([]chunk.BlockInfo, 2), Completer: done})
	return done
}

func (w *world) lends(done lentTo, want uint64) {
	w.t.Helper()
	r := <-done
	table := crc32.MakeTable(crc32.Castagnoli)
	if r.Status != chunk.OK || binary.LittleEndian.Uint64(r.Data) != want {
		w.t.Fatalf("lends %d: %v, want %d", binary.LittleEndian.Uint64(r.Data), r.Status, want)
	}
	for i, b := range r.Blocks {
		if at := i * cluster.BlockSize; b.State != chunk.Data ||
			b.CRC != crc32.Checksum(r.Data[at:at+cluster.BlockSize], table) {
			w.t.Errorf("block %d comes as %+v", i, b)
		}
	}
}

// TestTheOwnerLendsWhatAPinSees, and nobody else does; of other moments it lends nothing.
func TestTheOwnerLendsWhatAPinSees(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.start(2)
		w.write(1, 10)
		w.take(1)
		w.write(1, 20)
		pin := w.snap(1).Pin
		w.lends(w.borrow(1, pin), 10)
		for name, done := range map[string]lentTo{"who does not own it": w.borrow(2, pin),
			"what nothing pins": w.borrow(1, pin-1)} {
			if r := <-done; r.Status != chunk.NotMine {
				t.Errorf("%s: %v", name, r.Status)
			}
		}
		if r := <-w.borrow(1, 0); r.Status != chunk.Invalid {
			t.Errorf("no pin: %v", r.Status)
		}
		w.stop(1)
		w.until("serving", func() bool { return w.serving(2) })
		w.lends(w.borrow(2, pin), 10)
	})
}

// TestALenderAnswersInTime though its devices do not; what comes late touches nothing of the request.
func TestALenderAnswersInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.write(1, 10)
		w.take(1)
		w.stall(true)
		begin := time.Now()
		r := <-w.borrow(1, w.snap(1).Pin)
		if took := time.Since(begin); r.Status != chunk.NotMine || took != lendTimeout {
			t.Fatalf("%v after %v", r.Status, took)
		}
		for i := range r.Data {
			r.Data[i] = 7
		}
		w.stall(false)
		pass(tickEvery)
		for i := range r.Data {
			if r.Data[i] != 7 {
				t.Fatalf("byte %d was written after the answer", i)
			}
		}
		for range 3 { // what was used for it is used again
			w.lends(w.borrow(1, w.snap(1).Pin), 10)
		}
		if n := w.volume(1).lent.Load(); n != 0 {
			t.Errorf("%d reads are under way", n)
		}
	})
}

// TestALenderHasABound: beyond it, clones ask again later.
func TestALenderHasABound(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		w.take(1)
		w.stall(true)
		var all []lentTo
		for range maxLent {
			all = append(all, w.borrow(1, w.snap(1).Pin))
		}
		begin := time.Now()
		if r := <-w.borrow(1, w.snap(1).Pin); r.Status != chunk.NotMine || time.Since(begin) != 0 {
			t.Errorf("one too many: %v after %v", r.Status, time.Since(begin))
		}
		w.stall(false)
		for _, done := range all {
			w.lends(done, 0)
		}
	})
}

// TestACompressedVolumeLendsSealedBlocks: of an encrypted one a clone gets what it can open with the same
// key, and zeroes where nothing was written.
func TestACompressedVolumeLendsSealedBlocks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.packed = true
		w.encrypt()
		w.start(1)
		w.until("serving", func() bool { return w.serving(1) })
		data := marked(8, "lent")
		write := func(what []byte) {
			if st := w.io(1, nvme.OpWrite, 0, 8, bytes.Clone(what)); st != nvme.Success {
				t.Fatal(st)
			}
		}
		write(data)
		w.take(1)
		write(marked(8, "later"))
		r := <-w.borrow(1, w.snap(1).Pin)
		got := r.Data
		c, err := w.keys.Cipher(t.Context(), w.sealed)
		if err != nil || r.Status != chunk.OK {
			t.Fatalf("%v, %v", r.Status, err)
		}
		if bytes.Contains(got, []byte("plaintext")) || !bytes.Equal(got[4096:], make([]byte, 4096)) {
			t.Error("it lends plaintext, or something that was never written")
		}
		if c.Open(got, 0); !bytes.Equal(got[:4096], data) {
			t.Error("it lends something else")
		}
	})
}
