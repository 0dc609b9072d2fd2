package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

const (
	// patience is how long the world may take to become well again once all is mended.
	patience = 120 * second
	// lookEvery is the pace at which it is asked whether it is.
	lookEvery = 250 * millisecond
)

// settle lets hosts end what they began and the volumes heal, and checks what is there then.
func (w *World) settle() {
	w.settleMoves()
	for _, v := range w.volumes {
		v.audit = audited{} // what was compared before, in an earlier round, may have been forgotten since
		w.until(v, func() error { return w.atRest(v) })
		if w.plan.Beyond {
			return // lost data never heals
		}
		w.checkVolume(v)
	}
}

// checkSpace proves that every block of every device is free or belongs to something.
func (w *World) checkSpace() {
	for _, d := range w.order {
		d.drop()
		if err := d.disk.pages.Check(); err != nil {
			w.failf("device %d: %v", d.id, err)
		}
		if u := d.disk.pages.Usage(); u.Pending != 0 {
			w.failf("device %d: %d blocks belong to nobody", d.id, u.Pending)
		}
	}
}

// until waits for something to become well.
func (w *World) until(v *volume, well func() error) {
	limit := w.now + patience
	if w.plan.Beyond {
		limit = w.now + 20*second
	}
	for {
		w.run(lookEvery)
		err := well()
		if err == nil {
			return
		}
		if w.now > limit {
			if w.plan.Beyond {
				return
			}
			w.failf("volume %d does not become well: %v", v.index, err)
		}
	}
}

// owner is the engine that serves a volume, or nil.
func (w *World) owner(v *volume) *engine.Engine {
	if s := w.session(v); s != nil {
		return s.eng
	}
	return nil
}

// session is that of the owner that serves a volume, or nil.
func (w *World) session(v *volume) *session {
	for _, n := range w.nodes {
		if n.gw == nil {
			continue
		}
		if s := n.gw.serving(v.index); s != nil && s.epoch == w.etcd.records[v.index].Epoch {
			return s
		}
	}
	return nil
}

// atRest tells what is still to be done for a volume: it heals, then its owner compares all rows.
func (w *World) atRest(v *volume) (err error) {
	defer func() {
		if err != nil && !errors.Is(err, errUncompared) {
			v.audit = audited{}
		}
	}()
	e := w.owner(v)
	switch {
	case v.running > 0:
		return fmt.Errorf("%d operations are not answered%s", v.running, w.stateText(v))
	case e == nil:
		return fmt.Errorf("nobody serves it%s", w.stateText(v))
	case w.bereaved():
		return nil // what the dead devices held stays elsewhere
	case len(w.etcd.records[v.index].Layout) != 1 || w.etcd.records[v.index].Layout[0].Table != w.newest:
		return fmt.Errorf("it has not moved to table %d: %+v", w.newest, e.Stats())
	case !w.rests(e):
		return fmt.Errorf("its owner is not at rest: %+v", e.Stats())
	case v.bounds.cut.To > 0:
		return fmt.Errorf("it is still being cut: %+v, %+v", v.bounds.cut, e.CutState())
	case *w.session(v).bounds() != v.bounds:
		return errors.New("its owner does not know how large it is")
	case v.inherits() > 0 && v.origin.flatten && v.flat.At == 0:
		return fmt.Errorf("it is not flattened: %+v", v.flat)
	}
	if err := w.journalRests(v); err != nil {
		return err
	}
	members := w.tables(w.newest)[w.newest].Devices() // who has left is wiped by people
	for _, d := range w.order {
		if d.lost || !slices.Contains(members, d.id) {
			continue
		}
		x, _ := d.disk.pages.Volume(v.key)
		if x.Unstable > 0 {
			return fmt.Errorf("device %d has %d unstable versions, settled %d, marks %v", d.id, x.Unstable,
				x.Settled, x.Marks)
		}
		if x.Bad > 0 && !w.plan.Beyond {
			return fmt.Errorf("device %d has %d bad blocks, %+v", d.id, x.Bad, e.Stats())
		}
		for _, x := range d.journal(v.key) {
			if !x.IsSeal() && w.isMember(v, d.id) {
				return fmt.Errorf("device %d has a journal entry %s", d.id, entryText(x))
			}
		}
	}
	if err := w.orphans(v); err != nil {
		return err
	}
	return v.audited(e)
}

// journalRests tells whether the journal has as many members as the pool allows.
func (w *World) journalRests(v *volume) error {
	domains := map[cluster.NodeID]bool{}
	for _, id := range w.tables(w.newest)[w.newest].Devices() {
		if d := w.devices[id]; !d.lost {
			domains[d.node.id] = true
		}
	}
	want := min(max(3, 2*w.shape.Parity+1), len(domains))
	if w.shape.Parity == 0 {
		want = 1
	}
	if have := w.etcd.records[v.index].Journal.Members; len(have) < want {
		return fmt.Errorf("its journal has members %v, %d are possible", have, want)
	}
	return nil
}

// rests tells whether nothing is left to heal. A device that is lost stays down.
func (w *World) rests(e *engine.Engine) bool {
	s := e.Stats()
	for _, id := range s.Down {
		if !w.devices[id].lost {
			return false
		}
	}
	return s.Away == 0 && s.MovingTo == 0 && s.Waiting == 0
}

