package history

import (
	"fmt"
	"strings"
)

// forever is later than every event.
const forever = ^uint64(0)

// History of one volume. Not safe for concurrent use: whoever holds its lock while submitting and taking back
// an operation fixes the order of events.
type History struct {
	now     uint64
	writes  uint64
	sectors [][]group
	running map[*Op]struct{}
}

// group is one write of a sector with the reads that returned it.
type group struct {
	id          uint64 // of the write, 0: what the volume held at first
	value       uint64 // stamp, 0 for zeroes
	began       uint64 // the write
	ended       uint64 // the write; forever: not answered
	expired     uint64 // after this the write cannot take effect any more; forever: it can
	first, last uint64 // see the package documentation
}

// Op is an operation under way.
type Op struct {
	h        *History
	id       uint64 // of a write, 0: a read
	zero     bool
	from, to int
	began    uint64
}

// Violation says that a read returned what it must not return.
type Violation struct {
	Sector int
	Value  uint64
	Began  uint64   // when the read began
	Groups []string // what is known of the sector
}

// Error lists what is known of the sector, oldest write first.
func (v *Violation) Error() string {
	return fmt.Sprintf("sector %d: a read that began at %d returned stamp %d, which is stale or was never "+
		"written; known:\n  %s", v.Sector, v.Began, v.Value, strings.Join(v.Groups, "\n  "))
}

// New begins the history of a volume of so many sectors, which reads as zeroes.
func New(sectors int) *History {
	h := &History{now: 1, sectors: make([][]group, sectors), running: make(map[*Op]struct{})}
	for i := range h.sectors {
		h.sectors[i] = []group{{expired: forever}}
	}
	return h
}

// Write notes that a write of sectors from..to-1 begins; Stamp is what they shall hold.
func (h *History) Write(from, to int) *Op { return h.write(from, to, false) }

// Zero notes that an operation begins after which sectors from..to-1 read as zeroes.
func (h *History) Zero(from, to int) *Op { return h.write(from, to, true) }

// Read notes that a read of sectors from..to-1 begins.
func (h *History) Read(from, to int) *Op {
	h.now++
	op := &Op{h: h, from: from, to: to, began: h.now}
	h.running[op] = struct{}{}
	return op
}

// Pin notes a moment: who reads as of it sees what a read would have seen that began and ended then.
func (h *History) Pin() *Op { return h.Read(0, 0) }

// Seen judges what sectors from on looked like as of a pin. The error is a *Violation.
func (op *Op) Seen(from int, values []uint64) error {
	for i, value := range values {
		if !op.h.returned(from+i, value, op.began, op.began) {
			return op.h.violation(from+i, value, op.began)
		}
	}
	return nil
}

// Restore notes that an operation begins after which every sector is what values say, one per sector: stamps
// that it had before.
func (h *History) Restore(values []uint64) *Op {
	op := h.write(0, len(values), false)
	for s := range h.sectors {
		h.sectors[s][len(h.sectors[s])-1].value = values[s]
	}
	return op
}

func (h *History) write(from, to int, zero bool) *Op {
	op := h.Read(from, to)
	h.writes++
	op.id, op.zero = h.writes, zero
	oldest := h.oldest()
	for s := from; s < to; s++ {
		h.sectors[s] = append(prune(h.sectors[s], oldest), group{id: op.id, value: op.Stamp(), began: op.began,
			ended: forever, expired: forever, first: forever, last: op.began})
	}
	return op
}

// Stamp is the value of a write.
func (op *Op) Stamp() uint64 {
	if op.zero {
		return 0
	}
	return op.id
}

// ID numbers the writes of a history from 1 on; a read has 0.
func (op *Op) ID() uint64 { return op.id }

// Running is the number of operations under way.
func (h *History) Running() int { return len(h.running) }

// Writes is the number of writes begun, the newest stamp.
func (h *History) Writes() uint64 { return h.writes }

// Abandon notes that an operation ended without an answer that says anything: a write may still take effect.
// A pin is given up.
func (op *Op) Abandon() { delete(op.h.running, op) }

