package stripe

import (
	"iter"
	"math/bits"
	"strconv"
	"strings"
)

// Cols is a set of columns of a page: bit c is column c, data columns first, then parities.
type Cols uint32

// ColsOf makes a set of the columns named.
func ColsOf(columns ...int) Cols {
	var s Cols
	for _, c := range columns {
		s |= 1 << c
	}
	return s
}

// FirstCols is the set of columns 0 .. count-1: FirstCols(n) are the data columns, FirstCols(n+p) all.
func FirstCols(count int) Cols { return 1<<count - 1 }

// ParityCols is the set of the p parity columns behind n data columns.
func ParityCols(n, p int) Cols { return FirstCols(p) << n }

// Has reports whether column c is in the set.
func (s Cols) Has(c int) bool { return s>>c&1 == 1 }

// Len is the number of columns in the set.
func (s Cols) Len() int { return bits.OnesCount32(uint32(s)) }

// Lowest is the subset of the count lowest columns; of all if there are fewer.
func (s Cols) Lowest(count int) Cols {
	rest := s
	for range count {
		rest &= rest - 1
	}
	return s &^ rest
}

// All yields the columns in ascending order.
func (s Cols) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for rest := s; rest != 0; rest &= rest - 1 {
			if !yield(bits.TrailingZeros32(uint32(rest))) {
				return
			}
		}
	}
}

// String lists the columns: "0,2,5", or "-" for none.
func (s Cols) String() string {
	if s == 0 {
		return "-"
	}
	var names []string
	for c := range s.All() {
		names = append(names, strconv.Itoa(c))
	}
	return strings.Join(names, ",")
}