func (w *World) stateText(v *volume) string {
	text := ", " + recordText(w.etcd.records[v.index].Owner)
	for _, n := range w.nodes {
		if n.gw != nil && n.gw.sessions[v.index] != nil {
			s := n.gw.sessions[v.index]
			text += fmt.Sprintf("; epoch %d on node %d: cleared %v, ready %v, serving %v, %+v", s.epoch, n.id,
				s.cleared, s.ready, s.serving, s.eng.Stats())
		}
	}
	return text
}

func (w *World) isMember(v *volume, id cluster.DeviceID) bool {
	for _, m := range w.etcd.records[v.index].Journal.Members {
		if m == id {
			return true
		}
	}
	return false
}

// orphans finds what a device holds although it is not the home.
func (w *World) orphans(v *volume) error {
	var buf [64]pagemap.Entry
	members := w.tables(w.newest)[w.newest].Devices()
	for _, d := range w.order {
		var after pagemap.Cursor
		for more := !d.lost && slices.Contains(members, d.id); more; {
			var n int
			n, after, more = d.disk.pages.List(v.key, pagemap.ListChunks, after, buf[:])
			for _, x := range buf[:n] {
				if int(x.Column) >= w.shape.width() || w.home(v.index, x.Page, x.Column) != d {
					return fmt.Errorf("device %d holds page %d column %d under %v, but is not its home", d.id, x.Page,
						x.Column, x.Residency)
				}
			}
		}
	}
	return nil
}

// checkVolume reads all of a volume, as a host and from the devices, and compares.
func (w *World) checkVolume(v *volume) {
	data := w.readAll(v, nil)
	for _, p := range v.pins {
		w.readAll(v, p)
	}
	if w.bereaved() {
		return
	}
	codec, err := stripe.NewCodec(w.shape.Code, w.shape.Data, w.shape.Parity)
	if err != nil {
		w.failf("codec: %v", err)
	}
	w.forgetMended()
	for page := range w.shape.Pages {
		for row := range uint16(w.shape.ChunkBlocks) {
			w.checkRow(v, codec, page, row, data)
			if w.shape.Parity > 0 {
				w.checkAgreement(v, page, row)
			}
		}
	}
}

// readAll reads a volume as a host, now or as of a pin. Behind its end there are zeroes.
func (w *World) readAll(v *volume, p *pin) (data []byte) {
	answered := false
	h := &hostOp{w: w, v: v, kind: engine.Read, sectors: uint32(v.bounds.sectors), pin: p}
	data = make([]byte, v.sectors*cluster.LBASize)
	h.seen = func(read []byte) { copy(data, read) }
	h.begin(func(bool) { answered = true })
	w.until(v, func() error {
		if !answered {
			return fmt.Errorf("a host cannot read it%s", w.stateText(v))
		}
		return w.atRest(v)
	})
	return data
}

// checkRow proves that every set of n columns of a row gives what hosts read: what can be read of it is what
// the code makes of that.
func (w *World) checkRow(v *volume, codec stripe.Codec, page uint64, row uint16, data []byte) {
	g := w.shape.geometry()
	want := make([][]byte, g.Width())
	for c := range g.Data {
		at := (page*g.PageBlocks() + g.Offset(c, row)) * cluster.BlockSize
		want[c] = data[at : at+cluster.BlockSize]
	}
	for c := g.Data; c < g.Width(); c++ {
		want[c] = make([]byte, cluster.BlockSize)
	}
	zero := make([]byte, cluster.BlockSize)
	switch {
	case v.packed:
		w.packed(page, row, data, want)
		w.checkMask(v, page, row, want)
	case v.origin != nil:
		w.checkMask(v, page, row, want)
	}
	codec.Encode(want)
	for c := range g.Width() {
		d := w.home(v.index, page, uint8(c))
		x, block := d.disk.newest(v.key, page, uint8(c), row)
		switch x.State {
		case chunk.Absent, chunk.Tombstone:
			block = zero
		case chunk.Bad, chunk.Torn:
			w.failf("volume %d page %d row %d column %d on device %d is spoiled: %v", v.index, page, row, c, d.id, x.W)
		}
		if !bytes.Equal(block, want[c]) {
			w.failf("volume %d page %d row %d: column %d on device %d (%v %v) is not what the row is made of",
				v.index, page, row, c, d.id, x.State, x.W)
		}
	}
}

// checkMask proves that in a row of a clone every parity knows which columns hide the parent, and else which
// hold data, as far as that matters. Those that do not hold zeroes as far as the code goes. In a packed clone
// a tombstone says itself whether it hides the parent.
func (w *World) checkMask(v *volume, page uint64, row uint16, want [][]byte) {
	var held stripe.Cols
	for c := range w.shape.Data {
		x, _ := w.home(v.index, page, uint8(c)).disk.newest(v.key, page, uint8(c), row)
		hides := v.origin != nil && (!v.packed || stripe.Cols(x.Mask).Has(c))
		if x.State == chunk.Absent || x.State == chunk.Tombstone && !hides {
			want[c] = make([]byte, cluster.BlockSize)
			continue
		}
		held |= stripe.ColsOf(c)
	}
	for c := w.shape.Data; c < w.shape.width(); c++ {
		x, _ := w.home(v.index, page, uint8(c)).disk.newest(v.key, page, uint8(c), row)
		if stripe.Cols(x.Mask) != held {
			w.failf("volume %d page %d row %d: column %d (%v %v) has mask %b, columns %b are there", v.index,
				page, row, c, x.State, x.W, x.Mask, held)
		}
	}
}
