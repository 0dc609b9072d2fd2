package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// steady writes a random block and reads back another that it wrote before, at the given rate, until stop
// or the end of the span; then it checks every block. One I/O is under way at a time, so what a block must
// hold is known exactly, except after a failed write of it (then it is left out until written again).
// It prints "started" first and one line of progress each second: `@ seconds writes errors`.
func (d *disk) steady(c config, stop <-chan os.Signal) Report {
	var (
		r     Report
		p     = pauses{start: time.Now()}
		gens  = make([]uint64, d.blocks) // generation that each block must hold; 0 = unknown
		gen   = c.gen
		known []int // blocks that were written at least once
	)
	tick := time.NewTicker(time.Second / time.Duration(c.rate))
	defer tick.Stop()
	end := time.After(c.span)
	fmt.Println("started")
	p.last = p.start
	for second := time.Duration(1); ; {
		select {
		case <-stop:
			return d.finish(r, p, gens)
		case <-end:
			return d.finish(r, p, gens)
		case <-tick.C:
		}
		block := rand.IntN(d.blocks)
		before := gens[block]
		gens[block] = 0
		begin := time.Now()
		r.Writes++
		if err := d.write(block, gen); err != nil {
			r.fail(err)
		} else {
			gens[block] = gen
			if before == 0 {
				known = append(known, block)
			}
		}
		gen++
		p.done(begin)
		if len(known) > 0 {
			begin = time.Now()
			if other := known[rand.IntN(len(known))]; gens[other] != 0 {
				d.check(&r, other, gens[other])
			}
			p.done(begin)
		}
		// A line for every second, those of a pause included: others wait for a certain one.
		for ; time.Since(p.start) > second*time.Second; second++ {
			fmt.Printf("@ %d %d %d\n", int(second), r.Writes, r.Errors+r.Mismatches)
		}
	}
}

// finish checks all blocks and joins both reports.
func (d *disk) finish(r Report, p pauses, gens []uint64) Report {
	all := d.checkAll(func(block int) uint64 { return gens[block] })
	r.Reads += all.Reads
	r.Errors += all.Errors
	r.Mismatches += all.Mismatches
	if r.First == "" {
		r.First = all.First
	}
	r.PauseUS, r.PauseAtUS, r.SlowestUS = p.longest.Microseconds(), p.at.Microseconds(), p.slowest.Microseconds()
	return r
}

// pauses finds the longest time between two completions.
type pauses struct {
	start   time.Time
	last    time.Time // of the newest completion
	longest time.Duration
	at      time.Duration // when the longest began, since start
	slowest time.Duration // the longest single I/O
}

// done notes the completion, now, of an I/O that began at begin.
func (p *pauses) done(begin time.Time) {
	now := time.Now()
	if gap := now.Sub(p.last); gap > p.longest {
		p.longest, p.at = gap, p.last.Sub(p.start)
	}
	p.slowest = max(p.slowest, now.Sub(begin))
	p.last = now
}
