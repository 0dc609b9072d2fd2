package cluster

import (
	"cmp"
	"fmt"
	"slices"
)

// Limits of a view list.
const (
	MaxPins   = 1024
	MaxHidden = 32
)

// View is the view list of a volume: what of its past is still to be seen. Every version that is the newest
// not after a pin, as that pin sees it, is kept.
type View struct {
	Version uint32     `json:"version"`          // of the list; the higher one counts
	Pins    []Seq      `json:"pins,omitempty"`   // ascending
	Hidden  []Interval `json:"hidden,omitempty"` // ascending by To
	// Cloned: the volume was made as a clone, for good. Where nothing was ever written, reads show what is
	// behind it; so a tombstone over nothing is not the same as nothing, and stays.
	Cloned bool `json:"cloned,omitempty"`
}

// Interval is (After, To]: at To the volume was reverted to what it was at After. Who looks from later than
// To sees of the time until To what was seen as of After, and nothing else; pins in the interval see what
// they have always seen.
type Interval struct {
	After Seq `json:"after"`
	To    Seq `json:"to"`
}

// Sees reports whether a read as of s (0: the present) sees version w.
func (v *View) Sees(s, w Seq) bool {
	if s == 0 {
		s = ^Seq(0)
	}
	if w > s {
		return false
	}
	for i := len(v.Hidden) - 1; i >= 0; i-- {
		h := v.Hidden[i]
		switch {
		case h.To >= s: // reverted later
		case w > h.To:
			return true
		case w > h.After:
			return false
		default:
			s = h.After
		}
	}
	return true
}

// Reverts counts the reverts that a view as of s (0: the present) comes after. Two views with none between
// them see the same, unless there is a version between them.
func (v *View) Reverts(s Seq) int {
	if s == 0 {
		s = ^Seq(0)
	}
	n, _ := slices.BinarySearchFunc(v.Hidden, s, func(h Interval, s Seq) int { return cmp.Compare(h.To, s) })
	return n
}

// Validate checks order and limits.
func (v *View) Validate() error {
	if len(v.Pins) > MaxPins || len(v.Hidden) > MaxHidden || !slices.IsSorted(v.Pins) {
		return fmt.Errorf("view list %d with %d pins and %d intervals", v.Version, len(v.Pins), len(v.Hidden))
	}
	last := Seq(0)
	for _, h := range v.Hidden {
		if h.To <= last || h.To <= h.After || h.To == ^Seq(0) {
			return fmt.Errorf("hidden interval (%v, %v] of view list %d", h.After, h.To, v.Version)
		}
		last = h.To
	}
	return nil
}

// Clone is a deep copy.
func (v *View) Clone() View {
	c := *v
	c.Pins, c.Hidden = slices.Clone(v.Pins), slices.Clone(v.Hidden)
	return c
}

// IsZero reports that nothing was ever pinned or hidden.
func (v View) IsZero() bool { return v.Version == 0 }

// OfClone is the list of a volume that is a clone: the next one, unless this one says so. That has to be said
// before anything is written.
func (v *View) OfClone() View {
	next := v.Clone()
	if !next.Cloned {
		next.Cloned = true
		next.Version++
	}
	return next
}

// WithPins is the next list, with pins added and removed.
func (v *View) WithPins(add, remove []Seq) View {
	next := v.Clone()
	next.Version++
	next.Pins = slices.DeleteFunc(next.Pins, func(p Seq) bool { return slices.Contains(remove, p) })
	next.Pins = append(next.Pins, add...)
	slices.Sort(next.Pins)
	next.prune()
	return next
}

// Reverted is the next list, in which the present sees what pin sees: what was written after it, up to now,
// is hidden. Other pins see what they have seen.
func (v *View) Reverted(pin, now Seq) View {
	next := v.Clone()
	next.Version++
	next.Hidden = append(next.Hidden, Interval{After: pin, To: now})
	next.prune()
	return next
}

// prune leaves intervals out that nobody looks through any more.
func (v *View) prune() {
	needed := make([]bool, len(v.Hidden))
	for _, s := range append(slices.Clone(v.Pins), ^Seq(0)) {
		for i := len(v.Hidden) - 1; i >= 0; i-- {
			if v.Hidden[i].To < s {
				needed[i], s = true, v.Hidden[i].After
			}
		}
	}
	kept := v.Hidden[:0]
	for i, h := range v.Hidden {
		if needed[i] {
			kept = append(kept, h)
		}
	}
	v.Hidden = kept
}
