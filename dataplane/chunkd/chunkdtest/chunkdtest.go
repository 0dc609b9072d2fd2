// Package chunkdtest holds what every way to a chunk server must do: the local call and the path through the
// network run the same suite, one test for every sentence of the contract in package chunk.
package chunkdtest

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Submitter is a way to the devices.
type Submitter interface {
	Submit(*chunk.Request)
}

// Device is the device that the server under test must have, freshly formatted, of 64 MiB.
const Device cluster.DeviceID = 3

type waiter chan *chunk.Request

// ChunkDone implements chunk.Completer.
func (w waiter) ChunkDone(r *chunk.Request) { w <- r }

// client sends requests one at a time.
type client struct {
	t         *testing.T
	s         Submitter
	vol       cluster.VolumeKey
	epoch     uint32
	residency chunk.Residency // of requests that name none
}

// do carries one request out. Requests are reused: what an old answer left behind must not show.
func (c *client) do(r *chunk.Request) *chunk.Request {
	c.t.Helper()
	done := make(waiter, 1)
	r.Device, r.Vol, r.Epoch, r.Completer = Device, c.vol, c.epoch, done
	if r.Residency == 0 {
		r.Residency = c.residency
	}
	r.Result = chunk.Result{Status: chunk.IOError, Known: 99, Settled: 99, Viewed: 99, More: true}
	c.s.Submit(r)
	return <-done
}

func (c *client) must(what string, want chunk.Status, r *chunk.Request) *chunk.Request {
	c.t.Helper()
	if got := c.do(r); got.Status != want {
		c.t.Fatalf("%s: %v, want %v", what, got.Status, want)
	}
	return r
}

// state reads one block of page 1 and gives its version, state and first byte.
func (c *client) state(block uint16, asOf cluster.Seq) (cluster.Seq, chunk.State, byte) {
	c.t.Helper()
	r := c.must("read", chunk.OK, read(1, block, asOf, 1))
	return r.Blocks[0].W, r.Blocks[0].State, r.Data[0]
}

func (c *client) holds(block uint16, w cluster.Seq, s chunk.State) {
	c.t.Helper()
	if gotW, got, _ := c.state(block, 0); got != s || gotW != w {
		c.t.Fatalf("block %d is %v of %v, want %v of %v", block, got, gotW, s, w)
	}
}

func write(page uint64, block uint16, w cluster.Seq, fill byte, n int) *chunk.Request {
	data := bytes.Repeat([]byte{fill}, n*cluster.BlockSize)
	r := &chunk.Request{Op: chunk.OpWrite, Page: page, Block: block, Count: uint16(n), W: w, Data: data}
	for i := range n {
		b := data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
		r.Blocks = append(r.Blocks, chunk.BlockInfo{CRC: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)),
			Set: 5, Mask: uint16(i)})
	}
	return r
}

func tombstone(page uint64, block uint16, w cluster.Seq, n int) *chunk.Request {
	return &chunk.Request{Op: chunk.OpTombstone, Page: page, Block: block, Count: uint16(n), W: w,
		Blocks: make([]chunk.BlockInfo, n)}
}

func read(page uint64, block uint16, asOf cluster.Seq, n int) *chunk.Request {
	return &chunk.Request{Op: chunk.OpRead, Page: page, Block: block, Count: uint16(n), W: asOf,
		Data: make([]byte, n*cluster.BlockSize), Blocks: make([]chunk.BlockInfo, n)}
}

func head(page uint64, block uint16, asOf cluster.Seq, n int) *chunk.Request {
	return &chunk.Request{Op: chunk.OpHead, Page: page, Block: block, Count: uint16(n), W: asOf,
		Blocks: make([]chunk.BlockInfo, n)}
}

func undo(page uint64, block uint16, w cluster.Seq) *chunk.Request {
	return &chunk.Request{Op: chunk.OpUndo, Page: page, Block: block, Count: 1, W: w}
}

func fence() *chunk.Request { return &chunk.Request{Op: chunk.OpFence} }

func stable(w cluster.Seq, holes ...cluster.Seq) *chunk.Request {
	return &chunk.Request{Op: chunk.OpStable, W: w, Control: chunk.Control{Holes: holes}}
}

func under(r *chunk.Request, residency chunk.Residency) *chunk.Request {
	r.Residency = residency
	return r
}

func seq(epoch uint32, n uint64) cluster.Seq { return cluster.MakeSeq(epoch, n) }

// list gets all entries, a few at a time.
func (c *client) list(mode chunk.ListMode, piece uint16) (out []chunk.Entry) {
	c.t.Helper()
	r := &chunk.Request{Op: chunk.OpList, Mode: mode, Count: piece}
	for {
		c.must("list", chunk.OK, r)
		if len(r.Entries) > int(piece) || len(r.Entries) == 0 && r.More {
			c.t.Fatalf("%d entries, more %v", len(r.Entries), r.More)
		}
		out = append(out, r.Entries...)
		if !r.More {
			return out
		}
		r.After = out[len(out)-1].Cursor
	}
}

// Run runs the suite. open makes a new server for each test.
func Run(t *testing.T, open func(t *testing.T) Submitter) {
	tests := []struct {
		name string
		run  func(*client)
	}{
		{"VersionsAreReadAsOf", versions},
		{"EveryBlockHasItsColumns", columns},
		{"AHeadIsAReadWithoutData", heads},
		{"WritesAreIdempotent", idempotent},
		{"ASpoiledWriteIsRefused", spoiled},
		{"SmallerEpochsAreFenced", fenced},
		{"AFenceTellsWhatTheDeviceKnows", fenceTells},
		{"AFenceBeginsASession", sessions},
		{"CreditIsForHostWritesOnly", credit},
		{"ALowerResidencyIsNotMine", lowerResidency},
		{"AHigherResidencySeesNothing", higherResidency},
		{"AWriteBeginsAResidency", beginning},
		{"DropForgetsTheChunk", drop},
		{"RenumberTakesTheChunkAlong", renumbering},
		{"TombstonesLastOverOthers", overlay},
		{"ListsComeInPieces", lists},
		{"ChunksAreListed", chunks},
		{"AMarkSpeaksForItsEpoch", marks},
		{"HolesAreNotStable", holes},
		{"MarksTravelOnWrites", travelling},
		{"SettledVersionsAreStable", settled},
		{"UndoRemovesAVersion", undone},
		{"TheNewerViewListCounts", views},
		{"ARevertHides", reverts},
		{"TombstonesOfACloneLast", clones},
		{"TheJournalKeepsTheHighestSeq", journal},
		{"TheJournalIsListedInPieces", journalPieces},
		{"GoneEntriesAreTrimmed", trim},
		{"AWipeForgetsTheJournal", wipe},
		{"TheLargestRequestsFit", largest},
		{"UnknownDevicesAreNotMine", foreign},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			x.run(&client{t: t, s: open(t), vol: cluster.VolumeKey{VUID: 5, Generation: 1}, epoch: 2,
				residency: chunk.Home(0)})
		})
	}
}
