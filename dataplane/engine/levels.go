package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// In a chain of clones a block may lie many levels up. It is asked of the level that has it, and not handed
// down by all between: whoever carries out a ParentRead passes the levels that hold nothing of its page
// (Engine.Passes), and remembers how far that was (Levels). It stays so. What is seen as of a pin does not
// change, and a pin is kept, with its volume, as long as there is a clone of it. Who remembers wrongly
// nevertheless finds no such pin, and begins at the parent again.

// Ancestor is a volume as of a pin that clones need.
type Ancestor struct {
	Vol cluster.VolumeKey
	Pin cluster.Seq
}

// levelPages bounds what is remembered: of 4 MiB each they are 16 GiB of a volume, in some 300 KiB.
const levelPages = 4096

// Levels remembers the first ancestor of a clone that may hold something of a page, for some pages. The zero
// value remembers nothing.
type Levels struct {
	first map[uint64]Ancestor
}

// First is where to ask for blocks of a page: the parent, unless it is known to hold nothing there.
func (l *Levels) First(page uint64, parent Ancestor) Ancestor {
	if a, ok := l.first[page]; ok {
		return a
	}
	return parent
}

// Pass notes that nobody before an ancestor holds anything of a page. Of too many pages none is
// remembered any more.
func (l *Levels) Pass(page uint64, to Ancestor) {
	if l.first == nil {
		l.first = make(map[uint64]Ancestor)
	}
	if len(l.first) == levelPages {
		clear(l.first)
	}
	l.first[page] = to
}

// Forget has the parent asked again.
func (l *Levels) Forget(page uint64) { delete(l.first, page) }

// Passes reports that a read of the clone, as it is and as of any pin, is one of the same blocks of its
// parent: the clone holds nothing of their pages, and the parent shows in these as a whole, for Levels
// remembers pages. False when that is not known.
func (e *Engine) Passes(first, blocks uint64) bool {
	page := e.geo.PageBlocks()
	end := (first + blocks + page - 1) / page * page
	if e.cfg.Mutant.Is(mutant.PassedBehind) {
		end = first + blocks
	}
	if e.mode != modeServing || end > e.cfg.Parent {
		return false
	}
	for p := first / page; p*page < end; p++ {
		if !e.bare(p) && !e.cfg.Mutant.Is(mutant.PassedHeld) {
			return false
		}
	}
	return true
}
