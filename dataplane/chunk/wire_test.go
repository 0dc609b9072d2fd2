package chunk

import (
	"encoding/hex"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

func anyRequest(t *rapid.T) *Request {
	ops := []Op{OpTombstone, OpWrite, OpRead, OpUndo, OpList, OpFence, OpBegin, OpSettle, OpStable}
	r := &Request{
		Op:     rapid.SampledFrom(ops).Draw(t, "op"),
		Device: cluster.DeviceID(rapid.Uint32Range(1, maxDevice).Draw(t, "device")),
		Vol: cluster.VolumeKey{VUID: rapid.Uint32Range(1, cluster.MaxVUID).Draw(t, "vuid"),
			Generation: rapid.Uint32Min(1).Draw(t, "gen")},
		Epoch:     rapid.Uint32Range(1, cluster.MaxOwnerEpoch).Draw(t, "epoch"),
		Residency: rapid.Uint32Range(1, listUnstableBit-1).Draw(t, "residency"),
	}
	r.Stable = cluster.MakeSeq(r.Epoch, rapid.Uint64Range(0, cluster.MaxSeqCounter).Draw(t, "stable"))
	w := cluster.Seq(rapid.Uint64Min(1).Draw(t, "w"))
	page := rapid.Uint64Range(0, maxPage).Draw(t, "page")
	block, column := rapid.Uint16().Draw(t, "block"), rapid.Uint8().Draw(t, "column")
	r.Count, r.Block, r.Column = rapid.Uint16().Draw(t, "count"), block, column
	if r.Op == OpList {
		r.After = Cursor{Page: page, W: w, Block: block, Column: column}
		r.Mode = ListMode(rapid.IntRange(0, 1).Draw(t, "mode"))
	} else {
		r.Page, r.W = page, w
	}
	return r
}

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRequest(t)
		var cmd nvme.Command
		EncodeCommand(want, &cmd)
		var got Request
		DecodeCommand(&cmd, &got)
		if !reflect.DeepEqual(*want, got) {
			t.Fatalf("sent %+v\ngot  %+v", *want, got)
		}
	})
}

// TestGoldenCommand pins the layout drawn in the package documentation.
func TestGoldenCommand(t *testing.T) {
	r := &Request{Op: OpWrite, Device: 0x123456, Vol: cluster.VolumeKey{VUID: 0xabcdef, Generation: 0x01020304},
		Epoch: 0x0a0b0c, Residency: 0x11121314, Column: 0x77, Page: 0x99_55667788, W: cluster.MakeSeq(0x0a0b0c,
			0x21_22232425),
		Block: 0x3132, Count: 0x3334, Stable: cluster.MakeSeq(0x0a0b0c, 0x41_42434445)}
	var cmd nvme.Command
	EncodeCommand(r, &cmd)
	const want = "81000000" + "01000000" + "efcdab77" + "04030201" + "88776655" + "990c0b0a" +
		"00000000000000000000000000000000" + "25242322" + "210c0b0a" + "14131211" + "34333231" + "45444342" +
		"41563412"
	if got := hex.EncodeToString(cmd[:]); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestResultRoundTrip(t *testing.T) {
	for s := OK; s < Unreachable; s++ {
		in := &Request{Op: OpWrite, Result: Result{Status: s, Known: 7, Free: 99}}
		st, dw0, dw1 := EncodeResult(in)
		out := &Request{Op: OpWrite}
		DecodeResult(out, st, dw0, dw1)
		if !reflect.DeepEqual(in, out) {
			t.Errorf("%v: sent %+v, got %+v", s, in.Result, out.Result)
		}
	}
	foreign := &Request{Op: OpRead}
	DecodeResult(foreign, nvme.InternalError, 0, 0)
	if foreign.Status != Unreachable {
		t.Errorf("a foreign status became %v, want unreachable", foreign.Status)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, 64), make([]byte, 64))
	f.Fuzz(func(t *testing.T, cmd, data []byte) {
		var c nvme.Command
		copy(c[:], cmd)
		var r Request
		DecodeCommand(&c, &r)
		if r.Validate() == nil && r.Op != OpRead && r.Op != OpWrite {
			EncodeCommand(&r, &c)
		}
		blocks := make([]BlockInfo, len(data)/BlockRecordSize)
		if GetBlocks(data, blocks) == nil {
			PutBlocks(make([]byte, len(blocks)*BlockRecordSize), blocks)
		}
		if e, err := GetEntries(data, len(data)/EntryRecordSize, nil); err == nil {
			PutEntries(make([]byte, len(e)*EntryRecordSize), e)
		}
	})
}
