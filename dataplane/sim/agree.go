package sim

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// checkAgreement proves that every column of a row counts: that it has the version of the row's newest write
// if it takes part in that, so that the loss of any p columns leaves n that do. What hosts read is the same
// without one, until p others are lost.
func (w *World) checkAgreement(v *volume, page uint64, row uint16) {
	held := make([]pagemap.Version, w.shape.width())
	newest, void := cluster.Seq(0), false
	for c := range held {
		d := w.home(v.index, page, uint8(c))
		held[c], _ = d.disk.newest(v.key, page, uint8(c), row)
		if held[c].State.Spoiled() {
			return // destroyed, and not repaired yet
		}
		newest = max(newest, held[c].W)
		void = void || w.everyWrite(c) && held[c].State == chunk.Absent
	}
	mask, set := stripe.Cols(0), stripe.Cols(0)
	for c := range held {
		if w.everyWrite(c) && held[c].W == newest {
			mask, set = stripe.Cols(held[c].Mask), stripe.Cols(held[c].Set)
		}
	}
	for c, x := range held {
		late := x.W != newest && (w.everyWrite(c) || set.Has(c))
		empty := mask == 0 || c < w.shape.Data && !mask.Has(c)
		if late && !(empty && x.State == chunk.Absent) || void && x.State == chunk.Data {
			w.failf("volume %d page %d row %d: column %d (%v %v) does not agree with %v, set %b mask %b", v.index,
				page, row, c, x.State, x.W, newest, set, mask)
		}
	}
}

// everyWrite tells whether a column takes part in every write of its rows.
func (w *World) everyWrite(c int) bool { return c >= w.shape.Data || w.shape.Data == 1 }
