//go:build mutants

package mutant

// Set is the planted bug, none in the zero Set.
type Set struct{ name Name }

// Of plants one bug.
func Of(n Name) Set { return Set{n} }

// Is reports whether a bug is planted.
func (s Set) Is(n Name) bool { return s.name == n }
