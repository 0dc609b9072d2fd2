package pagemap

import (
	"reflect"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestASurveyPausesWithinAChunk: a block with a version for every pin is as long as a piece gets.
func TestASurveyPausesWithinAChunk(t *testing.T) {
	const blocks, pins = 8, 100
	m := newMap(t, 2*blocks*pins)
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	view := Record{Kind: View, Extent: Extent{Vol: vol}}
	for i := range uint64(pins) {
		w := cluster.MakeSeq(1, i+1)
		put(m, Extent{Vol: vol, N: blocks, Residency: chunk.Home(0)}, w, false, false)
		m.Apply(&Record{Kind: Stable, Extent: Extent{Vol: vol}, W: w})
		view.View.Version++
		view.View.Pins = append(view.View.Pins, w)
		m.Apply(&view)
	}
	s, pieces := NewSurvey(vol, 1), 1
	for m.Survey(s, pins) {
		pieces++
	}
	got := s.Space()
	if got.Pins[7].Exclusive.Data != blocks || got.Present.Shared.Data != blocks || got.Reclaimable.Data != 0 {
		t.Errorf("%+v", got)
	}
	if pieces < blocks {
		t.Errorf("%d blocks of %d versions in %d pieces", blocks, pins, pieces)
	}
}

// TestASurveyBeginsAnewWithTheViewList: what was counted for a pin that goes meanwhile is not added to what
// the others hold.
func TestASurveyBeginsAnewWithTheViewList(t *testing.T) {
	m := newMap(t, 100)
	vol := cluster.VolumeKey{VUID: 1, Generation: 1}
	view := func(version uint32, pins ...cluster.Seq) {
		v := Record{Kind: View, Extent: Extent{Vol: vol}}
		v.View = chunk.View{Version: version, Pins: pins}
		m.Apply(&v)
	}
	for page := range uint64(8) {
		e := Extent{Vol: vol, Page: page, N: 1, Residency: chunk.Home(0)}
		put(m, e, cluster.MakeSeq(1, page+1), false, false)
	}
	view(1, cluster.MakeSeq(1, 4), cluster.MakeSeq(1, 8))
	s := NewSurvey(vol, 1)
	for range 3 {
		if !m.Survey(s, 1) {
			t.Fatal("eight chunks are no three pieces")
		}
	}
	view(2, cluster.MakeSeq(1, 8))
	for m.Survey(s, 1) {
	}
	want := Space{Known: true, View: 2, Present: Holding{Shared: Blocks{Data: 8}},
		Pins: []PinHolding{{Pin: cluster.MakeSeq(1, 8), Holding: Holding{Shared: Blocks{Data: 8}}}}}
	if got := s.Space(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	s = NewSurvey(vol, 1)
	m.Survey(s, 1)
	m.Apply(&Record{Kind: Drop, Extent: Extent{Vol: vol}})
	if m.Survey(s, 1) || !reflect.DeepEqual(s.Space(), Space{}) {
		t.Errorf("of a volume that is gone there is %+v", s.Space())
	}
}
