//go:build !mutants

package mutant

// Set is the planted bugs: none.
type Set struct{}

// Is reports whether a bug is planted: never.
func (Set) Is(Name) bool { return false }
