package nvmet_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// TestLittleMemory gives ten queues 1 MiB to share. On all but one the namespace is stuck with a queue full
// of large writes; the last one goes on all the same, and in the end everything is done.
func TestLittleMemory(t *testing.T) {
	w := newWorld(t, nvmet.Options{Memory: 1 << 20, Queues: 16})
	admin := w.admin(connection{})
	w.ns.Hold()
	const stuck, each, size = 9, 32, 64 << 10
	var wg sync.WaitGroup
	for i := range stuck {
		q := admin.io(connection{qid: uint16(i + 1), sqsize: 63})
		wg.Go(func() {
			data := pattern(size, byte(i))
			for k := range each {
				var cmd nvme.Command
				cmd.ReadWrite(nvme.OpWrite, 1, uint64(i*each+k)%200*128, size/512)
				q.start(&cmd, data, 0)
			}
			for done := 0; done < each; {
				p, err := q.recv()
				if err != nil {
					t.Errorf("queue %d after %d writes: %v", i, done, err)
					return
				}
				if p.Type == nvme.PDUR2T {
					r, _ := nvme.DecodeR2T(p.raw)
					q.transfer(r, data)
					continue
				}
				c, _ := nvme.DecodeCapsuleResp(p.raw)
				if aborted := i == 0 && c.CID == each; !c.Status.OK() && !aborted {
					t.Errorf("queue %d, command %d: %v", i, c.CID, c.Status)
				}
				done++
			}
		})
	}
	// Every queue has at least its reserve of 512 KiB in writes with the namespace; all together not much more.
	w.ns.AwaitHeld(stuck * (512 << 10) / size)
	if n := w.ns.Held(); n > stuck*(512<<10)/size+(1<<20)/size {
		t.Errorf("%d writes are with the namespace: beyond all limits", n)
	}
	// A command that waits for memory can be aborted, once it is there; its data was never asked for.
	var abort nvme.Command
	for abort.Abort(1, each); admin.do(&abort, nil, nil).DW0 != 0; {
		abort.Abort(1, each)
	}

	w.ns.Release()
	wg.Wait()
}

// TestInCapsuleBackPressure fills the memory for data in capsules: the target stops reading, the host's
// socket fills up, nothing is lost.
func TestInCapsuleBackPressure(t *testing.T) {
	w := newWorld(t, nvmet.Options{Memory: 1 << 20, QueueDepth: 1024})
	_, q := w.volume(connection{sqsize: 1023})
	w.ns.Hold()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range 1024 {
			var cmd nvme.Command
			cmd.ReadWrite(nvme.OpWrite, 1, uint64(i*16), 16)
			q.start(&cmd, pattern(8192, byte(i)), 0)
		}
	}()
	limit := (128<<10 + 1<<20) / 8192
	w.ns.AwaitHeld(limit)
	if n := w.ns.Held(); n != limit {
		t.Errorf("%d writes with the namespace, the limit is %d", n, limit)
	}
	w.ns.Release()
	for range 1024 {
		if c := q.answer(nil, nil); !c.Status.OK() {
			t.Fatal(c.Status)
		}
	}
	<-sent
	for i := range 1024 {
		if !bytes.Equal(q.read(uint64(i*16), 8192), pattern(8192, byte(i))) {
			t.Fatalf("write %d came back changed", i)
		}
	}
}

// TestHostThatDoesNotRead asks for much and takes nothing: the target holds no more for it than its share,
// and other queues go on.
func TestHostThatDoesNotRead(t *testing.T) {
	w := newWorld(t, nvmet.Options{Memory: 1 << 20})
	admin, q := w.volume(connection{sqsize: 127})
	for range 128 {
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpRead, 1, 0, 512)
		q.start(&cmd, nil, 256<<10)
	}
	second := admin.io(connection{qid: 2})
	data := pattern(256<<10, 7)
	if st := second.write(0, data); !st.OK() || !bytes.Equal(second.read(0, len(data)), data) {
		t.Fatal("the other queue does not work")
	}
	in := make([]byte, 256<<10)
	for range 128 {
		if c := q.answer(nil, in); !c.Status.OK() {
			t.Fatal(c.Status)
		}
	}
}

// TestAsyncNamespace completes requests on other goroutines, out of order, while reads and writes go on.
func TestAsyncNamespace(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	cfg := w.config()
	cfg.Namespace = &elsewhere{Namespace: w.ns}
	w.put(cfg)
	admin := w.admin(connection{})
	var wg sync.WaitGroup
	for i := range 4 {
		q := admin.io(connection{qid: uint16(i + 1), dgst: uint8(i)})
		wg.Go(func() {
			for k := range 50 {
				n := 4096 << (k % 5)
				data := pattern(n, byte(k+i))
				lba := uint64(i * 1024)
				if st := q.write(lba, data); !st.OK() {
					t.Errorf("write: %v", st)
					return
				}
				if !bytes.Equal(q.read(lba, n), data) {
					t.Errorf("queue %d, round %d: data came back changed", i, k)
					return
				}
			}
		})
	}
	wg.Wait()
}

// elsewhere submits on goroutines of its own.
type elsewhere struct{ nvmet.Namespace }

func (e *elsewhere) Submit(r *nvmet.Request) { go e.Namespace.Submit(r) }
