package chunkd_test

import (
	"context"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// newServer serves one fresh device in memory.
func newServer(t testing.TB) *chunkd.Server {
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
	return s
}

func TestLocal(t *testing.T) {
	chunkdtest.Run(t, func(t *testing.T) chunkdtest.Submitter { return newServer(t) })
}
