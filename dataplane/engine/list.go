package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
)

// listing is a question to all devices that are up: in which pages is there anything, now or as of a pin?
type listing struct {
	waiting int
	failed  bool
	last    uint64 // page behind which nobody wants to know
	note    func(page uint64)
	done    func(ok bool)
}

// listPages has pages named to note, each perhaps more than once, up to the last one and perhaps some behind
// it; then done. Named, too, are pages that are being written, of which the devices may tell too soon, and
// those of the journal. It tells of all pages if mayList says so.
func (e *Engine) listPages(first, last uint64, note func(page uint64), done func(ok bool)) {
	l := &listing{waiting: 1, last: last, note: note, done: done}
	for i := range e.lock.buckets {
		for _, x := range e.lock.buckets[i] {
			if x.started && x.kind > extRows {
				note(x.page)
			}
		}
	}
	if !e.cfg.Mutant.Is(mutant.CutUnlisted) {
		for _, k := range e.jour.keys() {
			note(k.page)
		}
	}
	var after chunk.Cursor
	if first > 0 {
		after = chunk.Cursor{Page: first - 1, Column: ^uint8(0)}
	}
	for _, d := range e.order {
		if d.state == devUp {
			l.waiting++
			e.askPages(l, d, after)
		}
	}
	l.listed()
}

func (e *Engine) askPages(l *listing, d *device, after chunk.Cursor) {
	r := e.request(chunk.OpList, d, control(func(d *device, r *chunk.Request) {
		if e.lost(d, r) || e.mode != modeServing {
			l.failed = true
			l.listed()
			return
		}
		for _, x := range r.Entries {
			l.note(x.Page)
		}
		if n := len(r.Entries); r.More && n > 0 && r.Entries[n-1].Page <= l.last {
			e.askPages(l, d, r.Entries[n-1].Cursor)
			return
		}
		l.listed()
	}))
	r.Mode, r.Count, r.After = chunk.ListChunks, chunk.MaxEntries, after
	e.send(r)
}

// listed takes the end of one list.
func (l *listing) listed() {
	if l.waiting--; l.waiting == 0 {
		l.done(!l.failed)
	}
}
