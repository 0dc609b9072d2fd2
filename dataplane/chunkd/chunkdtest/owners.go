package chunkdtest

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func fenced(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.epoch = 4
	c.must("fence", chunk.OK, fence())
	c.must("fence again", chunk.OK, fence())
	c.epoch = 2
	for name, r := range map[string]*chunk.Request{
		"write": write(1, 0, seq(2, 2), 'b', 1), "read": read(1, 0, 0, 1), "fence": fence(), "list": {
			Op: chunk.OpList, Count: 1}, "settle": {Op: chunk.OpSettle}, "journal": {Op: chunk.OpJournalWipe},
		"view": {Op: chunk.OpView}, "drop": {Op: chunk.OpDrop},
		"renumber": {Op: chunk.OpRenumber},
	} {
		if c.must(name+" of the old owner", chunk.Fenced, r); r.Known != 4 {
			c.t.Errorf("%s: known epoch %d, want 4", name, r.Known)
		}
	}
	c.epoch = 5 // any request with a higher epoch stores the fence first
	c.must("read of a newer owner", chunk.OK, read(1, 0, 0, 1))
	c.epoch = 4
	c.must("the one before", chunk.Fenced, read(1, 0, 0, 1))
}

func fenceTells(c *client) {
	r := c.must("fence", chunk.OK, fence())
	if r.Known != 2 || r.Settled != 0 || r.Viewed != 0 || r.Free == 0 {
		c.t.Errorf("of an unknown volume: %+v", r.Result)
	}
	free := r.Free
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 3))
	c.must("settle", chunk.OK, &chunk.Request{Op: chunk.OpSettle})
	c.must("view", chunk.OK, view(7))
	c.epoch = 3
	r = c.must("fence", chunk.OK, fence())
	if r.Known != 3 || r.Settled != 2 || r.Viewed != 7 || r.Free != free-3 {
		c.t.Errorf("after three blocks, settle and view: %+v, %d were free", r.Result, free)
	}
	if r.Mark != 0 || len(r.Holes) > 0 {
		c.t.Errorf("a mark without one: %v with holes %v", r.Mark, r.Holes)
	}
	c.must("stable", chunk.OK, &chunk.Request{Op: chunk.OpStable, W: seq(3, 9),
		Control: chunk.Control{Holes: []cluster.Seq{seq(3, 4)}}})
	c.epoch = 4
	r = c.must("fence", chunk.OK, fence())
	if r.Mark != seq(3, 9) || !slices.Equal(r.Holes, []cluster.Seq{seq(3, 4)}) {
		c.t.Errorf("the mark is %v with holes %v", r.Mark, r.Holes)
	}
}

func sessions(c *client) {
	first := c.must("fence", chunk.OK, fence()).Granted
	if first == 0 {
		c.t.Fatal("an empty device grants nothing")
	}
	var most uint32
	for i := range uint64(20) {
		got := c.must("write", chunk.OK, write(1, 0, seq(2, i+1), 'a', 20)).Granted
		if got < most {
			c.t.Fatalf("granted %d, then %d", most, got)
		}
		most = got
	}
	if most <= first {
		c.t.Fatalf("granted %d in the end, %d at first", most, first)
	}
	if again := c.must("fence", chunk.OK, fence()).Granted; again >= most {
		c.t.Errorf("a new session begins with %d, the old one had %d", again, most)
	}
	c.epoch = 3
	if next := c.must("fence", chunk.OK, fence()).Granted; next >= most {
		c.t.Errorf("the next owner begins with %d, the old one had %d", next, most)
	}
}

// credit: who keeps to it never finds the device full; who does not ask gets further.
func credit(c *client) {
	granted, used, w := c.must("fence", chunk.OK, fence()).Granted, uint32(0), uint64(0)
	next := func(want chunk.Status) *chunk.Request {
		w++
		return c.must("write", want, write(w/8, uint16(w%8)*32, seq(2, w), 'a', 32))
	}
	for {
		for granted-used >= 32 {
			granted, used = next(chunk.OK).Granted, used+32
		}
		r := stable(seq(2, w))
		r.Want = 32
		if granted = c.must("stable", chunk.OK, r).Granted; granted-used < 32 {
			break
		}
	}
	free := c.must("fence", chunk.OK, fence()).Free
	if used < 320 || free < 32 {
		c.t.Fatalf("after %d blocks there is no credit, and %d blocks are free", used, free)
	}
	for range free / 32 {
		next(chunk.OK) // repair and resync go on
	}
	next(chunk.Full)
	c.must("a tombstone on a full device", chunk.OK, tombstone(0, 32, seq(2, w+1), 1))
	c.must("what is held already", chunk.OK, write(0, 32, seq(2, 1), 'a', 32))
}

