package sim

import (
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
)

// How the events of the world read in traces.

func requestText(r *chunk.Request) string {
	text := fmt.Sprintf("device %d epoch %d: %s", r.Device, r.Epoch, opName(r))
	switch r.Op {
	case chunk.OpRead, chunk.OpHead, chunk.OpWrite, chunk.OpTombstone, chunk.OpUndo:
		text += fmt.Sprintf(" page %d column %d rows %d+%d residency %v", r.Page, r.Column, r.Block, r.Count,
			r.Residency)
		if r.W != 0 {
			text += fmt.Sprintf(" w %v", r.W)
		}
		if r.Op != chunk.OpUndo && (r.Op != chunk.OpRead && r.Op != chunk.OpHead || r.Status == chunk.OK) {
			text += blocksText(r.Blocks)
		}
	case chunk.OpDrop, chunk.OpRenumber:
		text += fmt.Sprintf(" page %d column %d residency %v", r.Page, r.Column, r.Residency)
	case chunk.OpStable:
		text += fmt.Sprintf(" %v", r.W)
		if len(r.Holes) > 0 {
			text += fmt.Sprintf(" but %v", r.Holes)
		}
	case chunk.OpJournalPut, chunk.OpJournalList:
		for _, x := range r.Journal {
			text += " " + entryText(x)
		}
	case chunk.OpList:
		for _, x := range r.Entries {
			text += fmt.Sprintf(" %d/%d/%d:%v=%v", x.Page, x.Column, x.Block, x.W, x.State)
		}
	case chunk.OpFence:
		text += fmt.Sprintf(" known %d settled %d", r.Known, r.Settled)
	}
	return text + ": " + r.Status.String()
}

func blocksText(blocks []chunk.BlockInfo) string {
	var b strings.Builder
	for _, x := range blocks {
		fmt.Fprintf(&b, " [%v %v set %x mask %x]", x.State, x.W, x.Set, x.Mask)
	}
	return b.String()
}

func entryText(x chunk.JournalEntry) string {
	text := fmt.Sprintf("{%d/%d at %v", x.Page, x.Column, x.Seq)
	if x.Gone {
		text += " gone"
	}
	if x.Stale {
		text += " stale"
	}
	if x.Complete {
		text += " complete"
	}
	if x.Renumber {
		text += " renumber"
	}
	for _, p := range x.Places {
		text += fmt.Sprintf(" %d@%v", p.Device, p.Residency)
	}
	return text + "}"
}

func opName(r *chunk.Request) string {
	switch r.Op {
	case chunk.OpWrite:
		return "write"
	case chunk.OpTombstone:
		return "tombstone"
	case chunk.OpRead:
		return "read"
	case chunk.OpHead:
		return "head"
	case chunk.OpUndo:
		return "undo"
	case chunk.OpDrop:
		return "drop"
	case chunk.OpRenumber:
		return "renumber"
	case chunk.OpList:
		return [...]string{"list all", "list unstable", "list chunks", "list bad"}[r.Mode]
	case chunk.OpFence:
		return "fence"
	case chunk.OpSettle:
		return "settle"
	case chunk.OpStable:
		return "stable"
	case chunk.OpJournalPut:
		return "journal put"
	case chunk.OpJournalList:
		return "journal list"
	case chunk.OpJournalTrim:
		return "journal trim"
	case chunk.OpJournalWipe:
		return "journal wipe"
	case chunk.OpView:
		return "view"
	}
	return fmt.Sprintf("operation %#x", uint8(r.Op))
}

func (a *attempt) text() string {
	h := a.h
	text := [...]string{"read", "write", "zero"}[h.kind]
	if h.kind != engine.Read {
		text += fmt.Sprintf(" #%d", a.hist.ID())
	}
	text += fmt.Sprintf(" volume %d", h.v.index)
	if h.pin != nil {
		text += fmt.Sprintf(" as of %v", h.pin.w)
	}
	if h.lba%sectorsPerBlock == 0 && h.sectors%sectorsPerBlock == 0 {
		return text + fmt.Sprintf(" blocks %d+%d", h.lba/sectorsPerBlock, h.sectors/sectorsPerBlock)
	}
	return text + fmt.Sprintf(" sectors %d+%d", h.lba, h.sectors)
}

func statusText(s engine.Status) string {
	return [...]string{engine.OK: "ok", engine.PathGone: "path gone", engine.NoSpace: "no space",
		engine.Media: "media error", engine.OutOfRange: "out of range"}[s]
}

// found tells which writes a read returned, in order of address.
func (a *attempt) found() string {
	if a.h.kind != engine.Read || a.op.Status != engine.OK {
		return ""
	}
	values, err := stamps(a.op.Data, a.h.v, a.h.lba)
	if err != nil {
		return ", " + err.Error()
	}
	text, last := ":", ^uint64(0)
	for _, v := range values {
		if v != last {
			text += fmt.Sprintf(" #%d", v)
		}
		last = v
	}
	return text
}

func recordText(o cluster.Owner) string {
	return fmt.Sprintf("gateway %d epoch %d served %d released %v journal %d %v layout %v", o.Gateway, o.Epoch,
		o.Served, o.Released, o.Journal.Version, o.Journal.Members, o.Layout)
}
