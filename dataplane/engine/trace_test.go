package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// How the events of the world read, in traces and stories. A write or zero has a number, #1 for the first.

func describe(p pending, s chunk.Status) string {
	r := p.r
	text := fmt.Sprintf("owner %d -> device %d: %s", r.Epoch, r.Device, opName(r))
	switch r.Op {
	case chunk.OpRead, chunk.OpWrite, chunk.OpTombstone, chunk.OpUndo:
		text += fmt.Sprintf(" page %d block %d+%d", r.Page, r.Block, r.Count)
		if r.W != 0 {
			text += fmt.Sprintf(" w %v", r.W)
		}
	case chunk.OpBegin:
		text += fmt.Sprintf(" residency %d", r.Residency)
	case chunk.OpStable:
		text += fmt.Sprintf(" %v", r.Stable)
	}
	return text + ": " + s.String()
}

func opName(r *chunk.Request) string {
	switch r.Op {
	case chunk.OpTombstone:
		return "tombstone"
	case chunk.OpWrite:
		return "write"
	case chunk.OpRead:
		return "read"
	case chunk.OpUndo:
		return "undo"
	case chunk.OpList:
		if r.Mode == chunk.ListUnstable {
			return "list unstable"
		}
		return "list"
	case chunk.OpFence:
		return "fence"
	case chunk.OpBegin:
		return "begin"
	case chunk.OpSettle:
		return "settle"
	case chunk.OpStable:
		return "stable"
	}
	return "unknown"
}

func opText(op *Op, o *hostOp) string {
	text := map[Kind]string{Read: "read", Write: "write", Zero: "zero"}[op.Kind]
	if o.id != 0 {
		text += fmt.Sprintf(" #%d", o.id)
	}
	if op.LBA%sectorsPerBlock == 0 && op.Sectors%sectorsPerBlock == 0 {
		return text + fmt.Sprintf(" of blocks %d+%d", op.LBA/sectorsPerBlock, op.Sectors/sectorsPerBlock)
	}
	return text + fmt.Sprintf(" of sectors %d+%d", op.LBA, op.Sectors)
}

func statusText(s Status) string {
	return map[Status]string{OK: "ok", PathGone: "path gone", NoSpace: "no space", Media: "media error"}[s]
}

// found tells which writes a read returned, in order of address.
func (w *world) found(op *Op) string {
	if op.Kind != Read || op.Status != OK {
		return ""
	}
	var out []string
	last := ^uint64(0)
	for _, v := range w.values(op) {
		if v == last {
			continue
		}
		last = v
		if v == 0 {
			out = append(out, "zeroes")
		} else {
			out = append(out, fmt.Sprintf("#%d", v))
		}
	}
	return ", " + strings.Join(out, " ")
}

func recordText(o cluster.Owner) string {
	var out []string
	for _, x := range o.Out {
		out = append(out, fmt.Sprint(x.Device))
	}
	text := "out " + strings.Join(out, " ")
	if len(out) == 0 {
		text = "nothing out"
	}
	var numbers []cluster.DeviceID
	for d := range o.Residencies {
		numbers = append(numbers, d)
	}
	slices.Sort(numbers)
	for _, d := range numbers {
		text += fmt.Sprintf(", residency of %d is %d", d, o.Residencies[d])
	}
	return text
}
