// Package chunkdtest holds what every way to a chunk server must do: the local call and the path through the
// network run the same suite.
package chunkdtest

import (
	"bytes"
	"hash/crc32"
	"runtime"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Submitter is a way to the devices.
type Submitter interface {
	Submit(*chunk.Request)
}

// Device is the device that the server under test must have, freshly formatted, with room for 1,000 blocks.
const Device cluster.DeviceID = 3

type waiter chan *chunk.Request

// ChunkDone implements chunk.Completer.
func (w waiter) ChunkDone(r *chunk.Request) { w <- r }

// client sends requests one at a time and remembers the volume's residency.
type client struct {
	t         *testing.T
	s         Submitter
	vol       cluster.VolumeKey
	epoch     uint32
	residency uint32
}

func (c *client) do(r *chunk.Request) chunk.Status {
	c.t.Helper()
	done := make(waiter, 1)
	r.Device, r.Vol, r.Epoch, r.Completer = Device, c.vol, c.epoch, done
	if r.Residency == 0 {
		r.Residency = c.residency
	}
	c.s.Submit(r)
	return (<-done).Status
}

func (c *client) must(what string, want chunk.Status, r *chunk.Request) *chunk.Request {
	c.t.Helper()
	if got := c.do(r); got != want {
		c.t.Fatalf("%s: %v, want %v", what, got, want)
	}
	return r
}

func write(page uint64, block uint16, w cluster.Seq, fill byte, n int) *chunk.Request {
	data := bytes.Repeat([]byte{fill}, n*cluster.BlockSize)
	r := &chunk.Request{Op: chunk.OpWrite, Page: page, Block: block, Count: uint16(n), W: w, Data: data}
	for i := range n {
		b := data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
		r.Blocks = append(r.Blocks, chunk.BlockInfo{CRC: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))})
	}
	return r
}

func read(page uint64, block uint16, asOf cluster.Seq, n int) *chunk.Request {
	return &chunk.Request{Op: chunk.OpRead, Page: page, Block: block, Count: uint16(n), W: asOf,
		Data: make([]byte, n*cluster.BlockSize), Blocks: make([]chunk.BlockInfo, n)}
}

// Run runs the suite. open makes a new server for each test.
func Run(t *testing.T, open func(t *testing.T) Submitter) {
	tests := []struct {
		name string
		run  func(*client)
	}{
		{"VersionsAreReadAsOf", versions},
		{"WritesAreIdempotent", idempotent},
		{"ASpoiledWriteIsRefused", spoiled},
		{"SmallerEpochsAreFenced", fenced},
		{"AResidencyBeginsEmpty", residency},
		{"ListsComeInPieces", lists},
		{"SettledVersionsAreStable", settled},
		{"UndoRemovesAVersion", undo},
		{"UnknownDevicesAreNotMine", foreign},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			x.run(&client{t: t, s: open(t), vol: cluster.VolumeKey{VUID: 5, Generation: 1}, epoch: 2, residency: 1})
		})
	}
}

func seq(epoch uint32, n uint64) cluster.Seq { return cluster.MakeSeq(epoch, n) }

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
	if r.Data[cluster.BlockSize] != 'a' || r.Data[2*cluster.BlockSize] != 'b' || r.Blocks[2].W != seq(2, 2) {
		c.t.Errorf("wrong data: %c %c, w %v", r.Data[cluster.BlockSize], r.Data[2*cluster.BlockSize], r.Blocks[2].W)
	}
	r = c.must("read as of 1", chunk.OK, read(9, 4, seq(2, 1), 1))
	if r.Data[0] != 'a' || r.Blocks[0].W != seq(2, 1) {
		c.t.Errorf("as of 1: %c, w %v", r.Data[0], r.Blocks[0].W)
	}
	c.must("tombstone", chunk.OK, &chunk.Request{Op: chunk.OpTombstone, Page: 9, Block: 3, Count: 1,
		W: seq(2, 3)})
	if r = c.must("read", chunk.OK, read(9, 3, 0, 1)); r.Blocks[0].State != chunk.Tombstone {
		c.t.Errorf("after the tombstone: state %d", r.Blocks[0].State)
	}
}

func idempotent(c *client) {
	for range 3 {
		c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	}
	c.must("other content under the same w", chunk.Invalid, write(1, 0, seq(2, 1), 'b', 1))
	if r := c.must("read", chunk.OK, read(1, 0, 0, 1)); r.Data[0] != 'a' {
		c.t.Errorf("got %c", r.Data[0])
	}
}

func spoiled(c *client) {
	r := write(1, 0, seq(2, 1), 'a', 1)
	r.Data[17]++
	c.must("write", chunk.Invalid, r)
	if r := c.must("read", chunk.OK, read(1, 0, 0, 1)); r.Blocks[0].State != chunk.Absent {
		c.t.Errorf("state %d after a refused write", r.Blocks[0].State)
	}
}

func fenced(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.epoch = 4
	c.must("fence", chunk.OK, &chunk.Request{Op: chunk.OpFence})
	c.must("fence again", chunk.OK, &chunk.Request{Op: chunk.OpFence})
	c.epoch = 2
	r := c.must("write of the old owner", chunk.Fenced, write(1, 0, seq(2, 2), 'b', 1))
	if r.Known != 4 {
		c.t.Errorf("known epoch %d, want 4", r.Known)
	}
	c.must("read of the old owner", chunk.Fenced, read(1, 0, 0, 1))
	c.must("fence of the old owner", chunk.Fenced, &chunk.Request{Op: chunk.OpFence})
	c.epoch = 5 // any request with a higher epoch stores the fence first
	c.must("read of a newer owner", chunk.OK, read(1, 0, 0, 1))
	c.epoch = 4
	c.must("the one before", chunk.Fenced, read(1, 0, 0, 1))
}

