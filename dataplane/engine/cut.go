package engine

import (
	"bytes"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// A shrink cuts the end of a volume off for good: should the volume grow again, zeroes are there. So the
// owner zeroes it, as a host would that trims: what protects such a write from devices that were away, from
// former owners and from crashes protects this one.
//
//	SetCut --> hosts change nothing there --> what they had under way has ended --> devices list their pages
//	  --> Look: read until something is not zero --> CutState.Found, or .End
//	  --> else: zero page by page --> CutState.End
//
// Only pages that hold something are looked at, so cutting off what was never written costs nothing. It goes
// no faster than it is allowed to (AllowCut).

// Cut is a range of blocks, [From, To), that hosts change no more. To 0: there is none.
type Cut struct {
	ID       cluster.UUID
	From, To uint64
	Look     bool   // only look whether anything is there that is not zero
	Done     uint64 // up to here an earlier owner has done it
}

// CutState is how far it is: [From, Until) is done.
type CutState struct {
	Until uint64
	Found bool // there is something; it has not looked any further
	End   bool
}

// cutLook bounds the blocks that are read at a time.
const cutLook = 64

// cutMost bounds the blocks that may be allowed ahead.
const cutMost = 1 << 20

// cutter goes through the pages of a cut, once.
type cutter struct {
	Cut
	CutState
	first   uint64   // page
	held    []uint64 // bit per page from the first on; nil: nothing is known yet
	quiet   bool     // no change of a host's from before is under way
	busy    bool
	allowed int // blocks
	retry   backoff
	op      Op
	buf     []byte
}

// SetCut begins with a cut, or ends it. The one that there is goes on.
func (e *Engine) SetCut(c Cut) {
	if c.To <= c.From {
		e.cut = nil
		return
	}
	if e.cut != nil && e.cut.ID == c.ID && e.cut.Look == c.Look {
		return
	}
	e.cut = &cutter{Cut: c, first: c.From / e.geo.PageBlocks(), CutState: CutState{Until: max(c.From, c.Done)}}
	e.tickCut()
}

// AllowCut allows so many more blocks to be read or zeroed.
func (e *Engine) AllowCut(blocks int) {
	if c := e.cut; c != nil {
		c.allowed = min(c.allowed+blocks, cutMost)
		e.tickCut()
	}
}

// Cut is the cut that was set last.
func (e *Engine) Cut() Cut {
	if e.cut == nil {
		return Cut{}
	}
	return e.cut.Cut
}

// CutState tells how far the cut is that was set last.
func (e *Engine) CutState() CutState {
	if e.cut == nil {
		return CutState{}
	}
	return e.cut.CutState
}

// cutOff reports that an operation of a host changes what is cut off.
func (e *Engine) cutOff(op *Op) bool {
	return e.cut != nil && op.Kind != Read && op.LBA+uint64(op.Sectors) > e.cut.From*sectorsPerBlock &&
		!e.cfg.Mutant.Is(mutant.CutOpen)
}

func (e *Engine) tickCut() {
	c := e.cut
	if c == nil || c.busy || c.End || c.Found || e.mode != modeServing || e.ticks < c.retry.at {
		return
	}
	if c.quiet = c.quiet || !e.changing(c.From); !c.quiet {
		return
	}
	if c.held != nil {
		c.busy = true
		e.cutMore(c)
		return
	}
	if !e.mayList() {
		c.retry.failed(e.ticks, moveRetryTicks)
		return
	}
	c.busy = true
	last := (c.To - 1) / e.geo.PageBlocks()
	held := make([]uint64, (last-c.first)/64+1)
	note := func(page uint64) {
		if page >= c.first && page <= last {
			held[(page-c.first)/64] |= 1 << ((page - c.first) % 64)
		}
	}
	e.listPages(c.first, last, note, func(ok bool) {
		if e.cut != c {
			return
		}
		if !ok {
			c.busy = false
			c.retry.failed(e.ticks, moveRetryTicks)
			return
		}
		c.held = held
		e.cutMore(c)
	})
}

// changing reports that a host's change of blocks from some block on is under way, or waits.
func (e *Engine) changing(from uint64) bool {
	if e.cfg.Mutant.Is(mutant.CutUnquiet) {
		return false
	}
	changes := func(xs []*extent) bool {
		for _, x := range xs {
			if x.kind == extWrite && x.op.then == nil && x.page*e.geo.PageBlocks()+uint64(x.off+x.count) > from {
				return true
			}
		}
		return false
	}
	for i := range e.lock.buckets {
		if changes(e.lock.buckets[i]) {
			return true
		}
	}
	return changes(e.lock.parked)
}

// nextHeld is the first page, from one on, that holds something.
func (c *cutter) nextHeld(page uint64) (uint64, bool) {
	at := page - c.first
	for i := at / 64; i < uint64(len(c.held)); i++ {
		word := c.held[i]
		if i == at/64 {
			word &= ^uint64(0) << (at % 64)
		}
		if word != 0 {
			return c.first + i*64 + uint64(bits.TrailingZeros64(word)), true
		}
	}
	return 0, false
}

// cutMore goes on until nothing is allowed any more.
func (e *Engine) cutMore(c *cutter) {
	blocks := e.geo.PageBlocks()
	page, ok := c.nextHeld(c.Until / blocks)
	if !ok || c.Until == c.To {
		c.Until, c.End, c.busy = c.To, true, false
		return
	}
	c.Until = max(c.Until, page*blocks)
	if c.allowed <= 0 || e.mode != modeServing {
		c.busy = false
		return
	}
	to := min(c.To, (page+1)*blocks)
	c.op = Op{Kind: Zero}
	if c.Look {
		to = min(to, c.Until+cutLook)
		c.buf = grow(c.buf, int(to-c.Until)*cluster.BlockSize)
		c.op = Op{Kind: Read, Data: c.buf}
	}
	c.allowed -= int(to - c.Until)
	c.op.LBA, c.op.Sectors = c.Until*sectorsPerBlock, uint32(to-c.Until)*sectorsPerBlock
	c.op.then = func() { e.cutStep(c, to) }
	if e.cfg.Mutant.Is(mutant.CutEarly) {
		c.Until = to
	}
	e.begin(&c.op)
}

// cutStep takes the end of an operation.
func (e *Engine) cutStep(c *cutter, to uint64) {
	if e.cut != c || e.mode != modeServing {
		return
	}
	switch s := c.op.Status; {
	case c.Look && (s == Media || s == OK && !e.allZero(c.buf)):
		c.Found, c.busy = true, false
	case s == OK, e.cfg.Mutant.Is(mutant.CutSkips):
		c.Until, c.retry = to, backoff{}
		e.cutMore(c)
	default: // no room, or a row of which too much is lost now
		c.busy = false
		c.retry.failed(e.ticks, repairPauseTicks)
	}
}

func (e *Engine) allZero(data []byte) bool {
	for i := range len(data) / cluster.BlockSize {
		if !bytes.Equal(block(data, i), e.zeroes[:]) {
			return false
		}
	}
	return true
}
