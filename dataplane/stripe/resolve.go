package stripe

import "fmt"

// ColumnState is what an open knows of one column of a row and version w.
type ColumnState uint8

// The states.
const (
	Missing ColumnState = iota // unreachable, stale, bad or suspect: nothing is known
	Old                        // a fact: w is not here, the newest version is older or there is none
	Has                        // w is here and good
)

// Decision is what becomes of version w of a row.
type Decision uint8

// The decisions.
const (
	Undecided Decision = iota // neither can be told; the row waits and all its versions are kept
	Forward                   // w can be had: complete it everywhere
	Back                      // w cannot be had, was never acknowledged: undo it everywhere
)

// String implements fmt.Stringer.
func (d Decision) String() string {
	switch d {
	case Undecided:
		return "undecided"
	case Forward:
		return "forward"
	case Back:
		return "back"
	}
	return fmt.Sprintf("decision %d", uint8(d))
}

// Resolution is a decision and, if it is Forward, how to carry it out.
type Resolution struct {
	Decision Decision
	Sources  Cols // n columns that yield the row at w; p = 0: those of the write set
	Complete Cols // columns of the write set that do not have w yet, or are not known to
}

// String implements fmt.Stringer.
func (r Resolution) String() string {
	if r.Decision != Forward {
		return r.Decision.String()
	}
	return fmt.Sprintf("forward from %v complete %v", r.Sources, r.Complete)
}

// Resolve decides about version w of a row whose write set has the data columns in set; parities always
// belong. states has n+p entries. A column counts if it yields the row at w: one of the write set that
// has w, a data column outside that is there, as w did not change it.
//
// If n columns count, w goes forward. Else, if n columns are not missing, one of them is in the write set
// and does not have w, so w was never acknowledged and goes back: those n still yield the row before w.
// Else nobody can tell.
//
// p = 0: columns know nothing of each other, so only those of the set matter. If all have w it stays; if
// one is known not to, w was never acknowledged.
func Resolve(n, p int, set Cols, states []ColumnState) Resolution {
	mustBeWithin("written", set, FirstCols(n))
	if len(states) != n+p {
		panic(fmt.Sprintf("stripe: %d column states for %d+%d columns", len(states), n, p))
	}
	var has, old Cols
	for c, s := range states {
		switch s {
		case Has:
			has |= ColsOf(c)
		case Old:
			old |= ColsOf(c)
		}
	}
	if p == 0 {
		return resolveAlone(set, has, old)
	}
	writeSet := set | ParityCols(n, p)
	known := has | old&^writeSet
	switch {
	case known.Len() >= n:
		return Resolution{Decision: Forward, Sources: known.Lowest(n), Complete: writeSet &^ has}
	case (has | old).Len() >= n:
		return Resolution{Decision: Back}
	}
	return Resolution{}
}

// resolveAlone is Resolve without parities.
func resolveAlone(set, has, old Cols) Resolution {
	switch {
	case set&^has == 0:
		return Resolution{Decision: Forward, Sources: set}
	case set&old != 0:
		return Resolution{Decision: Back}
	}
	return Resolution{}
}
