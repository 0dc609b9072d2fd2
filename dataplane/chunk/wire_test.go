package chunk

import (
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

func allOps() []Op {
	return []Op{OpWrite, OpTombstone, OpRead, OpHead, OpUndo, OpDrop, OpRenumber, OpList, OpFence, OpSettle,
		OpStable, OpJournalPut, OpJournalList, OpJournalTrim, OpJournalWipe, OpView, OpInherit}
}

func anySeq(t *rapid.T, epoch uint32, what string) cluster.Seq {
	return cluster.MakeSeq(rapid.Uint32Range(1, epoch).Draw(t, what+" epoch"),
		rapid.Uint64Range(1, cluster.MaxSeqCounter-1).Draw(t, what))
}

func anyResidency(t *rapid.T) Residency {
	table := rapid.Uint32Range(0, MaxTable).Draw(t, "table")
	if rapid.Bool().Draw(t, "home") {
		return Home(table)
	}
	return Alternate(table, rapid.Uint32Range(1, cluster.MaxOwnerEpoch).Draw(t, "drawn"),
		uint16(rapid.IntRange(0, MaxRound).Draw(t, "round")))
}

// anyRequest makes a valid request with everything that the operation takes to the server, and nothing else.
func anyRequest(t *rapid.T) *Request {
	r := &Request{
		Op:     rapid.SampledFrom(allOps()).Draw(t, "op"),
		Device: cluster.DeviceID(rapid.Uint32Range(1, maxDevice).Draw(t, "device")),
		Vol: cluster.VolumeKey{VUID: rapid.Uint32Range(1, cluster.MaxVUID).Draw(t, "vuid"),
			Generation: rapid.Uint32Min(1).Draw(t, "gen")},
		Epoch: rapid.Uint32Range(1, cluster.MaxOwnerEpoch).Draw(t, "epoch"),
	}
	r.Stable = cluster.MakeSeq(r.Epoch, rapid.Uint64Range(0, cluster.MaxSeqCounter).Draw(t, "stable"))
	page, column := rapid.Uint64Range(0, maxPage).Draw(t, "page"), rapid.Uint8().Draw(t, "column")
	switch r.Op {
	case OpWrite, OpTombstone, OpRead, OpHead, OpUndo:
		r.Page, r.Column, r.Residency, r.W = page, column, anyResidency(t), anySeq(t, r.Epoch, "w")
		r.Count = uint16(rapid.IntRange(1, MaxBlocks).Draw(t, "count"))
		r.Block = uint16(rapid.IntRange(0, MaxBlocks-int(r.Count)).Draw(t, "block"))
		if r.Op == OpUndo {
			r.Stable = 0
		}
		if r.Op == OpWrite || r.Op == OpRead {
			r.Data = make([]byte, r.Bytes())
		}
		if r.Op != OpUndo {
			r.Blocks = make([]BlockInfo, r.Count)
		}
		if r.Op == OpWrite || r.Op == OpTombstone {
			anyBlocks(t, r.Blocks)
		}
	case OpInherit:
		r.Count = uint16(rapid.IntRange(1, MaxBlocks).Draw(t, "count"))
		r.Page, r.W = page-min(page, uint64(r.Count)), anySeq(t, r.Epoch, "w")
		r.Data, r.Blocks = make([]byte, r.Bytes()), make([]BlockInfo, r.Count)
	case OpDrop, OpRenumber:
		r.Page, r.Column, r.Residency = page, column, anyResidency(t)
	case OpList, OpJournalList:
		r.After = Cursor{Page: page, Column: column, Block: uint16(rapid.Uint8().Draw(t, "block")),
			W: anySeq(t, r.Epoch, "w")}
		r.Count = uint16(rapid.IntRange(1, MaxJournalEntries).Draw(t, "count"))
		if r.Op == OpList {
			r.Mode = ListMode(rapid.IntRange(0, int(ListBad)).Draw(t, "mode"))
		}
	case OpStable:
		anyStable(t, r)
	case OpJournalPut:
		r.Journal = anyJournal(t, r.Epoch)
		r.Count = uint16(len(r.Journal))
	case OpJournalTrim:
		r.W = anySeq(t, r.Epoch, "w")
	case OpView:
		r.View = anyView(t)
	}
	return r
}

func anyBlocks(t *rapid.T, blocks []BlockInfo) {
	for i := range blocks {
		blocks[i] = BlockInfo{W: cluster.Seq(rapid.Uint64().Draw(t, "w")), CRC: rapid.Uint32().Draw(t, "crc"),
			Set: rapid.Uint16().Draw(t, "set"), Mask: rapid.Uint16().Draw(t, "mask"),
			State: State(rapid.IntRange(0, int(Bad)).Draw(t, "state"))}
	}
}

func anyStable(t *rapid.T, r *Request) {
	r.W = cluster.MakeSeq(r.Epoch, rapid.Uint64Range(MaxHoles, cluster.MaxSeqCounter).Draw(t, "w"))
	r.Want = rapid.Uint32().Draw(t, "want")
	for i := range rapid.IntRange(0, MaxHoles).Draw(t, "holes") {
		r.Holes = append(r.Holes, r.W-MaxHoles+cluster.Seq(i)+1)
	}
}

func anyJournal(t *rapid.T, epoch uint32) (out []JournalEntry) {
	for range rapid.IntRange(1, 5).Draw(t, "entries") {
		x := JournalEntry{Page: rapid.Uint64Range(0, maxPage).Draw(t, "page"), Seq: anySeq(t, epoch, "seq"),
			Column: rapid.Uint8().Draw(t, "column"), Gone: rapid.Bool().Draw(t, "gone"),
			Stale: rapid.Bool().Draw(t, "stale"), Complete: rapid.Bool().Draw(t, "complete")}
		for range rapid.IntRange(0, MaxAlternates).Draw(t, "places") {
			x.Places = append(x.Places, Place{Device: cluster.DeviceID(rapid.Uint32().Draw(t, "device")),
				Residency: anyResidency(t)})
		}
		x.Renumber = x.Complete && len(x.Places) > 0 && rapid.Bool().Draw(t, "renumber")
		out = append(out, x)
	}
	return out
}

func anyView(t *rapid.T) View {
	v := View{Version: rapid.Uint32Min(1).Draw(t, "version"), Cloned: rapid.Bool().Draw(t, "cloned")}
	for range rapid.IntRange(0, MaxPins).Draw(t, "pins") {
		v.Pins = append(v.Pins, anySeq(t, cluster.MaxOwnerEpoch, "pin"))
	}
	slices.Sort(v.Pins)
	at := cluster.Seq(0)
	for range rapid.IntRange(0, MaxHidden).Draw(t, "hidden") {
		after := at + cluster.Seq(rapid.Uint32().Draw(t, "gap"))
		at = after + 1 + cluster.Seq(rapid.Uint32().Draw(t, "length"))
		v.Hidden = append(v.Hidden, Interval{After: after, To: at})
	}
	return v
}

// receive makes of a command and its data what a server makes of them.
func receive(t *rapid.T, cmd *nvme.Command, size int, records []byte) *Request {
	r := &Request{}
	if err := DecodeCommand(cmd, size, r); err != nil {
		t.Fatal(err)
	}
	switch r.Op {
	case OpWrite, OpTombstone, OpRead, OpHead, OpInherit:
		r.Blocks = make([]BlockInfo, r.Count)
	}
	if r.Op.Moves() {
		r.Data = make([]byte, r.Bytes())
	}
	if err := GetRequest(records, r); err != nil {
		t.Fatal(err)
	}
	if err := validate(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// validate is what whom a request is for does first.
func validate(r *Request) error {
	if r.Op == OpInherit {
		return r.ValidateInherit()
	}
	return r.Validate()
}

// TestRequestsRoundTrip: a server gets what was sent, counts and lengths included.
func TestRequestsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyRequest(t)
		if err := validate(want); err != nil {
			t.Fatal(err)
		}
		var cmd nvme.Command
		EncodeCommand(want, &cmd)
		records := make([]byte, RecordsSize(want))
		PutRequest(records, want)
		size := len(records) + len(want.Data)
		if size > MaxTransfer {
			t.Fatalf("%d bytes for operation %#x, at most %d", size, want.Op, MaxTransfer)
		}
		if got := receive(t, &cmd, size, records); !reflect.DeepEqual(want, got) {
			t.Fatalf("sent %+v\ngot  %+v", *want, *got)
		}
	})
}

