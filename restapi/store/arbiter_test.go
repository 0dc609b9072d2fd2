package store

import (
	"context"
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// hanging is a way to a store that hangs while it is told to.
type hanging struct {
	KV
	hangs bool
	asked int
}

func (h *hanging) Read(ctx context.Context, q ...Query) (Snapshot, error) {
	if h.asked++; h.hangs {
		return Snapshot{}, ErrUnavailable
	}
	return h.KV.Read(ctx, q...)
}

// TestAnArbiterLeavesAWayThatHangs: the own member answers everything, until it does not.
func TestAnArbiterLeavesAWayThatHangs(t *testing.T) {
	mem := NewMem()
	own, others := &hanging{KV: mem}, &hanging{KV: mem}
	a := NewArbiter(own, others)
	ask := func() error {
		_, _, err := a.Owner(t.Context(), cluster.VolumeKey{VUID: 1, Generation: 1})
		return err
	}
	for range 3 {
		if err := ask(); !errors.Is(err, cluster.ErrNoRecord) {
			t.Fatal(err)
		}
	}
	if own.asked != 3 || others.asked != 0 {
		t.Fatalf("the own member was asked %d times of 3, the others %d times", own.asked, others.asked)
	}
	own.hangs = true
	if err := ask(); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if err := ask(); !errors.Is(err, cluster.ErrNoRecord) || others.asked != 1 {
		t.Fatalf("after the own member hung: %v, the others were asked %d times", err, others.asked)
	}
	own.hangs, others.hangs = false, true
	_ = ask()
	if err := ask(); !errors.Is(err, cluster.ErrNoRecord) || own.asked != 5 {
		t.Fatalf("back at the own member: %v, it was asked %d times", err, own.asked)
	}
}
