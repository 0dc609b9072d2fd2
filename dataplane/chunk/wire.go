package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Sizes of the records that travel with data, in bytes.
const (
	BlockRecordSize   = 20
	EntryRecordSize   = 32
	JournalRecordSize = 24 + 12*MaxAlternates
	FenceRecordSize   = fenceHeader + 8*MaxHoles
)

// MaxTransfer is the longest data of one command, in bytes.
const MaxTransfer = MaxBlocks * (cluster.BlockSize + BlockRecordSize)

const (
	fenceHeader  = 32
	stableHeader = 8
	viewHeader   = 8
	viewCloned   = 1 << 15 // beside the count of intervals
	moreBit      = 1 << 31
	vendorBase   = nvme.Status(nvme.TypeVendor<<8 | 0x80)
	maxPage      = 1<<40 - 1
	maxDevice    = 1<<24 - 1
)

// Flags of journal records.
const (
	flagGone = 1 << iota
	flagStale
	flagComplete
	flagRenumber
)

// EncodeCommand writes the dwords of a request into cmd; the caller sets CID and SGL. A request that does not
// fit the layout is a bug of ours.
func EncodeCommand(r *Request, cmd *nvme.Command) {
	page, w, column, block, residency := r.Page, r.W, r.Column, r.Block, uint64(r.Residency)
	stable := r.Stable.Counter()
	switch r.Op {
	case OpList, OpJournalList:
		page, w, column, block = r.After.Page, r.After.W, r.After.Column, r.After.Block
		residency = uint64(r.Mode)
	case OpUndo:
		stable = uint64(r.Count)
	}
	if page > maxPage || r.Device > maxDevice || residency > maxResidency || block > 0xff {
		panic(fmt.Sprintf("chunk: page %d, device %d, residency %d or block %d does not fit a command", page,
			r.Device, residency, block))
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
	cmd.SetCDW12(uint32(residency))
	cmd.SetCDW13(uint32(block)<<24 | uint32(residency>>32))
	cmd.SetCDW14(uint32(stable))
	cmd.SetCDW15(uint32(r.Device)<<8 | uint32(stable>>32))
}

// DecodeCommand reads what EncodeCommand wrote, without buffers; size is the length of the command's data in
// bytes. Validate the request once the buffers are set. A length that no count gives is an error.
func DecodeCommand(cmd *nvme.Command, size int, r *Request) error {
	hi := binary.LittleEndian.Uint32(cmd[20:])
	page := uint64(binary.LittleEndian.Uint32(cmd[16:])) | uint64(hi&0xff)<<32
	w := cluster.Seq(cmd.CDW10()) | cluster.Seq(cmd.CDW11())<<32
	residency := uint64(cmd.CDW12()) | uint64(cmd.CDW13()&0xffffff)<<32
	stable := uint64(cmd.CDW14()) | uint64(cmd.CDW15()&0xff)<<32
	column, block := uint8(cmd.CDW2()>>24), uint16(cmd.CDW13()>>24)
	r.Op = Op(cmd.Opcode())
	r.Vol = cluster.VolumeKey{VUID: cmd.CDW2() & cluster.MaxVUID, Generation: cmd.CDW3()}
	r.Epoch = hi >> 8
	r.Device = cluster.DeviceID(cmd.CDW15() >> 8)
	switch r.Op {
	case OpList, OpJournalList:
		r.After = Cursor{Page: page, W: w, Block: block, Column: column}
		if residency > uint64(ListBad) {
			return fmt.Errorf("%w: list mode %d", Invalid, residency)
		}
		r.Mode = ListMode(residency)
	default:
		r.Page, r.W, r.Column, r.Block, r.Residency = page, w, column, block, Residency(residency)
	}
	if r.Op == OpUndo {
		r.Count = uint16(min(stable, MaxBlocks+1))
	} else {
		r.Stable = cluster.MakeSeq(r.Epoch, stable)
	}
	return decodeCount(r, size)
}

// decodeCount takes the number of blocks or records from the length of the data.
func decodeCount(r *Request, size int) error {
	record, ok := recordSize(r.Op), false
	switch r.Op {
	case OpFence:
		ok = size == FenceRecordSize
	case OpStable:
		ok = size >= stableHeader && size <= stableHeader+8*MaxHoles && size%8 == 0
	case OpView:
		ok = size >= viewHeader
	default:
		if record == 0 {
			ok = size == 0
			break
		}
		r.Count = uint16(min(size/record, MaxEntries))
		ok = r.Count > 0 && int(r.Count)*record == size
	}
	if !ok {
		return fmt.Errorf("%w: operation %#x with %d bytes", Invalid, uint8(r.Op), size)
	}
	return nil
}

// recordSize is the length of the data for one block or entry; 0 for operations without a count.
func recordSize(op Op) int {
	switch op {
	case OpWrite, OpRead, OpInherit:
		return cluster.BlockSize + BlockRecordSize
	case OpTombstone, OpHead:
		return BlockRecordSize
	case OpList:
		return EntryRecordSize
	case OpJournalPut, OpJournalList:
		return JournalRecordSize
	}
	return 0
}

// RecordsSize is the length in bytes of what travels with a request beside its 4 KiB blocks.
func RecordsSize(r *Request) int {
	switch r.Op {
	case OpWrite, OpRead, OpTombstone, OpHead, OpInherit:
		return int(r.Count) * BlockRecordSize
	case OpList, OpJournalList:
		return int(r.Count) * recordSize(r.Op)
	case OpJournalPut:
		return len(r.Journal) * JournalRecordSize
	case OpFence:
		return FenceRecordSize
	case OpStable:
		return stableHeader + 8*len(r.Holes)
	case OpView:
		return ViewSize(&r.View)
	}
	return 0
}

// PutRequest writes the records that a request takes to the server; b has RecordsSize bytes.
func PutRequest(b []byte, r *Request) {
	switch r.Op {
	case OpWrite, OpTombstone:
		putBlocks(b, r.Blocks)
	case OpStable:
		binary.LittleEndian.PutUint32(b, r.Want)
		binary.LittleEndian.PutUint32(b[4:], 0)
		for i, h := range r.Holes {
			binary.LittleEndian.PutUint64(b[stableHeader+8*i:], uint64(h))
		}
	case OpJournalPut:
		putJournal(b, r.Journal)
	case OpView:
		PutView(b, &r.View)
	}
}

// GetRequest reads what PutRequest wrote. r.Count is known; r.Blocks has Count elements.
func GetRequest(b []byte, r *Request) (err error) {
	switch r.Op {
	case OpWrite, OpTombstone:
		return getBlocks(b, r.Blocks)
	case OpStable:
		r.Want = binary.LittleEndian.Uint32(b)
		r.Holes = r.Holes[:0]
		for b = b[stableHeader:]; len(b) >= 8; b = b[8:] {
			r.Holes = append(r.Holes, cluster.Seq(binary.LittleEndian.Uint64(b)))
		}
	case OpJournalPut:
		r.Journal, err = getJournal(b, int(r.Count), r.Journal[:0])
	case OpView:
		r.View, err = GetView(b)
	}
	return err
}

// PutAnswer writes the records of an answer that is OK; b has RecordsSize bytes.
func PutAnswer(b []byte, r *Request) {
	switch r.Op {
	case OpRead, OpHead, OpInherit:
		putBlocks(b, r.Blocks)
	case OpList:
		clear(b[len(r.Entries)*EntryRecordSize:])
		putEntries(b, r.Entries)
	case OpJournalList:
		clear(b[len(r.Journal)*JournalRecordSize:])
		putJournal(b, r.Journal)
	case OpFence:
		le := binary.LittleEndian
		le.PutUint32(b, r.Known)
		le.PutUint32(b[4:], r.Settled)
		le.PutUint32(b[8:], r.Viewed)
		le.PutUint32(b[12:], uint32(len(r.Holes)))
		le.PutUint64(b[16:], r.Free)
		le.PutUint64(b[24:], uint64(r.Mark))
		clear(b[fenceHeader:])
		for i, h := range r.Holes {
			le.PutUint64(b[fenceHeader+8*i:], uint64(h))
		}
	}
}

// GetAnswer reads what PutAnswer wrote; n is the number of entries that DecodeResult returned.
func GetAnswer(b []byte, n int, r *Request) (err error) {
	switch r.Op {
	case OpRead, OpHead, OpInherit:
		return getBlocks(b, r.Blocks[:r.Count])
	case OpList:
		r.Entries, err = getEntries(b, n, r.Entries[:0])
	case OpJournalList:
		r.Journal, err = getJournal(b, n, r.Journal[:0])
	case OpFence:
		return r.getFence(b)
	}
	return err
}

func (r *Request) getFence(b []byte) error {
	le := binary.LittleEndian
	r.Known, r.Settled, r.Viewed = le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	r.Free, r.Mark = le.Uint64(b[16:]), cluster.Seq(le.Uint64(b[24:]))
	n := le.Uint32(b[12:])
	if n > MaxHoles {
		return fmt.Errorf("%w: fence record with %d holes", Invalid, n)
	}
	r.Holes = r.Holes[:0]
	for i := range int(n) {
		r.Holes = append(r.Holes, cluster.Seq(le.Uint64(b[fenceHeader+8*i:])))
	}
	return validateMark(r.Mark, r.Holes)
}

// EncodeResult gives the completion of a request: status and result dwords.
func EncodeResult(r *Request) (st nvme.Status, dw0, dw1 uint32) {
	dw0, dw1 = r.Known, r.Granted
	if n, list := r.listed(); list && r.Status == OK {
		if dw0 = uint32(n); r.More {
			dw0 |= moreBit
		}
	}
	if r.Status != OK {
		st = vendorBase + nvme.Status(r.Status)
	}
	return st, dw0, dw1
}

func (r *Request) listed() (n int, list bool) {
	switch r.Op {
	case OpList:
		return len(r.Entries), true
	case OpJournalList:
		return len(r.Journal), true
	}
	return 0, false
}

// DecodeResult is the inverse; for a list it returns the number of entries. Any status that is not ours says
// nothing about the request and becomes Unreachable.
func DecodeResult(r *Request, st nvme.Status, dw0, dw1 uint32) (entries int) {
	r.Granted = dw1
	switch code := st.Code(); {
	case st.OK():
		r.Status = OK
	case code > vendorBase && code < vendorBase+nvme.Status(Unreachable):
		r.Status = Status(code - vendorBase)
	default:
		r.Status = Unreachable
	}
	if _, list := r.listed(); list && r.Status == OK {
		r.More = dw0&moreBit != 0
		return int(dw0 &^ moreBit)
	}
	r.Known = dw0
	return 0
}