// TestAnswersRoundTrip: the sender gets what the server found.
func TestAnswersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := anyRequest(t)
		served := *sent
		served.Result = Result{Known: 7, Granted: rapid.Uint32().Draw(t, "granted")}
		served.Blocks, served.Journal = slices.Clone(sent.Blocks), nil
		switch sent.Op {
		case OpRead, OpHead, OpInherit:
			anyBlocks(t, served.Blocks)
		case OpList:
			served.Known, served.More = 0, rapid.Bool().Draw(t, "more")
			for range rapid.IntRange(0, min(3, int(sent.Count))).Draw(t, "entries") {
				served.Entries = append(served.Entries, Entry{Cursor: sent.After, Residency: anyResidency(t),
					Set: rapid.Uint16().Draw(t, "set"), State: Data})
			}
		case OpJournalList:
			served.Known, served.More = 0, rapid.Bool().Draw(t, "more")
			j := anyJournal(t, sent.Epoch)
			served.Journal = j[:min(len(j), int(sent.Count))]
		case OpFence:
			served.Settled, served.Viewed, served.Free = 3, 4, rapid.Uint64().Draw(t, "free")
			served.Mark = cluster.MakeSeq(7, rapid.Uint64Range(MaxHoles, cluster.MaxSeqCounter).Draw(t, "mark"))
			for i := range rapid.IntRange(0, MaxHoles).Draw(t, "holes") {
				served.Holes = append(served.Holes, served.Mark-MaxHoles+cluster.Seq(i)+1)
			}
		}
		records := make([]byte, RecordsSize(sent))
		PutAnswer(records, &served)
		st, dw0, dw1 := EncodeResult(&served)
		got := *sent
		if got.Op != OpJournalPut {
			got.Journal = nil
		} else {
			served.Journal = sent.Journal
		}
		n := DecodeResult(&got, st, dw0, dw1)
		if err := GetAnswer(records, n, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(served, got) {
			t.Fatalf("served %+v\ngot    %+v", served, got)
		}
	})
}

