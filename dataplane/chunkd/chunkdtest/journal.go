package chunkdtest

import (
	"reflect"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func put(entries ...chunk.JournalEntry) *chunk.Request {
	return &chunk.Request{Op: chunk.OpJournalPut, Count: uint16(len(entries)),
		Control: chunk.Control{Journal: entries}}
}

// entry makes one that says something in every field.
func entry(page uint64, column uint8, w cluster.Seq) chunk.JournalEntry {
	x := chunk.JournalEntry{Page: page, Column: column, Seq: w, Stale: w%2 == 0, Complete: w%3 == 0}
	for i := range w % 4 {
		x.Places = append(x.Places, chunk.Place{Device: cluster.DeviceID(w), Residency: chunk.Home(uint32(i))})
	}
	return x
}

// journal gets all entries, a few at a time.
func (c *client) journal(piece uint16) (out []chunk.JournalEntry) {
	c.t.Helper()
	r := &chunk.Request{Op: chunk.OpJournalList, Count: piece}
	for {
		c.must("list journal", chunk.OK, r)
		if len(r.Journal) > int(piece) || len(r.Journal) == 0 && r.More {
			c.t.Fatalf("%d journal entries, more %v", len(r.Journal), r.More)
		}
		out = append(out, r.Journal...)
		if !r.More {
			return out
		}
		r.After = out[len(out)-1].Cursor()
	}
}

func (c *client) journalIs(want ...chunk.JournalEntry) {
	c.t.Helper()
	if got := c.journal(1); !reflect.DeepEqual(got, want) {
		c.t.Fatalf("journal\n %+v, want\n %+v", got, want)
	}
}

func journal(c *client) {
	c.journalIs()
	c.must("put", chunk.OK, put(entry(0, 0, seq(2, 1)), entry(0, 1, seq(2, 2)), entry(0, 1, seq(1, 9))))
	c.journalIs(entry(0, 0, seq(2, 1)), entry(0, 1, seq(2, 2)))
	c.must("an older one", chunk.OK, put(entry(0, 1, seq(2, 1))))
	c.must("a newer one", chunk.OK, put(entry(0, 0, seq(2, 5))))
	c.journalIs(entry(0, 0, seq(2, 5)), entry(0, 1, seq(2, 2)))
	c.vol.Generation++
	c.journalIs()
	c.must("none", chunk.Invalid, put())
	c.must("of a later epoch", chunk.Invalid, put(entry(0, 0, seq(3, 1))))
}

func journalPieces(c *client) {
	var want []chunk.JournalEntry
	for page := range uint64(40) {
		for _, column := range []uint8{0, 1, 5, 255} {
			want = append(want, entry(page*11, column, seq(2, page+1)))
		}
	}
	for i := len(want); i > 0; i -= 16 {
		c.must("put", chunk.OK, put(want[i-16:i]...))
	}
	if got := c.journal(7); !reflect.DeepEqual(got, want) {
		c.t.Fatalf("%d entries: %+v", len(got), got)
	}
	r := &chunk.Request{Op: chunk.OpJournalList, Count: 1, After: chunk.Cursor{Page: 11, Column: 2}}
	if c.must("list", chunk.OK, r); len(r.Journal) != 1 || r.Journal[0].Column != 5 || !r.More {
		c.t.Errorf("behind a position without an entry: %+v", r.Journal)
	}
}

func trim(c *client) {
	gone := func(page uint64, w cluster.Seq) chunk.JournalEntry {
		return chunk.JournalEntry{Page: page, Seq: w, Gone: true}
	}
	c.must("put", chunk.OK, put(gone(1, seq(2, 1)), gone(2, seq(2, 2)), entry(3, 0, seq(2, 1)),
		gone(4, seq(2, 5))))
	c.must("trim", chunk.OK, &chunk.Request{Op: chunk.OpJournalTrim, W: seq(2, 2)})
	c.journalIs(entry(3, 0, seq(2, 1)), gone(4, seq(2, 5)))
	c.must("put after the trim", chunk.OK, put(entry(1, 0, seq(2, 6))))
	c.journalIs(entry(1, 0, seq(2, 6)), entry(3, 0, seq(2, 1)), gone(4, seq(2, 5)))
}

func wipe(c *client) {
	c.must("put", chunk.OK, put(entry(1, 0, seq(2, 8)), entry(2, 0, seq(2, 9))))
	for range 2 {
		c.must("wipe", chunk.OK, &chunk.Request{Op: chunk.OpJournalWipe})
		c.journalIs()
	}
	c.must("put an older one", chunk.OK, put(entry(1, 0, seq(2, 1))))
	c.journalIs(entry(1, 0, seq(2, 1)))
}
