// Package mutant names bugs that can be planted in the protocol, to prove that the simulator would find them.
// It is pure.
//
// A rule of the protocol asks the [Set] of its component whether it is to be dropped:
//
//	if r.Epoch < v.fence && !m.Is(mutant.SkipFence) {
//		return chunk.Fenced
//	}
//
// What is shipped is built without the tag "mutants": there a Set is empty, takes no room, Is is a constant
// false and the compiler removes the question. With the tag a Set holds one name, and `make mutants` runs the
// simulator's seeds with each name in turn until one of them fails.
//
// Stories of the engine notice its bugs, too, also those which seeds come upon seldom (Rare).
//
// The names are in names.go, each with the rule that it drops and the schedule that the rule came from.
package mutant
