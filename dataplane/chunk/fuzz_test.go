package chunk

import (
	"bytes"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// FuzzDecodeCommand: what is decoded and valid is encoded the same again.
func FuzzDecodeCommand(f *testing.F) {
	for _, op := range allOps() {
		var cmd nvme.Command
		EncodeCommand(&Request{Op: op, Epoch: 1, Residency: Home(0)}, &cmd)
		f.Add(cmd[:], 24)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		var cmd, again nvme.Command
		copy(cmd[:], raw)
		var r, r2 Request
		if DecodeCommand(&cmd, size, &r) != nil {
			return
		}
		_ = r.Validate()
		EncodeCommand(&r, &again)
		if err := DecodeCommand(&again, size, &r2); err != nil || r.W != r2.W || r.After != r2.After ||
			r.Page != r2.Page || r.Stable != r2.Stable || r.Residency != r2.Residency || r.Count != r2.Count {
			t.Fatalf("%v\n%+v\n%+v", err, r, r2)
		}
	})
}

// FuzzGetRequest: any records of any request are refused, or are written the same again.
func FuzzGetRequest(f *testing.F) {
	for _, op := range allOps() {
		f.Add(byte(op), make([]byte, 80))
	}
	f.Fuzz(func(t *testing.T, op byte, data []byte) {
		var cmd nvme.Command
		cmd.SetOpcode(op)
		r := &Request{}
		size := len(data)
		if Op(op) == OpWrite || Op(op) == OpRead {
			size = len(data) / BlockRecordSize * (4096 + BlockRecordSize)
		}
		if DecodeCommand(&cmd, size, r) != nil {
			return
		}
		r.Blocks = make([]BlockInfo, r.Count)
		if GetRequest(data, r) != nil {
			return
		}
		_ = r.Validate()
		again := make([]byte, RecordsSize(r))
		PutRequest(again, r)
		r2 := &Request{Count: r.Count, Op: r.Op, Blocks: make([]BlockInfo, r.Count)}
		third := make([]byte, len(again))
		if err := GetRequest(again, r2); err != nil {
			t.Fatal(err)
		}
		if PutRequest(third, r2); !bytes.Equal(again, third) {
			t.Fatalf("%x\n%x", again, third)
		}
	})
}

// FuzzGetAnswer: an answer of any content and any count is refused or read, never more.
func FuzzGetAnswer(f *testing.F) {
	for _, op := range allOps() {
		f.Add(byte(op), uint32(1), make([]byte, 80))
	}
	f.Fuzz(func(t *testing.T, op byte, dw0 uint32, data []byte) {
		r := &Request{Op: Op(op), Count: uint16(len(data) / BlockRecordSize)}
		r.Blocks = make([]BlockInfo, r.Count)
		n := DecodeResult(r, nvme.Success, dw0, 0)
		if Op(op) == OpFence && len(data) < FenceRecordSize {
			return // the transport gives as much as was asked for
		}
		if GetAnswer(data, n, r) == nil && (len(r.Entries) > n || len(r.Journal) > n) {
			t.Fatalf("%d entries and %d journal entries of %d", len(r.Entries), len(r.Journal), n)
		}
	})
}

// FuzzGetView: a view list that is accepted is valid and is written the same again.
func FuzzGetView(f *testing.F) {
	f.Add(make([]byte, viewHeader))
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := GetView(b)
		if err != nil {
			return
		}
		again := make([]byte, ViewSize(&v))
		if PutView(again, &v); !bytes.Equal(again, b) || v.Validate() != nil {
			t.Fatalf("%x\n%x", b, again)
		}
		v.Sees(0, 1)
	})
}

// FuzzGetJournalEntry: what is accepted is read the same from what is written again.
func FuzzGetJournalEntry(f *testing.F) {
	f.Add(make([]byte, JournalRecordSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := GetJournalEntry(b)
		if err != nil {
			return
		}
		one, two := make([]byte, JournalRecordSize), make([]byte, JournalRecordSize)
		PutJournalEntry(one, &x)
		y, err := GetJournalEntry(one)
		if err != nil {
			t.Fatal(err)
		}
		if PutJournalEntry(two, &y); !bytes.Equal(one, two) {
			t.Fatalf("%x\n%x", one, two)
		}
	})
}
