package pagestore

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// TestASurveyAmidWrites counts every block that was there before exactly once, whatever comes meanwhile.
func TestASurveyAmidWrites(t *testing.T) {
	dev := formatted(t, 20000, 0)
	s := open(t, dev)
	const blocks = 64 * 60 // several pieces
	for page := range uint64(blocks / 64) {
		must(t, write(s, ext(1, page, 0, 64), seq(1, page+1), page))
	}
	done := make(chan error, 1)
	view := chunk.View{Version: 1, Pins: []cluster.Seq{seq(1, blocks/64)}}
	s.SetView(vol(1), view, func(err error) { done <- err })
	must(t, <-done)
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range uint64(2000) {
			if err := write(s, ext(1, i*7%(blocks/64), uint16(i%64), 1), seq(1, 1000+i), i); err != nil {
				t.Error(err)
			}
		}
	})
	for range 20 {
		got, err := s.Survey(t.Context(), vol(1), 1)
		must(t, err)
		if h := got.Pins[0]; h.Exclusive.Data+h.Shared.Data != blocks {
			t.Errorf("the pin holds %+v of %d blocks", h.Holding, blocks)
		}
	}
	writing.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Survey(ctx, vol(1), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
	got, err := s.Survey(t.Context(), vol(2), 1)
	if err != nil || got.Known || got.Present != (pagemap.Holding{}) {
		t.Errorf("of a volume that was never here: %+v, %v", got, err)
	}
	closeAndCheck(t, s)
	if _, err := s.Survey(t.Context(), vol(1), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed store: %v", err)
	}
}
