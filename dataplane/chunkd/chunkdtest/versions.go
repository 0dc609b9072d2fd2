package chunkdtest

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
)

func versions(c *client) {
	c.must("write 1", chunk.OK, write(9, 3, seq(2, 1), 'a', 2))
	c.must("write 2", chunk.OK, write(9, 4, seq(2, 2), 'b', 1))
	r := c.must("read", chunk.OK, read(9, 2, 0, 4))
	want := []chunk.State{chunk.Absent, chunk.Data, chunk.Data, chunk.Absent}
	for i, s := range want {
		if r.Blocks[i].State != s {
			c.t.Errorf("block %d: state %d, want %d", i, r.Blocks[i].State, s)
		}
	}
	if r.Data[4096] != 'a' || r.Data[2*4096] != 'b' || r.Blocks[2].W != seq(2, 2) {
		c.t.Errorf("wrong data: %c %c, w %v", r.Data[4096], r.Data[2*4096], r.Blocks[2].W)
	}
	r = c.must("read as of 1", chunk.OK, read(9, 4, seq(2, 1), 1))
	if r.Data[0] != 'a' || r.Blocks[0].W != seq(2, 1) {
		c.t.Errorf("as of 1: %c, w %v", r.Data[0], r.Blocks[0].W)
	}
	c.must("tombstone", chunk.OK, tombstone(9, 3, seq(2, 3), 1))
	if r = c.must("read", chunk.OK, read(9, 3, 0, 1)); r.Blocks[0].State != chunk.Tombstone {
		c.t.Errorf("after the tombstone: state %d", r.Blocks[0].State)
	}
}

func columns(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 3))
	t := tombstone(1, 3, seq(2, 2), 1)
	t.Blocks[0].Set, t.Blocks[0].Mask = 7, 3
	c.must("tombstone", chunk.OK, t)
	r := c.must("read", chunk.OK, read(1, 0, 0, 4))
	for i, b := range r.Blocks[:3] {
		if b.Set != 5 || b.Mask != uint16(i) {
			c.t.Errorf("block %d: set %#x, mask %#x", i, b.Set, b.Mask)
		}
	}
	if b := r.Blocks[3]; b.Set != 7 || b.Mask != 3 || b.CRC != 0 {
		c.t.Errorf("tombstone: %+v", b)
	}
}

func heads(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 2))
	c.must("write", chunk.OK, write(1, 1, seq(2, 2), 'b', 1))
	for _, asOf := range []uint64{1, 2} {
		h, r := c.must("head", chunk.OK, head(1, 0, seq(2, asOf), 3)), c.must("read", chunk.OK,
			read(1, 0, seq(2, asOf), 3))
		for i := range h.Blocks {
			if h.Blocks[i] != r.Blocks[i] {
				c.t.Errorf("as of %d block %d: head %+v, read %+v", asOf, i, h.Blocks[i], r.Blocks[i])
			}
		}
	}
}

func idempotent(c *client) {
	for range 3 {
		c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	}
	c.must("other content under the same w", chunk.Invalid, write(1, 0, seq(2, 1), 'b', 1))
	c.must("a tombstone under the same w", chunk.Invalid, tombstone(1, 0, seq(2, 1), 1))
	if _, _, fill := c.state(0, 0); fill != 'a' {
		c.t.Errorf("got %c", fill)
	}
}

func spoiled(c *client) {
	r := write(1, 0, seq(2, 1), 'a', 1)
	r.Data[17]++
	c.must("write", chunk.Invalid, r)
	c.holds(0, 0, chunk.Absent)
}

func lists(c *client) {
	for i := range uint16(10) {
		c.must("write", chunk.OK, write(uint64(i/4), i%4, seq(2, uint64(i)+1), 'a', 1))
	}
	c.must("tombstone", chunk.OK, tombstone(2, 1, seq(2, 11), 1))
	got := c.list(chunk.ListAll, 3)
	if len(got) != 10 {
		c.t.Fatalf("%d entries, want 10", len(got))
	}
	for i, e := range got[:9] {
		if e.Page != uint64(i/4) || e.Block != uint16(i%4) || e.W != seq(2, uint64(i)+1) || e.State != chunk.Data ||
			e.Residency != c.residency || e.Set != 5 {
			c.t.Fatalf("entry %d: %+v", i, e)
		}
	}
	if e := got[9]; e.State != chunk.Tombstone || e.W != seq(2, 11) {
		c.t.Errorf("the newest version is listed: %+v", e)
	}
	if n := len(c.list(chunk.ListBad, 2)); n != 0 {
		c.t.Errorf("%d bad versions, want none", n)
	}
	if n := len(c.list(chunk.ListUnstable, 2)); n != 11 {
		c.t.Errorf("%d unstable versions, want 11", n)
	}
}

