package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func putBlocks(b []byte, blocks []BlockInfo) {
	for i := range blocks {
		x, o := &blocks[i], b[i*BlockRecordSize:][:BlockRecordSize]
		binary.LittleEndian.PutUint64(o, uint64(x.W))
		binary.LittleEndian.PutUint32(o[8:], x.CRC)
		binary.LittleEndian.PutUint16(o[12:], x.Set)
		binary.LittleEndian.PutUint16(o[14:], x.Mask)
		o[16] = uint8(x.State)
		clear(o[17:])
	}
}

// getBlocks reads len(blocks) block records. An unknown state is an error.
func getBlocks(b []byte, blocks []BlockInfo) error {
	if len(b) < len(blocks)*BlockRecordSize {
		return fmt.Errorf("%w: %d bytes for %d block records", Invalid, len(b), len(blocks))
	}
	for i := range blocks {
		o := b[i*BlockRecordSize:][:BlockRecordSize]
		if State(o[16]) > Torn {
			return fmt.Errorf("%w: block state %d", Invalid, o[16])
		}
		blocks[i] = BlockInfo{W: cluster.Seq(binary.LittleEndian.Uint64(o)), CRC: binary.LittleEndian.Uint32(o[8:]),
			Set: binary.LittleEndian.Uint16(o[12:]), Mask: binary.LittleEndian.Uint16(o[14:]), State: State(o[16])}
	}
	return nil
}

func putEntries(b []byte, entries []Entry) {
	for i := range entries {
		x, o := &entries[i], b[i*EntryRecordSize:][:EntryRecordSize]
		binary.LittleEndian.PutUint64(o, x.Page)
		binary.LittleEndian.PutUint64(o[8:], uint64(x.W))
		binary.LittleEndian.PutUint64(o[16:], uint64(x.Residency))
		binary.LittleEndian.PutUint16(o[24:], x.Block)
		binary.LittleEndian.PutUint16(o[26:], x.Set)
		o[28], o[29] = x.Column, uint8(x.State)
		clear(o[30:])
	}
}

// getEntries appends n entry records to dst.
func getEntries(b []byte, n int, dst []Entry) ([]Entry, error) {
	if n < 0 || len(b)/EntryRecordSize < n {
		return dst, fmt.Errorf("%w: %d bytes for %d entries", Invalid, len(b), n)
	}
	for i := range n {
		o := b[i*EntryRecordSize:][:EntryRecordSize]
		if State(o[29]) > Torn {
			return dst, fmt.Errorf("%w: block state %d", Invalid, o[29])
		}
		dst = append(dst, Entry{State: State(o[29]), Residency: Residency(binary.LittleEndian.Uint64(o[16:])),
			Set: binary.LittleEndian.Uint16(o[26:]), Cursor: Cursor{Page: binary.LittleEndian.Uint64(o),
				W:     cluster.Seq(binary.LittleEndian.Uint64(o[8:])),
				Block: binary.LittleEndian.Uint16(o[24:]), Column: o[28]}})
	}
	return dst, nil
}

func putJournal(b []byte, entries []JournalEntry) {
	for i := range entries {
		PutJournalEntry(b[i*JournalRecordSize:], &entries[i])
	}
}

// PutJournalEntry writes one journal record of JournalRecordSize bytes.
func PutJournalEntry(b []byte, x *JournalEntry) {
	o := b[:JournalRecordSize]
	clear(o)
	binary.LittleEndian.PutUint64(o, x.Page)
	binary.LittleEndian.PutUint64(o[8:], uint64(x.Seq))
	o[16], o[18] = x.Column, uint8(len(x.Places))
	if x.Gone {
		o[17] |= flagGone
	}
	if x.Stale {
		o[17] |= flagStale
	}
	if x.Complete {
		o[17] |= flagComplete
	}
	if x.Renumber {
		o[17] |= flagRenumber
	}
	for i, p := range x.Places {
		binary.LittleEndian.PutUint32(o[24+12*i:], uint32(p.Device))
		binary.LittleEndian.PutUint64(o[28+12*i:], uint64(p.Residency))
	}
}

// GetJournalEntry reads one journal record.
func GetJournalEntry(b []byte) (JournalEntry, error) {
	const flags = flagGone | flagStale | flagComplete | flagRenumber
	if len(b) < JournalRecordSize || b[18] > MaxAlternates || b[17]&^flags != 0 {
		return JournalEntry{}, fmt.Errorf("%w: journal record of %d bytes", Invalid, len(b))
	}
	x := JournalEntry{Page: binary.LittleEndian.Uint64(b), Seq: cluster.Seq(binary.LittleEndian.Uint64(b[8:])),
		Column: b[16], Gone: b[17]&flagGone != 0, Stale: b[17]&flagStale != 0, Complete: b[17]&flagComplete != 0,
		Renumber: b[17]&flagRenumber != 0}
	for i := range int(b[18]) {
		x.Places = append(x.Places, Place{Device: cluster.DeviceID(binary.LittleEndian.Uint32(b[24+12*i:])),
			Residency: Residency(binary.LittleEndian.Uint64(b[28+12*i:]))})
	}
	return x, nil
}

// getJournal appends n journal records to dst.
func getJournal(b []byte, n int, dst []JournalEntry) ([]JournalEntry, error) {
	if n < 0 || len(b)/JournalRecordSize < n {
		return dst, fmt.Errorf("%w: %d bytes for %d journal entries", Invalid, len(b), n)
	}
	for i := range n {
		x, err := GetJournalEntry(b[i*JournalRecordSize:])
		if err != nil {
			return dst, err
		}
		dst = append(dst, x)
	}
	return dst, nil
}

// ViewSize is the length of an encoded view list, in bytes.
func ViewSize(v *View) int { return viewHeader + 8*len(v.Pins) + 16*len(v.Hidden) }

// PutView writes a view list of ViewSize bytes.
func PutView(b []byte, v *View) {
	le := binary.LittleEndian
	le.PutUint32(b, v.Version)
	le.PutUint16(b[4:], uint16(len(v.Pins)))
	hidden := uint16(len(v.Hidden))
	if v.Cloned {
		hidden |= viewCloned
	}
	le.PutUint16(b[6:], hidden)
	b = b[viewHeader:]
	for _, p := range v.Pins {
		le.PutUint64(b, uint64(p))
		b = b[8:]
	}
	for _, h := range v.Hidden {
		le.PutUint64(b, uint64(h.After))
		le.PutUint64(b[8:], uint64(h.To))
		b = b[16:]
	}
}

// GetView reads a view list that fills b.
func GetView(b []byte) (View, error) {
	le := binary.LittleEndian
	if len(b) < viewHeader {
		return View{}, fmt.Errorf("%w: view list of %d bytes", Invalid, len(b))
	}
	v := View{Version: le.Uint32(b), Cloned: le.Uint16(b[6:])&viewCloned != 0}
	pins, hidden := int(le.Uint16(b[4:])), int(le.Uint16(b[6:])&^viewCloned)
	if pins > MaxPins || hidden > MaxHidden || len(b) != viewHeader+8*pins+16*hidden {
		return View{}, fmt.Errorf("%w: view list with %d pins and %d intervals in %d bytes", Invalid, pins, hidden,
			len(b))
	}
	b = b[viewHeader:]
	for range pins {
		v.Pins = append(v.Pins, cluster.Seq(le.Uint64(b)))
		b = b[8:]
	}
	for range hidden {
		v.Hidden = append(v.Hidden, Interval{After: cluster.Seq(le.Uint64(b)), To: cluster.Seq(le.Uint64(b[8:]))})
		b = b[16:]
	}
	return v, validateView(&v)
}