func TestStatusRoundTrip(t *testing.T) {
	for s := OK; s < Unreachable; s++ {
		in := &Request{Op: OpWrite, Result: Result{Status: s, Known: 7, Granted: 99}}
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

// TestGoldenCommands pins the layout drawn in the package documentation.
func TestGoldenCommands(t *testing.T) {
	base := Request{Device: 0x123456, Vol: cluster.VolumeKey{VUID: 0xabcdef, Generation: 0x01020304},
		Epoch: 0x0a0b0c, Stable: cluster.MakeSeq(0x0a0b0c, 0x41_42434445)}
	write := base
	write.Op, write.Residency, write.Column, write.Page = OpWrite, 0x11121314151617, 0x77, 0x99_55667788
	write.W, write.Block = cluster.MakeSeq(0x0a0b0c, 0x21_22232425), 0x31
	undo := write
	undo.Op, undo.Count = OpUndo, 0x102
	renumber := write
	renumber.Op, renumber.Block, renumber.W = OpRenumber, 0, 0
	inherit := write
	inherit.Op, inherit.Column, inherit.Block, inherit.Residency = OpInherit, 0, 0, 0
	list := base
	list.Op, list.Mode = OpList, ListChunks
	list.After = Cursor{Page: write.Page, Column: write.Column, Block: write.Block, W: write.W}
	const head = "000000" + "01000000" + "efcdab77" + "04030201" + "88776655" + "990c0b0a" +
		"00000000000000000000000000000000" + "25242322" + "210c0b0a"
	for _, x := range []struct {
		r    *Request
		want string
	}{
		{&write, "81" + head + "17161514" + "13121131" + "45444342" + "41563412"},
		{&undo, "84" + head + "17161514" + "13121131" + "02010000" + "00563412"},
		{&renumber, "a8" + head[:len(head)-16] + "0000000000000000" + "17161514" + "13121100" + "45444342" +
			"41563412"},
		{&inherit, "9a" + strings.Replace(head, "efcdab77", "efcdab00", 1) + "00000000" + "00000000" +
			"45444342" + "41563412"},
		{&list, "8a" + head + "02000000" + "00000031" + "45444342" + "41563412"},
	} {
		var cmd nvme.Command
		EncodeCommand(x.r, &cmd)
		if got := hex.EncodeToString(cmd[:]); got != x.want {
			t.Errorf("operation %#x\n got %s\nwant %s", x.r.Op, got, x.want)
		}
	}
}

// TestGoldenRecords pins the records drawn in the package documentation.
func TestGoldenRecords(t *testing.T) {
	seq := cluster.MakeSeq(0x010203, 0x04_05060708)
	answers := []struct {
		r    Request
		want string
	}{
		{Request{Op: OpHead, Count: 1, Blocks: []BlockInfo{{W: seq, CRC: 0x11121314, Set: 0x2122, Mask: 0x3132,
			State: Bad}}}, "0807060504030201" + "14131211" + "2221" + "3231" + "03" + "000000"},
		{Request{Op: OpList, Count: 1, Result: Result{Entries: []Entry{{Cursor: Cursor{Page: 0x4142434445, W: seq,
			Block: 0x51, Column: 0x61}, Residency: 0x71727374757677, Set: 0x8182, State: Tombstone}}}},
			"4544434241000000" + "0807060504030201" + "7776757473727100" + "5100" + "8281" + "61" + "02" + "0000"},
		{Request{Op: OpFence, Control: Control{Holes: []cluster.Seq{seq - 1}},
			Result: Result{Known: 1, Settled: 2, Viewed: 3, Free: 0x0102030405, Mark: seq}},
			"01000000" + "02000000" + "03000000" + "01000000" + "0504030201000000" + "0807060504030201" +
				"0707060504030201" + strings.Repeat("0000000000000000", MaxHoles-1)},
	}
	for _, x := range answers {
		b := make([]byte, RecordsSize(&x.r))
		PutAnswer(b, &x.r)
		if got := hex.EncodeToString(b); got != x.want {
			t.Errorf("answer to %#x\n got %s\nwant %s", x.r.Op, got, x.want)
		}
	}
	requests := []struct {
		r    Request
		want string
	}{
		{Request{Op: OpStable, Want: 0x11121314, Control: Control{Holes: []cluster.Seq{seq}}},
			"14131211" + "00000000" + "0807060504030201"},
		{Request{Op: OpJournalPut, Control: Control{Journal: []JournalEntry{{Page: 0x4142434445, Seq: seq,
			Column: 0x61, Stale: true, Complete: true, Renumber: true,
			Places: []Place{{Device: 0x717273, Residency: 0x81828384858687}}}}}},
			"4544434241000000" + "0807060504030201" + "61" + "0e" + "01" + "0000000000" + "73727100" +
				"8786858483828100" + "000000000000000000000000000000000000000000000000000000000000000000000000"},
		{Request{Op: OpView, Control: Control{View: View{Version: 9, Pins: []cluster.Seq{seq},
			Hidden: []Interval{{After: 1, To: 2}}}}},
			"09000000" + "0100" + "0100" + "0807060504030201" + "0100000000000000" + "0200000000000000"},
		{Request{Op: OpView, Control: Control{View: View{Version: 9, Cloned: true}}}, "09000000" + "0000" + "0080"},
	}
	for _, x := range requests {
		b := make([]byte, RecordsSize(&x.r))
		PutRequest(b, &x.r)
		if got := hex.EncodeToString(b); got != x.want {
			t.Errorf("request %#x\n got %s\nwant %s", x.r.Op, got, x.want)
		}
	}
}

// TestCountsFollowFromLengths: a length that no count gives is refused.
func TestCountsFollowFromLengths(t *testing.T) {
	for _, x := range []struct {
		op   Op
		size int
		want int // -1: refused
	}{
		{OpWrite, 3 * (4096 + 20), 3}, {OpWrite, 4096, -1}, {OpWrite, 0, -1}, {OpRead, MaxTransfer, MaxBlocks},
		{OpInherit, 2 * (4096 + 20), 2}, {OpInherit, 4096, -1},
		{OpTombstone, 20, 1}, {OpTombstone, 21, -1}, {OpHead, 40, 2}, {OpUndo, 0, 0}, {OpUndo, 20, -1},
		{OpDrop, 0, 0}, {OpDrop, 4, -1}, {OpRenumber, 0, 0}, {OpRenumber, 4, -1},
		{OpList, 64, 2}, {OpList, 32 * (MaxEntries + 1), -1},
		{OpFence, 544, 0}, {OpFence, 0, -1}, {OpStable, 8, 0}, {OpStable, 16, 0}, {OpStable, 12, -1},
		{OpStable, 8 + 8*MaxHoles, 0}, {OpStable, 16 + 8*MaxHoles, -1}, {OpJournalPut, 144, 2},
		{OpJournalList, 72, 1}, {OpJournalTrim, 0, 0}, {OpJournalWipe, 72, -1}, {OpView, 8, 0}, {OpView, 7, -1},
		{0xff, 0, 0}, {0xff, 9, -1},
	} {
		var cmd nvme.Command
		EncodeCommand(&Request{Op: x.op}, &cmd)
		r := &Request{}
		switch err := DecodeCommand(&cmd, x.size, r); {
		case (err != nil) != (x.want < 0):
			t.Errorf("operation %#x with %d bytes: %v", x.op, x.size, err)
		case err == nil && int(r.Count) != x.want:
			t.Errorf("operation %#x with %d bytes: count %d, want %d", x.op, x.size, r.Count, x.want)
		}
	}
}

func TestEveryStatusAndStateHasAName(t *testing.T) {
	seen := map[string]bool{}
	for s := OK; s <= Unreachable; s++ {
		seen[s.String()] = true
	}
	for s := Absent; s <= Bad; s++ {
		seen[s.String()] = true
	}
	if want := int(Unreachable) + 1 + int(Bad) + 1; len(seen) != want {
		t.Errorf("%d names, want %d: %v", len(seen), want, seen)
	}
}
