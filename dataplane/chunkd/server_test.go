package chunkd_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// newServer serves one fresh device in memory.
func newServer(t testing.TB) *chunkd.Server {
	t.Helper()
	s, _ := newServerOn(t)
	return s
}

// newServerOn is newServer, with the device's store.
func newServerOn(t testing.TB) (*chunkd.Server, *pagestore.Store) {
	t.Helper()
	dev := blockdev.NewMem(blockdev.MemOptions{Size: 128 << 20, VolatileCache: true})
	if err := pagestore.Format(t.Context(), dev, pagestore.FormatOptions{ClusterID: [16]byte{4},
		DeviceUUID: [16]byte{1}}); err != nil {
		t.Fatal(err)
	}
	store, err := pagestore.Open(t.Context(), dev, pagestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if _, err := pagestore.Check(context.Background(), dev, pagestore.CheckOptions{Data: true}); err != nil {
			t.Error(err)
		}
	})
	s := chunkd.New()
	s.Attach(chunkdtest.Device, store)
	return s, store
}

func TestLocal(t *testing.T) {
	chunkdtest.Run(t, func(t *testing.T) chunkdtest.Submitter { return newServer(t) })
}

// TestNewVolumesNeedRoom: a device whose room for metadata is nearly used up takes no new volume, and goes on
// with those that it has.
func TestNewVolumesNeedRoom(t *testing.T) {
	s, store := newServerOn(t)
	ask := func(op chunk.Op, vuid, epoch uint32) chunk.Status {
		return do(s, vol(vuid), epoch, &chunk.Request{Op: op}).Status
	}
	for _, op := range []chunk.Op{chunk.OpFence, chunk.OpSettle} {
		if st := ask(op, 1, 1); st != chunk.OK {
			t.Fatalf("of the first volume: %v", st)
		}
	}
	for n := 0; !store.Crowded(); n++ {
		stored := make(chan error, 1)
		store.PutMeta(fmt.Sprint("other/", n), make([]byte, 64), func(err error) { stored <- err })
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
	if st := ask(chunk.OpFence, 2, 1); st != chunk.Full {
		t.Errorf("a new volume: %v", st)
	}
	for _, op := range []chunk.Op{chunk.OpFence, chunk.OpSettle} {
		if st := ask(op, 1, 2); st != chunk.OK {
			t.Errorf("the next owner of the first volume: %v", st)
		}
	}
}