func residency(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("another residency", chunk.NotMine, &chunk.Request{Op: chunk.OpStable, Residency: 2})
	c.must("begin 2", chunk.OK, &chunk.Request{Op: chunk.OpBegin, Residency: 2})
	c.must("late write of residency 1", chunk.NotMine, write(1, 0, seq(2, 2), 'b', 1))
	c.residency = 2
	if r := c.must("read", chunk.OK, read(1, 0, 0, 1)); r.Blocks[0].State != chunk.Absent {
		c.t.Errorf("a new residency is not empty: state %d", r.Blocks[0].State)
	}
	c.must("copy", chunk.OK, write(1, 0, seq(1, 7), 'c', 1))
	c.must("begin 2 again", chunk.OK, &chunk.Request{Op: chunk.OpBegin, Residency: 2})
	if r := c.must("read", chunk.OK, read(1, 0, 0, 1)); r.Data[0] != 'c' {
		c.t.Error("a repeated begin dropped data")
	}
	c.must("begin 1", chunk.NotMine, &chunk.Request{Op: chunk.OpBegin, Residency: 1})
}

func lists(c *client) {
	for i := range uint16(10) {
		c.must("write", chunk.OK, write(uint64(i/4), i%4, seq(2, uint64(i)+1), 'a', 1))
	}
	var after chunk.Cursor
	seen := 0
	for more := true; more; {
		r := c.must("list", chunk.OK, &chunk.Request{Op: chunk.OpList, Mode: chunk.ListAll, Count: 3, After: after})
		if len(r.Entries) > 3 || len(r.Entries) == 0 && r.More {
			c.t.Fatalf("%d entries, more %v", len(r.Entries), r.More)
		}
		for _, e := range r.Entries {
			if e.Page != uint64(seen/4) || e.Block != uint16(seen%4) || e.W != seq(2, uint64(seen)+1) ||
				e.State != chunk.Data {
				c.t.Fatalf("entry %d: %+v", seen, e)
			}
			seen++
			after = e.Cursor
		}
		more = r.More
	}
	if seen != 10 {
		c.t.Fatalf("%d entries, want 10", seen)
	}
}

func settled(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, write(1, 1, seq(2, 2), 'a', 1))
	unstable := func() int {
		r := c.must("list", chunk.OK, &chunk.Request{Op: chunk.OpList, Mode: chunk.ListUnstable, Count: 10})
		return len(r.Entries)
	}
	if n := unstable(); n != 2 {
		c.t.Fatalf("%d unstable versions, want 2", n)
	}
	// A mark is only a hint that space may come back: it takes effect some time after the answer.
	c.must("stable", chunk.OK, &chunk.Request{Op: chunk.OpStable, Stable: seq(2, 1)})
	for late := time.Now().Add(10 * time.Second); unstable() != 1; {
		if time.Now().After(late) {
			c.t.Fatalf("%d unstable versions long after the mark, want 1", unstable())
		}
		runtime.Gosched()
	}
	c.epoch = 3
	if n := unstable(); n != 1 {
		c.t.Fatalf("%d unstable versions for the next owner, want 1", n)
	}
	// A mark speaks for its own epoch only, however high it is. It takes effect before the next write does.
	c.must("stable of the next owner", chunk.OK, &chunk.Request{Op: chunk.OpStable, Stable: seq(3, 9)})
	c.must("write", chunk.OK, write(1, 2, seq(3, 10), 'a', 1))
	if n := unstable(); n != 2 {
		c.t.Fatalf("%d unstable versions after a mark of the next owner, want 2", n)
	}
	c.must("stable", chunk.OK, &chunk.Request{Op: chunk.OpStable, Stable: seq(3, 10)})
	c.must("settle", chunk.OK, &chunk.Request{Op: chunk.OpSettle})
	for late := time.Now().Add(10 * time.Second); unstable() != 0; {
		if time.Now().After(late) {
			c.t.Fatalf("%d unstable versions after settle", unstable())
		}
		runtime.Gosched()
	}
}

func undo(c *client) {
	c.must("write", chunk.OK, write(1, 0, seq(2, 1), 'a', 1))
	c.must("write", chunk.OK, write(1, 0, seq(2, 2), 'b', 1))
	c.must("undo", chunk.OK, &chunk.Request{Op: chunk.OpUndo, Page: 1, Count: 1, W: seq(2, 2)})
	if r := c.must("read", chunk.OK, read(1, 0, 0, 1)); r.Data[0] != 'a' {
		c.t.Errorf("after undo: %c", r.Data[0])
	}
}

func foreign(c *client) {
	done := make(waiter, 1)
	r := read(1, 0, 0, 1)
	r.Device, r.Vol, r.Epoch, r.Residency, r.Completer = Device+1, c.vol, 2, 1, done
	c.s.Submit(r)
	if got := (<-done).Status; got != chunk.NotMine {
		c.t.Errorf("unknown device: %v", got)
	}
	c.must("an extent beyond the chunk", chunk.Invalid, read(1, chunk.MaxBlocks-1, 0, 2))
}
