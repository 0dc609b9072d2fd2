package memns_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/memns"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/nstest"
)

func open(t *testing.T) *memns.Namespace {
	t.Helper()
	ns, err := memns.NewRandom(nstest.Blocks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// TestConformance runs the suite that every namespace passes.
func TestConformance(t *testing.T) {
	nstest.Run(t, func(t *testing.T) nvmet.Namespace { return open(t) })
}

// TestHold keeps requests until they are released, in order.
func TestHold(t *testing.T) {
	ns := open(t)
	ns.Hold()
	var order []int
	for i := range 3 {
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpFlush, 1, 0, 1)
		ns.Submit(nvmet.NewRequest(cmd, nil, func(*nvmet.Request, nvme.Status, uint32, uint32) {
			order = append(order, i)
		}))
	}
	ns.AwaitHeld(3)
	if len(order) != 0 || ns.Held() != 3 {
		t.Fatalf("completed while held: %v", order)
	}
	ns.Release()
	if len(order) != 3 || order[0] != 0 || order[2] != 2 {
		t.Errorf("completed in order %v", order)
	}
}

// TestSizes refuses what cannot be.
func TestSizes(t *testing.T) {
	for _, c := range [][2]uint64{{0, 10}, {10, 5}, {1, 1 << 60}} {
		if _, err := memns.New(uuid.New(), c[0], c[1]); err == nil {
			t.Errorf("%d blocks of at most %d: accepted", c[0], c[1])
		}
	}
	if err := open(t).Resize(nstest.Blocks + 1); err == nil {
		t.Error("grown beyond its limit")
	}
}

// TestDoubleCompletion panics: it would hand data to another command.
func TestDoubleCompletion(t *testing.T) {
	r := nvmet.NewRequest(nvme.Command{}, nil, func(*nvmet.Request, nvme.Status, uint32, uint32) {})
	r.Complete(nvme.Success)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	r.Complete(nvme.Success)
}
