package stripe

import "fmt"

// ReadPlan says how to get data columns of one row.
type ReadPlan struct {
	Read   Cols // columns to read
	Decode Cols // data columns to reconstruct from what was read
}

// String implements fmt.Stringer.
func (p ReadPlan) String() string { return fmt.Sprintf("read %v decode %v", p.Read, p.Decode) }

// PlanRead plans to read the wanted data columns while some columns are missing. What is there is read as
// it is. If any is missing, n columns are read in all, all data that are there before parities, and the
// missing are decoded; ErrTooFew if there are not n. n = 1 is no exception: any column yields the block,
// and of copies decoding is copying.
func PlanRead(n, p int, want, missing Cols) (ReadPlan, error) {
	mustBeWithin("wanted", want, FirstCols(n))
	there := FirstCols(n+p) &^ missing
	lost := want & missing
	switch {
	case lost == 0:
		return ReadPlan{Read: want}, nil
	case there.Len() < n:
		return ReadPlan{}, fmt.Errorf("read columns %v without %v: %w", want, missing, ErrTooFew)
	}
	return ReadPlan{Read: there.Lowest(n), Decode: lost}, nil
}

// WriteMode is how a row write gets its new parities.
type WriteMode uint8

// The modes.
const (
	FullRow     WriteMode = iota + 1 // all data are new: encode
	Reconstruct                      // complete the data of the row from old blocks: encode
	Delta                            // old parities plus coefficient * (old xor new) of what changes
)

// String implements fmt.Stringer.
func (m WriteMode) String() string {
	switch m {
	case FullRow:
		return "full row"
	case Reconstruct:
		return "reconstruct"
	case Delta:
		return "delta"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// WritePlan says how to write one row.
type WritePlan struct {
	Mode   WriteMode
	Read   Cols // columns whose old blocks are read
	Decode Cols // data columns whose old blocks are reconstructed from what was read
	Write  Cols // the write set: the data columns that change and all parities
}

// String implements fmt.Stringer.
func (p WritePlan) String() string {
	return fmt.Sprintf("%v: read %v decode %v write %v", p.Mode, p.Read, p.Decode, p.Write)
}

// PlanWrite plans a row write: full are the data columns whose block is new as a whole, partial those
// that keep some of the old block, missing the columns that cannot be read now (they are written all the
// same: to an alternate, or as stale). At least one column must change.
//
// Reconstruct needs the old blocks of all data columns but the full ones, and gets them as PlanRead does.
// Delta needs those of all that change and of all parities, with none of them missing; it is chosen only
// where it reads fewer columns. ErrTooFew: an old block that is needed cannot be had. Without parities (p
// = 0) columns know nothing of each other, so only the old blocks of partial columns count.
func PlanWrite(n, p int, full, partial, missing Cols) (WritePlan, error) {
	mustBeWithin("changed", full|partial, FirstCols(n))
	if full&partial != 0 || full|partial == 0 {
		panic(fmt.Sprintf("stripe: a row write changes %v in full and %v in part", full, partial))
	}
	parities := ParityCols(n, p)
	plan := WritePlan{Mode: Reconstruct, Write: full | partial | parities}
	need := FirstCols(n) &^ full
	if p == 0 {
		need = partial
	}
	if need == 0 {
		plan.Mode = FullRow
		return plan, nil
	}
	old, err := PlanRead(n, p, need, missing)
	if err != nil {
		return WritePlan{}, fmt.Errorf("write columns %v: %w", full|partial, err)
	}
	plan.Read, plan.Decode = old.Read, old.Decode
	if p > 0 && plan.Write&missing == 0 && plan.Write.Len() < plan.Read.Len() {
		plan.Mode, plan.Read, plan.Decode = Delta, plan.Write, 0
	}
	return plan, nil
}

// mustBeWithin panics for sets that only a bug of ours can make.
func mustBeWithin(what string, set, all Cols) {
	if set&^all != 0 {
		panic(fmt.Sprintf("stripe: %s columns %v are not all of %v", what, set, all))
	}
}
