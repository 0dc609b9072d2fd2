package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Sizes of the records that travel with data, in bytes.
const (
	BlockRecordSize = 16
	EntryRecordSize = 24
)

// MaxTransfer is the longest data of one command, in bytes.
const MaxTransfer = MaxBlocks * (cluster.BlockSize + BlockRecordSize)

const (
	listUnstableBit = 1 << 31
	moreBit         = 1 << 31
	vendorBase      = nvme.Status(nvme.TypeVendor<<8 | 0x80)
	maxPage         = 1<<40 - 1
	maxDevice       = 1<<24 - 1
)

// EncodeCommand writes the dwords of a request into cmd; the caller sets CID and SGL. A request that does not
// fit the layout is a bug of ours.
func EncodeCommand(r *Request, cmd *nvme.Command) {
	page, w, low := r.Page, r.W, r.Residency
	if r.Op == OpList {
		page, w = r.After.Page, r.After.W
		if r.Mode == ListUnstable {
			low |= listUnstableBit
		}
	}
	if page > maxPage || r.Device > maxDevice || r.Residency >= listUnstableBit {
		panic(fmt.Sprintf("chunk: page %d, device %d or residency %d does not fit a command", page, r.Device,
			r.Residency))
	}
	column, block := r.Column, r.Block
	if r.Op == OpList {
		column, block = r.After.Column, r.After.Block
	}
	*cmd = nvme.Command{}
	cmd.SetOpcode(uint8(r.Op))
	cmd.SetNSID(1)
	cmd.SetCDW2(uint32(column)<<24 | r.Vol.VUID)
	cmd.SetCDW3(r.Vol.Generation)
	binary.LittleEndian.PutUint32(cmd[16:], uint32(page))
	binary.LittleEndian.PutUint32(cmd[20:], r.Epoch<<8|uint32(page>>32))
	cmd.SetCDW10(uint32(w))
	cmd.SetCDW11(uint32(w >> 32))
	cmd.SetCDW12(low)
	cmd.SetCDW13(uint32(block)<<16 | uint32(r.Count))
	stable := r.Stable.Counter()
	cmd.SetCDW14(uint32(stable))
	cmd.SetCDW15(uint32(r.Device)<<8 | uint32(stable>>32))
}

// DecodeCommand reads what EncodeCommand wrote, without buffers; Validate the request once they are set.
func DecodeCommand(cmd *nvme.Command, r *Request) {
	hi := binary.LittleEndian.Uint32(cmd[20:])
	page := uint64(binary.LittleEndian.Uint32(cmd[16:])) | uint64(hi&0xff)<<32
	w := cluster.Seq(cmd.CDW10()) | cluster.Seq(cmd.CDW11())<<32
	r.Op = Op(cmd.Opcode())
	r.Vol = cluster.VolumeKey{VUID: cmd.CDW2() & 0xffffff, Generation: cmd.CDW3()}
	r.Epoch = hi >> 8
	r.Column = uint8(cmd.CDW2() >> 24)
	r.Block, r.Count = uint16(cmd.CDW13()>>16), uint16(cmd.CDW13())
	r.Residency = cmd.CDW12() &^ listUnstableBit
	r.Device = cluster.DeviceID(cmd.CDW15() >> 8)
	r.Stable = cluster.MakeSeq(r.Epoch, uint64(cmd.CDW14())|uint64(cmd.CDW15()&0xff)<<32)
	if r.Op == OpList {
		r.After = Cursor{Page: page, W: w, Block: r.Block, Column: r.Column}
		r.Mode = ListAll
		if cmd.CDW12()&listUnstableBit != 0 {
			r.Mode = ListUnstable
		}
		return
	}
	r.Page, r.W = page, w
}

// TransferSize is the length of the data of a request, in bytes; 0 when it has none.
func TransferSize(op Op, count uint16) int {
	switch op {
	case OpRead, OpWrite:
		return int(count) * (cluster.BlockSize + BlockRecordSize)
	case OpList:
		return int(count) * EntryRecordSize
	}
	return 0
}

