package pagestore

import (
	"errors"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// leave ends a residency: the page is begun again under a higher number, or dropped first.
func (w *crashWorld) leave(v *volModel) {
	page := w.rng.Uint64N(w.pages)
	e := pagemap.Extent{Vol: v.key, Page: page, Residency: v.residency(page)}
	flying := slices.ContainsFunc(v.ops, func(o *opModel) bool { return o.flying && o.e.Page == page })
	v.res[page]++
	if flying || w.rng.IntN(2) == 0 {
		w.stats.begins++
		return
	}
	life := w.life
	for _, o := range v.ops {
		if o.e.Page == page {
			v.each(o, func(_ blockKey, f *fate) { f.undoing = true })
		}
	}
	w.s.DropChunk(e, func(err error) {
		if life != w.life {
			return
		}
		if err != nil {
			panic(err)
		}
		w.stats.drops++
		v.begun[page] = max(v.begun[page], e.Residency+1)
		v.settleBegun()
	})
}

// residency is the one that an owner uses now for a page.
func (v *volModel) residency(page uint64) chunk.Residency {
	if v.res[page] == 0 {
		v.res[page] = chunk.Home(0)
	}
	return v.res[page]
}

// setView adds or takes away a pin. A pin is the next sequence.
func (w *crashWorld) setView(v *volModel) {
	if v.viewing {
		return
	}
	v.counter++
	view := chunk.View{Version: v.view.Version + 1, Pins: slices.Clone(v.view.Pins)}
	if n := len(view.Pins); n > 3 || n > 0 && w.rng.IntN(3) == 0 {
		i := w.rng.IntN(n)
		v.pins = slices.DeleteFunc(v.pins, func(p pin) bool { return p.at == view.Pins[i] })
		view.Pins = slices.Delete(view.Pins, i, i+1)
	} else {
		view.Pins = append(view.Pins, cluster.MakeSeq(v.epoch, v.counter))
	}
	old := v.view
	v.view, v.viewing = view, true
	life := w.life
	w.s.SetView(v.key, view, func(err error) {
		if life != w.life {
			return
		}
		v.viewing = false
		if errors.Is(err, ErrFull) {
			v.view = old
			return
		}
		if err != nil {
			panic(err)
		}
		v.exists = true
		w.stats.views++
		v.repin()
	})
}