// Expire notes that an operation ended without an answer, and that whoever carried it out has been shut out:
// a write has taken effect by now, or never does.
func (op *Op) Expire() {
	h := op.h
	h.now++
	delete(h.running, op)
	for s := op.from; s < op.to && op.id != 0; s++ {
		for i := range h.sectors[s] {
			if g := &h.sectors[s][i]; g.id == op.id {
				g.expired = min(g.expired, h.now)
			}
		}
	}
}

// Cut notes that sectors from..to-1 hold zeroes from now on, whatever was under way: a write of them has
// taken effect by now, or never does.
func (h *History) Cut(from, to int) {
	h.now++
	for s := from; s < to; s++ {
		for i := range h.sectors[s] {
			h.sectors[s][i].expired = min(h.sectors[s][i].expired, h.now)
		}
	}
	_ = h.Zero(from, to).Done(nil) // of a write it says nothing
}

// Done notes that an operation was answered with success; values are the stamps that a read found, one per
// sector. The error is a *Violation.
func (op *Op) Done(values []uint64) error {
	h := op.h
	h.now++
	delete(h.running, op)
	for s := op.from; s < op.to; s++ {
		if op.id != 0 {
			h.acknowledge(s, op.id)
		} else if !h.returned(s, values[s-op.from], op.began, h.now) {
			return h.violation(s, values[s-op.from], op.began)
		}
	}
	return nil
}

func (h *History) acknowledge(sector int, id uint64) {
	for i := range h.sectors[sector] {
		if g := &h.sectors[sector][i]; g.id == id {
			g.ended, g.first = h.now, min(g.first, h.now)
		}
	}
}

// returned counts a read for the group it belongs to; false when there is none that it fits.
func (h *History) returned(sector int, value, began, ended uint64) bool {
	all := h.sectors[sector]
	fits, fit := 0, group{}
	at := 0
	for i, g := range all {
		if g.value != value || g.began > ended {
			continue
		}
		g.first, g.last = min(g.first, g.expired, ended), max(g.last, began)
		if !contradicted(all, i, g) {
			fits, fit, at = fits+1, g, i
		}
	}
	if fits == 1 {
		all[at] = fit
	}
	return fits > 0
}

// contradicted reports whether group i, changed to g, contradicts another one.
func contradicted(all []group, i int, g group) bool {
	for j, o := range all {
		if j != i && g.first < o.last && o.first < g.last {
			return true
		}
	}
	return false
}

// oldest is when the oldest operation under way began.
func (h *History) oldest() uint64 {
	t := h.now
	for op := range h.running {
		t = min(t, op.began)
	}
	return t
}

// prune drops groups that can neither grow nor contradict: all of them was over when a write began that is
// known to have taken effect before any operation under way began. Whatever contradicts them contradicts that
// write.
func prune(all []group, oldest uint64) []group {
	horizon := uint64(0)
	for _, g := range all {
		if g.first < oldest {
			horizon = max(horizon, g.began)
		}
	}
	kept := all[:0]
	for _, g := range all {
		if max(min(max(g.ended, g.first), g.expired), g.last) >= horizon {
			kept = append(kept, g)
		}
	}
	return kept
}

func (h *History) violation(sector int, value, began uint64) error {
	v := &Violation{Sector: sector, Value: value, Began: began}
	for _, g := range h.sectors[sector] {
		end := "not answered"
		if g.expired != forever {
			end = fmt.Sprintf("given up at %d", g.expired)
		}
		if g.ended != forever {
			end = fmt.Sprintf("answered at %d", g.ended)
		}
		known := "not known to have taken effect"
		if g.first != forever {
			known = fmt.Sprintf("took effect before %d, latest operation that shows it began at %d", g.first, g.last)
		}
		v.Groups = append(v.Groups, fmt.Sprintf("stamp %d: begun at %d, %s; %s", g.value, g.began, end, known))
	}
	return v
}
