//go:build e2e

package chaos

import (
	"bytes"
	"errors"
	"fmt"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// rowKey names a block row of a volume.
type rowKey struct {
	page  uint64
	block uint16
}

// cell is the newest version of a column of a row, and the disk that holds it.
type cell struct {
	pagemap.Entry
	store *pagestore.Store
	name  string
}

// rowReader decodes the rows of a volume from what lies on disks, without a daemon.
type rowReader struct {
	vol      model.VolumeKey
	geo      stripe.Geometry
	codec    stripe.Codec
	lost     int // columns of a row that may be missing
	cells    map[rowKey][]*cell
	subsets  []stripe.Cols // every choice of n columns
	decoded  int           // rows
	compared int           // choices
}

// readDisks holds what the disks have of a volume against the code and against the history: each row must
// agree about its newest version, and whichever n columns are left must yield the same.
func (w *world) readDisks(v *volume, stores map[string]*pagestore.Store) error {
	geo := v.geometry
	codec, err := stripe.NewCodec(v.policy.code, geo.Data, geo.Parity)
	if err != nil {
		return err
	}
	r := &rowReader{vol: v.key(), geo: geo, codec: codec, lost: len(w.dead), cells: map[rowKey][]*cell{}}
	for cols := range stripe.FirstCols(geo.Width()) + 1 {
		if cols.Len() == geo.Data {
			r.subsets = append(r.subsets, cols)
		}
	}
	for name, s := range stores {
		if err := r.list(s, name); err != nil {
			return err
		}
	}
	content := make([]byte, volumeSize)
	for k, cells := range r.cells {
		shards, err := r.row(cells)
		if err != nil {
			return fmt.Errorf("page %d row %d: %w:%s", k.page, k.block, err, describe(cells))
		}
		for c, data := range shards[:geo.Data] {
			at := k.page*geo.PageBlocks() + geo.Offset(c, k.block)
			if end := (at + 1) * model.BlockSize; end <= volumeSize {
				copy(content[at*model.BlockSize:end], data)
			}
		}
	}
	w.t.Logf("%s: %d rows on the disks; %d times n columns of one yield the others", v.Name, r.decoded,
		r.compared)
	op := v.read(0, volumeSectors)
	return v.done(op, 0, content)
}

// list notes the newest versions that a disk holds.
func (r *rowReader) list(s *pagestore.Store, name string) error {
	buf := make([]pagemap.Entry, 1024)
	var after pagemap.Cursor
	for more := true; more; {
		var n int
		n, after, more = s.List(r.vol, pagestore.ListAll, after, buf)
		for _, e := range buf[:n] {
			k := rowKey{e.Page, e.Block}
			if r.cells[k] == nil {
				r.cells[k] = make([]*cell, r.geo.Width())
			}
			if other := r.cells[k][e.Column]; other != nil {
				return fmt.Errorf("page %d column %d is on %s and on %s", e.Page, e.Column, other.name, name)
			}
			r.cells[k][e.Column] = &cell{e, s, name}
		}
	}
	return nil
}

// row reads all columns of a row and has each n of them decode the others.
func (r *rowReader) row(cells []*cell) ([][]byte, error) {
	have, err := r.have(cells)
	if err != nil {
		return nil, err
	}
	shards := make([][]byte, len(cells))
	for c := range shards {
		shards[c] = make([]byte, model.BlockSize)
		if x := cells[c]; x != nil && x.State == pagemap.Data {
			if err := readBlock(x.store, r.vol, x.Entry, shards[c]); err != nil {
				return nil, fmt.Errorf("%s: %w", x.name, err)
			}
		}
	}
	all := stripe.FirstCols(len(cells))
	if err := r.codec.Reconstruct(shards, have, all&^have); err != nil {
		return nil, err
	}
	r.decoded++
	for _, some := range r.subsets {
		if some&^have != 0 {
			continue
		}
		again := make([][]byte, len(cells))
		for c := range again {
			again[c] = shards[c]
			if !some.Has(c) {
				again[c] = make([]byte, model.BlockSize)
			}
		}
		if err := r.codec.Reconstruct(again, some, all&^some); err != nil {
			return nil, err
		}
		for c := range again {
			if !bytes.Equal(again[c], shards[c]) {
				return nil, fmt.Errorf("columns %v yield another column %d", some, c)
			}
		}
		r.compared++
	}
	return shards, nil
}

// have tells which columns of a row are known, by the rules of docs/protocol.md: the newest version is on all
// columns of its write set, and nothing is missing where its present mask says that there is data. Without a
// parity nobody knows the mask, and the data columns are what they are: no more can be lost.
func (r *rowReader) have(cells []*cell) (have stripe.Cols, err error) {
	var head *cell // a parity if it can be
	sure := false
	for c, x := range cells {
		every := c >= r.geo.Data || r.geo.Data == 1
		if x != nil && (head == nil || x.W > head.W || x.W == head.W && every) {
			head = x
		}
		sure = sure || every && x != nil
	}
	missing := 0
	for c, x := range cells {
		every := c >= r.geo.Data || r.geo.Data == 1
		holds := stripe.Cols(head.Mask)&stripe.FirstCols(r.geo.Data) != 0
		switch {
		case !every && sure:
			holds = stripe.Cols(head.Mask).Has(c)
		case !every:
			holds = x != nil && x.State == pagemap.Data
		}
		switch {
		case x == nil && holds:
			missing++
			continue
		case x == nil:
		case x.State != pagemap.Data && x.State != pagemap.Tombstone:
			return 0, fmt.Errorf("column %d: state %v", c, x.State)
		case holds != (x.State == pagemap.Data):
			return 0, fmt.Errorf("column %d: state %v, the mask is %b", c, x.State, head.Mask)
		case x.W != head.W && sure && (every || stripe.Cols(head.Set).Has(c)):
			return 0, fmt.Errorf("column %d lacks the newest version", c)
		case every && x.Mask != head.Mask:
			return 0, fmt.Errorf("column %d has another mask than the newest version", c)
		}
		have |= stripe.ColsOf(c)
	}
	if missing > r.lost {
		err = errors.New("columns are missing")
	}
	return have, err
}

func describe(cells []*cell) (s string) {
	for c, x := range cells {
		if x == nil {
			s += fmt.Sprintf("\n\tcolumn %d: nothing", c)
			continue
		}
		s += fmt.Sprintf("\n\tcolumn %d: %s residency %v w %v state %v set %b mask %b crc %08x", c, x.name,
			x.Residency, x.W, x.State, x.Set, x.Mask, x.CRC)
	}
	return s
}

func readBlock(s *pagestore.Store, vol model.VolumeKey, e pagemap.Entry, data []byte) error {
	done := make(chan error, 1)
	r := &pagestore.Read{Data: data, Info: make([]pagestore.BlockInfo, 1),
		Extent: pagemap.Extent{Vol: vol, Page: e.Page, Residency: e.Residency, Column: e.Column, First: e.Block,
			N: 1},
		Done: func(_ *pagestore.Read, err error) { done <- err }}
	s.Read(r)
	if err := <-done; err != nil {
		return err
	}
	if i := r.Info[0]; i.State != pagemap.Data || i.W != e.W {
		return fmt.Errorf("it has %+v", i)
	}
	return nil
}