func chunks(c *client) {
	c.must("write", chunk.OK, write(0, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, under(write(0, 9, seq(2, 2), 'a', 1), chunk.Home(7)))
	other := write(0, 0, seq(2, 3), 'a', 1)
	other.Column = 4
	c.must("write", chunk.OK, other)
	c.must("write", chunk.OK, under(write(8, 0, seq(2, 4), 'a', 1), chunk.Alternate(0, 2, 1)))
	got := c.list(chunk.ListChunks, 1)
	want := []chunk.Entry{{Residency: chunk.Home(7)}, {Cursor: chunk.Cursor{Column: 4}, Residency: c.residency},
		{Cursor: chunk.Cursor{Page: 8}, Residency: chunk.Alternate(0, 2, 1)}}
	if len(got) != len(want) {
		c.t.Fatalf("got %+v", got)
	}
	for i, w := range want {
		if g := got[i]; g.Page != w.Page || g.Column != w.Column || g.Residency != w.Residency {
			c.t.Errorf("entry %d: %+v, want %+v", i, g, w)
		}
	}
}

func marks(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, write(1, 1, seq(2, 2), 'a', 1))
	unstable := func(want int) {
		c.t.Helper()
		if got := len(c.list(chunk.ListUnstable, 100)); got != want {
			c.t.Fatalf("%d unstable versions, want %d", got, want)
		}
	}
	unstable(2)
	c.must("stable", chunk.OK, stable(seq(2, 1)))
	unstable(1)
	// A mark speaks for its own epoch only, however high it is.
	c.epoch = 3
	c.must("stable of the next owner", chunk.OK, stable(seq(3, 9)))
	unstable(1)
	c.must("a mark of another epoch", chunk.Invalid, stable(seq(2, 9)))
	c.must("settle", chunk.OK, &chunk.Request{Op: chunk.OpSettle})
	unstable(0)
}

func holes(c *client) {
	for i := range uint64(4) {
		c.must("write", chunk.OK, write(1, uint16(i), seq(2, i+1), 'a', 1))
	}
	c.must("stable", chunk.OK, stable(seq(2, 4), seq(2, 2), seq(2, 3)))
	c.must("a report that was overtaken", chunk.OK, stable(seq(2, 3), seq(2, 1), seq(2, 3)))
	got := c.list(chunk.ListUnstable, 10)
	if len(got) != 1 || got[0].W != seq(2, 3) {
		c.t.Fatalf("unstable: %+v", got)
	}
	c.must("a hole above", chunk.Invalid, stable(seq(2, 4), seq(2, 5)))
}

func travelling(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	r := write(1, 1, seq(2, 2), 'a', 1)
	r.Stable = seq(2, 1)
	c.must("write", chunk.OK, r)
	if got := c.list(chunk.ListUnstable, 10); len(got) != 1 || got[0].W != seq(2, 2) {
		c.t.Fatalf("unstable: %+v", got)
	}
}

func settled(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.epoch = 3
	c.must("write", chunk.OK, write(1, 0, seq(3, 1), 'b', 1))
	c.must("stable", chunk.OK, stable(seq(3, 1)))
	if w, _, _ := c.state(0, seq(2, 1)); w != seq(2, 1) {
		c.t.Fatalf("before it is settled a version of an older epoch is freed; as of 2.1 there is %v", w)
	}
	c.must("settle", chunk.OK, &chunk.Request{Op: chunk.OpSettle})
	if _, s, _ := c.state(0, seq(2, 1)); s != chunk.Absent {
		c.t.Fatalf("after it is settled, as of 2.1: %v", s)
	}
	if got := c.must("fence", chunk.OK, fence()).Settled; got != 3 {
		c.t.Errorf("settled at %d", got)
	}
}

func undone(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, write(1, 0, seq(2, 2), 'b', 1))
	for range 2 {
		c.must("undo", chunk.OK, undo(1, 0, seq(2, 2)))
		c.holds(0, seq(2, 1), chunk.Data)
	}
	// A later owner may complete after all what another one undid.
	c.epoch = 3
	c.must("write again", chunk.OK, write(1, 0, seq(2, 2), 'b', 1))
	c.holds(0, seq(2, 2), chunk.Data)
	if got := c.list(chunk.ListUnstable, 10); len(got) != 2 {
		c.t.Errorf("unstable: %+v", got)
	}
}

func foreign(c *client) {
	done := make(waiter, 1)
	r := read(1, 0, 0, 1)
	r.Device, r.Vol, r.Epoch, r.Residency, r.Completer = Device+1, c.vol, 2, c.residency, done
	c.s.Submit(r)
	if got := (<-done).Status; got != chunk.NotMine {
		c.t.Errorf("unknown device: %v", got)
	}
	c.must("an extent beyond the chunk", chunk.Invalid, read(1, chunk.MaxBlocks-1, 0, 2))
}
