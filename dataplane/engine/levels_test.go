package engine_test

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// TestLevels: what is remembered is found until it is forgotten, and it is bounded.
func TestLevels(t *testing.T) {
	at := func(n uint32) engine.Ancestor { return engine.Ancestor{Vol: cluster.VolumeKey{VUID: n}, Pin: 1} }
	parent, old := at(1), at(3)
	var l engine.Levels
	l.Forget(5)
	for _, step := range []struct {
		does string
		do   func()
		want engine.Ancestor
	}{
		{"nothing", func() {}, parent}, {"another page", func() { l.Pass(6, old) }, parent},
		{"pass the parent", func() { l.Pass(5, at(2)) }, at(2)}, {"pass another", func() { l.Pass(5, old) }, old},
		{"forget", func() { l.Forget(5) }, parent},
	} {
		if step.do(); l.First(5, parent) != step.want {
			t.Fatalf("%s: %+v is asked", step.does, l.First(5, parent))
		}
	}
	known := 0
	for page := range uint64(1 << 16) {
		l.Pass(page, old)
	}
	for page := range uint64(1 << 16) {
		if l.First(page, parent) == old {
			known++
		}
	}
	if known == 0 || known > 4096 || l.First(1<<16-1, parent) != old {
		t.Errorf("%d pages of many are remembered", known)
	}
}
