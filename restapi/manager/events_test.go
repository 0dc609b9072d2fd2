package manager

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestEventsAreBounded: of too many, the oldest go.
func TestEventsAreBounded(t *testing.T) {
	s := store.NewMem()
	m := New(Options{Store: s})
	for i := range 300 {
		var txn store.Txn
		m.note(&txn, wire.Info, "test", about("test", i), "", "event %d", i)
		if _, err := s.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.trimEvents(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	page, err := m.Events(t.Context(), Page{Limit: MaxLimit}, EventFilter{})
	if err != nil || len(page.Items) != 20 || page.Items[0].Message != "event 299" {
		t.Fatalf("%d events, the first %+v, %v", len(page.Items), page.Items[0], err)
	}
	if err := m.trimEvents(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
}

// TestStatsBecomeEvents: what a node publishes is news where it says something else than before.
func TestStatsBecomeEvents(t *testing.T) {
	m := New(Options{Store: store.NewMem()})
	was := cluster.NodeStats{Node: 1, Devices: []cluster.DeviceStats{
		{Device: 1, Healthy: true, Scrub: &cluster.ScrubStats{Began: 1, Ended: 2}},
		{Device: 2, Bad: 3}}, Down: map[cluster.DeviceID]int{7: 1}}
	is := cluster.NodeStats{Node: 1, Devices: []cluster.DeviceStats{
		{Device: 1, Error: "gone", Bad: 2, Scrub: &cluster.ScrubStats{Began: 3, Ended: 4, Bad: 2}},
		{Device: 2, Healthy: true}, {Device: 3}},
		Down: map[cluster.DeviceID]int{8: 2}}
	var txn store.Txn
	m.noteStats(&txn, &was, &is)
	var got string
	for _, p := range txn.Put {
		e, err := readEvent(p.Key, p.Value)
		if err != nil {
			t.Fatal(err)
		}
		got += string(e.Severity) + " " + e.Kind + " " + e.Subject.ID + "\n"
	}
	want := "error device.unhealthy 1\nwarning device.bad_blocks 1\ninfo scrub.began 1\n" +
		"warning scrub.ended 1\n" +
		"info device.healthy 2\ninfo device.repaired 2\nwarning device.unreachable 8\ninfo device.reachable 7\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	txn = store.Txn{}
	m.noteStats(&txn, &is, &is)
	if len(txn.Put) != 0 {
		t.Errorf("the same is news: %v", txn.Put)
	}
}