// PutBlocks writes block records; b has room for all of them.
func PutBlocks(b []byte, blocks []BlockInfo) {
	for i := range blocks {
		x, o := &blocks[i], b[i*BlockRecordSize:][:BlockRecordSize]
		binary.LittleEndian.PutUint64(o, uint64(x.W))
		binary.LittleEndian.PutUint32(o[8:], x.CRC)
		binary.LittleEndian.PutUint16(o[12:], x.Mask)
		o[14], o[15] = uint8(x.State), 0
	}
}

// GetBlocks reads len(blocks) block records. An unknown state is an error.
func GetBlocks(b []byte, blocks []BlockInfo) error {
	if len(b) < len(blocks)*BlockRecordSize {
		return fmt.Errorf("%w: %d bytes for %d block records", Invalid, len(b), len(blocks))
	}
	for i := range blocks {
		o := b[i*BlockRecordSize:][:BlockRecordSize]
		if State(o[14]) > Bad {
			return fmt.Errorf("%w: block state %d", Invalid, o[14])
		}
		blocks[i] = BlockInfo{W: cluster.Seq(binary.LittleEndian.Uint64(o)), CRC: binary.LittleEndian.Uint32(o[8:]),
			Mask: binary.LittleEndian.Uint16(o[12:]), State: State(o[14])}
	}
	return nil
}

// PutEntries writes entry records; b has room for all of them.
func PutEntries(b []byte, entries []Entry) {
	for i := range entries {
		x, o := &entries[i], b[i*EntryRecordSize:][:EntryRecordSize]
		binary.LittleEndian.PutUint64(o, x.Page)
		binary.LittleEndian.PutUint64(o[8:], uint64(x.W))
		binary.LittleEndian.PutUint16(o[16:], x.Block)
		o[18], o[19] = x.Column, uint8(x.State)
		clear(o[20:])
	}
}

// GetEntries appends n entry records to dst.
func GetEntries(b []byte, n int, dst []Entry) ([]Entry, error) {
	if n < 0 || len(b)/EntryRecordSize < n {
		return dst, fmt.Errorf("%w: %d bytes for %d entries", Invalid, len(b), n)
	}
	for i := 0; i < n; i++ {
		o := b[i*EntryRecordSize:][:EntryRecordSize]
		if State(o[19]) > Bad {
			return dst, fmt.Errorf("%w: block state %d", Invalid, o[19])
		}
		dst = append(dst, Entry{State: State(o[19]), Cursor: Cursor{Page: binary.LittleEndian.Uint64(o),
			W:     cluster.Seq(binary.LittleEndian.Uint64(o[8:])),
			Block: binary.LittleEndian.Uint16(o[16:]), Column: o[18]}})
	}
	return dst, nil
}

// EncodeResult gives the completion of a request: status and result dwords.
func EncodeResult(r *Request) (st nvme.Status, dw0, dw1 uint32) {
	dw0, dw1 = r.Known, uint32(min(r.Free, 1<<32-1))
	if r.Op == OpList && r.Status == OK {
		if dw0 = uint32(len(r.Entries)); r.More {
			dw0 |= moreBit
		}
	}
	if r.Status != OK {
		st = vendorBase + nvme.Status(r.Status)
	}
	return st, dw0, dw1
}

// DecodeResult is the inverse; for a list it returns the number of entries. Any status that is not ours says
// nothing about the request and becomes Unreachable.
func DecodeResult(r *Request, st nvme.Status, dw0, dw1 uint32) (entries int) {
	r.Free = uint64(dw1)
	switch code := st.Code(); {
	case st.OK():
		r.Status = OK
	case code > vendorBase && code < vendorBase+nvme.Status(Unreachable):
		r.Status = Status(code - vendorBase)
	default:
		r.Status = Unreachable
	}
	if r.Op == OpList && r.Status == OK {
		r.More = dw0&moreBit != 0
		return int(dw0 &^ moreBit)
	}
	r.Known = dw0
	return 0
}