func lowerResidency(c *client) {
	c.must("write", chunk.OK, under(write(1, 0, seq(2, 1), 'a', 1), chunk.Home(4)))
	lower := chunk.Alternate(3, 2, 9)
	for name, r := range map[string]*chunk.Request{
		"write": write(1, 1, seq(2, 2), 'b', 1), "tombstone": tombstone(1, 0, seq(2, 2), 1),
		"read": read(1, 0, 0, 1), "head": head(1, 0, 0, 1), "undo": undo(1, 0, seq(2, 1)),
		"drop": {Op: chunk.OpDrop, Page: 1}, "renumber": {Op: chunk.OpRenumber, Page: 1},
	} {
		c.must(name, chunk.NotMine, under(r, lower))
	}
	c.residency = chunk.Home(4)
	c.holds(0, seq(2, 1), chunk.Data)
	c.holds(1, 0, chunk.Absent)
}

func higherResidency(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	higher := chunk.Alternate(0, 2, 1)
	for name, r := range map[string]*chunk.Request{"read": read(1, 0, 0, 1), "head": head(1, 0, 0, 1)} {
		if c.must(name, chunk.OK, under(r, higher)); r.Blocks[0].State != chunk.Absent {
			c.t.Errorf("%s: %v", name, r.Blocks[0].State)
		}
	}
	c.must("undo", chunk.OK, under(undo(1, 0, seq(2, 1)), higher))
	c.holds(0, seq(2, 1), chunk.Data)
}

func beginning(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 4))
	free := c.must("fence", chunk.OK, fence()).Free
	c.residency = chunk.Alternate(0, 2, 1)
	c.must("the same version, in another place", chunk.OK, write(1, 1, seq(2, 1), 'b', 1))
	c.holds(0, 0, chunk.Absent)
	if _, _, fill := c.state(1, 0); fill != 'b' {
		c.t.Errorf("got %c", fill)
	}
	if got := c.must("fence", chunk.OK, fence()).Free; got != free+3 {
		c.t.Errorf("%d blocks are free, %d were", got, free)
	}
	c.residency = chunk.Home(1)
	c.must("a tombstone begins one, too", chunk.OK, tombstone(1, 2, seq(2, 2), 1))
	c.holds(1, 0, chunk.Absent)
	c.holds(2, seq(2, 2), chunk.Tombstone)
}

func drop(c *client) {
	free := c.must("fence", chunk.OK, fence()).Free
	c.must("write", chunk.OK, under(write(1, 0, seq(2, 1), 'a', 4), chunk.Home(3)))
	other := write(1, 0, seq(2, 1), 'a', 1)
	other.Column = 1
	c.must("write", chunk.OK, other)
	for range 2 {
		c.must("drop", chunk.OK, under(&chunk.Request{Op: chunk.OpDrop, Page: 1}, chunk.Home(4)))
	}
	if got := c.must("fence", chunk.OK, fence()).Free; got != free-1 {
		c.t.Errorf("%d blocks are free, %d were", got, free)
	}
	c.must("no number is remembered", chunk.OK, write(1, 0, seq(2, 2), 'b', 1))
	if got := c.list(chunk.ListChunks, 10); len(got) != 2 {
		c.t.Errorf("chunks %+v", got)
	}
}

func renumbering(c *client) {
	free := c.must("fence", chunk.OK, fence()).Free
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 2))
	c.must("of another column", chunk.OK, under(&chunk.Request{Op: chunk.OpRenumber, Page: 1, Column: 1},
		chunk.Home(9)))
	for range 2 {
		c.must("renumber", chunk.OK, under(&chunk.Request{Op: chunk.OpRenumber, Page: 1}, chunk.Home(2)))
	}
	for name, r := range map[string]*chunk.Request{"write": write(1, 5, seq(2, 2), 'b', 1),
		"read": read(1, 0, 0, 1), "back": {Op: chunk.OpRenumber, Page: 1}} {
		c.must(name+" under the old number", chunk.NotMine, r)
	}
	c.residency = chunk.Home(2)
	c.holds(1, seq(2, 1), chunk.Data)
	c.must("a version that it has", chunk.OK, write(1, 0, seq(2, 1), 'a', 2))
	if got := c.must("fence", chunk.OK, fence()).Free; got != free-2 {
		c.t.Errorf("%d blocks are free, %d were", got, free)
	}
	if got := c.list(chunk.ListChunks, 10); len(got) != 1 || got[0].Residency != chunk.Home(2) {
		c.t.Errorf("chunks %+v", got)
	}
	other := write(1, 0, seq(2, 2), 'b', 1)
	other.Column = 1
	c.must("no number is remembered where nothing is", chunk.OK, under(other, chunk.Home(0)))
}

