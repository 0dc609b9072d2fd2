package api

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestMeter: a caller may save up some calls, then gets one per tick; others are not held up by it; how many
// are remembered is bounded.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(10, time.Now)
		pass := func(who string) bool {
			err := m.pass(who)
			var fast *tooMany
			if err != nil && (!errors.As(err, &fast) || fast.after <= 0 || fast.seconds() != 1) {
				t.Fatalf("got %v", err)
			}
			return err == nil
		}
		for i := range 10 * burstSeconds {
			if !pass("a") {
				t.Fatalf("call %d is refused", i)
			}
		}
		if pass("a") || !pass("b") {
			t.Fatal("the wrong caller is refused")
		}
		<-time.After(100 * time.Millisecond)
		if !pass("a") || pass("a") {
			t.Fatal("want one call per tick")
		}
		for i := range 2 * maxCallers {
			pass(strconv.Itoa(i))
		}
		if len(m.callers) > maxCallers {
			t.Errorf("%d callers remembered", len(m.callers))
		}
	})
	free := newMeter(0, time.Now)
	for range 1000 {
		if err := free.pass("a"); err != nil {
			t.Fatal(err)
		}
	}
}
