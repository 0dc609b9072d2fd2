package chunk

import (
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Residency numbers what a device holds of one (page, column): data under another number is invisible. A
// device that is given a (page, column) again gets a higher number, so what it kept from before never comes
// back. A request under a higher number than the one held sees nothing and, when it writes, begins that
// residency: what was held under the older number is freed by the same record. A request under a lower number
// is refused as "not mine". Renumber alone takes what is held along to a higher number.
//
//	 55      40 39            16 15     0
//	+----------+----------------+--------+
//	| table+1  | owner epoch    | round  |   epoch and round are 0 for the home of the column
//	+----------+----------------+--------+
//
// table is the number of the group table since which the device is the home, or that was valid when the
// alternate was drawn; round counts the comings and goings of devices that the owner has seen.
type Residency uint64

// MaxRound is the largest round of one owner epoch.
const MaxRound = 1<<16 - 1

// MaxTable is the largest number of a group table.
const MaxTable = 1<<16 - 2

const maxResidency = 1<<56 - 1

// Home is the residency of the device that is the home of a column since a table.
func Home(table uint32) Residency {
	if table > MaxTable {
		panic(fmt.Sprintf("chunk: table %d does not fit a residency", table))
	}
	return Residency(table+1) << 40
}

// Alternate is the residency of an alternate drawn in a round of an owner epoch.
func Alternate(table, epoch uint32, round uint16) Residency {
	return Home(table) | Residency(epoch)<<16 | Residency(round)
}

// Overlay reports whether the residency lies over another device's: there a tombstone hides what is below,
// and is kept for as long as the residency lasts.
func (r Residency) Overlay() bool { return r&(1<<40-1) != 0 }

// String gives "table" or "table/epoch.round".
func (r Residency) String() string {
	if r == 0 {
		return "none"
	}
	if !r.Overlay() {
		return fmt.Sprintf("t%d", r>>40-1)
	}
	return fmt.Sprintf("t%d/%d.%d", r>>40-1, r>>16&cluster.MaxOwnerEpoch, r&MaxRound)
}

// Place is a device and the residency under which it holds a column of a page.
type Place struct {
	Device    cluster.DeviceID
	Residency Residency
}

func (p Place) wrong() bool { return p.Residency == 0 || p.Residency > maxResidency }

// MaxAlternates bounds the places of a journal entry.
const MaxAlternates = 4

// JournalEntry of the placement journal says where a column of a page lies when it does not lie at its home
// alone. The places are ordered from the first to the last drawn; writes go to the last, reads ask from the
// last to the first and only "absent" permits the one before.
type JournalEntry struct {
	Page   uint64
	Seq    cluster.Seq // of the entry: the highest of a (page, column) counts
	Column uint8
	// Gone: there is no entry any more; kept until every member of the journal has it.
	Gone bool
	// Stale: what the places lie over has missed a write that none of them has. It is not asked, and absent from
	// all of them means missing.
	Stale bool
	// Complete: the first place holds the whole column; the others lie over it, not over the home.
	Complete bool
	// Renumber: the first place may still hold what it has under an older number. [OpRenumber] goes before any
	// other request for the column there, once in every session; Complete is set, too.
	Renumber bool
	Places   []Place
}

// Cursor is the position of the entry in the list of a journal.
func (x *JournalEntry) Cursor() Cursor {
	return Cursor{Page: x.Page, Column: x.Column, Block: MaxBlocks - 1}
}

func validateJournal(entries []JournalEntry, epoch uint32) error {
	if len(entries) == 0 || len(entries) > MaxJournalEntries {
		return fmt.Errorf("%w: %d journal entries", Invalid, len(entries))
	}
	for i := range entries {
		x := &entries[i]
		if x.Page > maxPage || x.Seq.Epoch() > epoch || x.Seq == 0 || len(x.Places) > MaxAlternates ||
			x.Renumber && (!x.Complete || len(x.Places) == 0) ||
			slices.ContainsFunc(x.Places, Place.wrong) {
			return fmt.Errorf("%w: journal entry %+v", Invalid, *x)
		}
	}
	return nil
}

// Limits of a view list.
const (
	MaxPins   = cluster.MaxPins
	MaxHidden = cluster.MaxHidden
)

// View is the view list of a volume, as its owner record has it and as devices are told.
type View = cluster.View

// Interval is what a revert has hidden.
type Interval = cluster.Interval

func validateView(v *View) error {
	if err := v.Validate(); err != nil {
		return fmt.Errorf("%w: %w", Invalid, err)
	}
	return nil
}

// Seal is the entry, of no page, that an open writes to a member of the journal behind everything else: it
// says that the member has all that counted when the owner of this epoch opened the volume.
func Seal(epoch uint32) JournalEntry {
	return JournalEntry{Page: maxPage, Column: sealColumn, Seq: cluster.MakeSeq(epoch, 1)}
}

const sealColumn = 0xff

// IsSeal reports whether an entry is a seal.
func (x *JournalEntry) IsSeal() bool { return x.Page == maxPage && x.Column == sealColumn }