func overlay(c *client) {
	c.must("over another device", chunk.OK, under(tombstone(1, 0, seq(2, 1), 1), chunk.Alternate(0, 2, 1)))
	c.must("at home", chunk.OK, tombstone(2, 0, seq(2, 2), 1))
	c.must("stable", chunk.OK, stable(seq(2, 2)))
	c.residency = chunk.Alternate(0, 2, 1)
	c.holds(0, seq(2, 1), chunk.Tombstone)
	if got := c.list(chunk.ListAll, 10); len(got) != 1 {
		c.t.Errorf("held: %+v", got)
	}
}

func view(version uint32, pins ...cluster.Seq) *chunk.Request {
	return &chunk.Request{Op: chunk.OpView, Control: chunk.Control{
		View: chunk.View{Version: version, Pins: pins}}}
}

func views(c *client) {
	c.must("view", chunk.OK, view(2, seq(2, 1)))
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, write(1, 0, seq(2, 2), 'b', 1))
	c.must("stable", chunk.OK, stable(seq(2, 2)))
	pinned := func() bool { w, _, _ := c.state(0, seq(2, 1)); return w == seq(2, 1) }
	c.must("an older list", chunk.OK, view(1))
	c.must("another list of the same version", chunk.OK, view(2))
	if got := c.must("fence", chunk.OK, fence()).Viewed; got != 2 || !pinned() {
		c.t.Fatalf("list %d, pinned %v", got, pinned())
	}
	c.must("a newer list", chunk.OK, view(3))
	if got := c.must("fence", chunk.OK, fence()).Viewed; got != 3 || pinned() {
		c.t.Errorf("list %d, pinned %v", got, pinned())
	}
	c.must("unsorted pins", chunk.Invalid, view(4, 2, 1))
}

func reverts(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, write(1, 0, seq(2, 9), 'b', 1))
	r := view(1, seq(2, 5))
	r.View.Hidden = []chunk.Interval{{After: seq(2, 5), To: seq(2, 9)}}
	c.must("revert", chunk.OK, r)
	c.holds(0, seq(2, 1), chunk.Data)
	if w, _, _ := c.state(0, seq(2, 7)); w != seq(2, 1) {
		c.t.Errorf("as of 2.7: %v", w)
	}
	if w, _, _ := c.state(0, seq(2, 9)); w != seq(2, 9) {
		c.t.Errorf("as of 2.9, which lies in what is hidden and is not stable: %v", w)
	}
	if h := c.must("head", chunk.OK, head(1, 0, 0, 1)); h.Blocks[0].W != seq(2, 1) {
		c.t.Errorf("head: %v", h.Blocks[0].W)
	}
}

func clones(c *client) {
	r := view(1)
	r.View.Cloned = true
	c.must("view", chunk.OK, r)
	c.must("over nothing", chunk.OK, tombstone(1, 0, seq(2, 1), 1))
	c.must("stable", chunk.OK, stable(seq(2, 1)))
	c.holds(0, seq(2, 1), chunk.Tombstone)
	c.must("no clone any more", chunk.OK, view(2))
	c.holds(0, 0, chunk.Absent)
}

func largest(c *client) {
	const n = chunk.MaxBlocks
	for _, r := range []*chunk.Request{write(1, 0, seq(2, 1), 'a', n), read(1, 0, 0, n), head(1, 0, 0, n),
		tombstone(2, 0, seq(2, 2), n), {Op: chunk.OpList, Count: chunk.MaxEntries},
		{Op: chunk.OpJournalList, Count: chunk.MaxJournalEntries}} {
		c.must("largest", chunk.OK, r)
	}
	mark, list, entries := stable(seq(2, 100)), view(1), put()
	for i := range uint64(chunk.MaxHoles) {
		mark.Holes = append(mark.Holes, seq(2, i+1))
	}
	for i := range uint64(chunk.MaxPins) {
		list.View.Pins = append(list.View.Pins, seq(2, i+1))
	}
	for i := range uint64(chunk.MaxHidden) {
		list.View.Hidden = append(list.View.Hidden, chunk.Interval{After: seq(3, 2*i), To: seq(3, 2*i+1)})
	}
	for i := range uint64(chunk.MaxJournalEntries) {
		entries.Journal = append(entries.Journal, entry(1<<40-1-i, 255, seq(2, 3)))
	}
	entries.Count = chunk.MaxJournalEntries
	c.must("holes", chunk.OK, mark)
	c.must("view", chunk.OK, list)
	c.must("journal", chunk.OK, entries)
	if got := len(c.journal(chunk.MaxJournalEntries)); got != chunk.MaxJournalEntries {
		c.t.Errorf("%d journal entries", got)
	}
}
