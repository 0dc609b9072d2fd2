package engine_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/sim"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
)

// How the events of a story read. Requests of one kind that differ in the device alone share a line.

// line is one event: devices do the same, or nobody in particular does something.
type line struct {
	owner   uint32 // 0: a command
	devices []string
	text    string
}

func (w *world) note(epoch uint32, device, text string) {
	kind, _, _ := strings.Cut(strings.ReplaceAll(text, ":", " "), " ")
	for i := len(w.story) - 1; i >= 0; i-- {
		x := &w.story[i]
		if x.owner != epoch || len(x.devices) == 0 || !strings.HasPrefix(x.text, kind) {
			break
		}
		known := slices.Contains(x.devices, device)
		if x.text == text {
			if !known {
				x.devices = append(x.devices, device)
			}
			return
		}
		if known {
			break
		}
	}
	w.story = append(w.story, line{epoch, []string{device}, text})
}

func (w *world) say(o *owner, text string) {
	w.story = append(w.story, line{owner: o.Epoch(), text: text})
}

// told is the story so far. Requests name their owner once there was more than one.
func (w *world) told() string {
	var b strings.Builder
	for _, x := range w.story {
		if !strings.HasPrefix(x.text, ">") {
			b.WriteString("  ")
		}
		if x.owner != 0 && (w.owner.Epoch > 1 || len(x.devices) == 0) {
			fmt.Fprintf(&b, "owner %d ", x.owner)
		}
		if len(x.devices) > 0 {
			b.WriteString(w.who(x.devices) + ": ")
		}
		b.WriteString(x.text + "\n")
	}
	w.story = nil
	return b.String()
}

// who lists devices: data, parities, spares.
func (w *world) who(devices []string) string {
	if len(devices) == len(w.names) && devices[0] != "host" {
		return "all"
	}
	order := func(s string) int { return strings.IndexByte("dps", s[0])<<8 + len(s)<<4 + int(s[len(s)-1]-'0') }
	slices.SortFunc(devices, func(a, b string) int { return order(a) - order(b) })
	return strings.Join(devices, " ")
}

func (w *world) name(id cluster.DeviceID) string { return w.names[id-1] }

// column names a column.
func (s shape) column(c int) string {
	if c < s.n {
		return fmt.Sprintf("d%d", c)
	}
	return fmt.Sprintf("p%d", c-s.n)
}

// columns names data columns of a set.
func (s shape) columns(set uint16) string {
	if stripe.Cols(set) == stripe.FirstCols(s.n) {
		return "all"
	}
	var out []string
	for c := range stripe.Cols(set).All() {
		out = append(out, s.column(c))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ",")
}

func (w *world) pageText(page uint64) string {
	switch i := slices.Index(w.pages, page); i {
	case 0:
		return ""
	case -1:
		return fmt.Sprintf("page %d ", page)
	default:
		return "page " + string(rune('A'+i)) + " "
	}
}

func rowsText(first, count uint16) string {
	if count == 1 {
		return fmt.Sprintf("row %d", first)
	}
	return fmt.Sprintf("rows %d-%d", first, first+count-1)
}

// request notes a request with its outcome.
func (w *world) request(f *flight) {
	text := w.requestText(f.r)
	if f.ghost {
		text = "ghost: " + text
	}
	if f.r.Status != chunk.OK {
		text += ": " + f.r.Status.String()
	}
	w.note(f.o.Epoch(), w.name(f.r.Device), text)
}

func (w *world) requestText(r *chunk.Request) string {
	text := opName(r)
	switch r.Op {
	case chunk.OpRead, chunk.OpHead, chunk.OpWrite, chunk.OpTombstone, chunk.OpUndo:
		text += " " + w.pageText(r.Page) + rowsText(r.Block, r.Count)
		if r.W != 0 {
			text += fmt.Sprintf(" w %v", r.W)
		}
	case chunk.OpDrop, chunk.OpRenumber:
		text += strings.TrimSuffix(" "+w.pageText(r.Page), " ")
	case chunk.OpStable:
		text += fmt.Sprintf(" %v", r.W)
		for _, h := range r.Holes {
			text += fmt.Sprintf(" but %v", h)
		}
		if r.Want > 0 {
			text += fmt.Sprintf(", wants %d blocks", r.Want)
		}
	case chunk.OpJournalTrim:
		text += fmt.Sprintf(" %v", r.W)
	case chunk.OpView:
		text += fmt.Sprintf(" %d %v", r.View.Version, r.View.Pins)
		text += map[bool]string{true: " cloned"}[r.View.Cloned]
		for _, h := range r.View.Hidden {
			text += fmt.Sprintf(" hides (%v, %v]", h.After, h.To)
		}
	}
	if r.Residency.Overlay() || r.Residency > chunk.Home(0) {
		text += fmt.Sprintf(" at %v of %s", r.Residency, w.column(int(r.Column)))
	}
	return text + w.content(r)
}

// content is what is written or found.
func (w *world) content(r *chunk.Request) (text string) {
	switch r.Op {
	case chunk.OpWrite, chunk.OpTombstone:
		x := r.Blocks[0]
		text = fmt.Sprintf(" set %s mask %s", w.columns(x.Set), w.columns(x.Mask))
	case chunk.OpRead, chunk.OpHead:
		if r.Status == chunk.OK {
			text = statesText(r.Blocks)
		}
	case chunk.OpJournalPut, chunk.OpJournalList:
		for _, x := range r.Journal {
			text += " " + w.entryText(x)
		}
	case chunk.OpList:
		if r.Mode == chunk.ListUnstable || r.Mode == chunk.ListBad {
			for _, x := range r.Entries {
				text += fmt.Sprintf(" %s%s %v,", w.pageText(x.Page), rowsText(x.Block, 1), x.W)
			}
		}
	}
	return strings.TrimSuffix(text, ",")
}

// statesText tells what was found of a row, or how many rows were found otherwise than absent.
func statesText(blocks []chunk.BlockInfo) string {
	var out []string
	for _, b := range blocks {
		if b.State == chunk.Data && len(blocks) == 1 {
			return fmt.Sprintf(" = %v", b.W)
		}
		if len(blocks) == 1 {
			return strings.TrimSuffix(fmt.Sprintf(" = %v %v", b.State, b.W), " 0.0")
		}
		if b.State != chunk.Absent {
			out = append(out, strings.TrimPrefix(fmt.Sprintf("%v %v", b.State, b.W), "data "))
		}
	}
	if len(out) == 0 {
		return " = absent"
	}
	return " = " + strings.Join(out, ", ")
}

func (w *world) entryText(x chunk.JournalEntry) string {
	if x.IsSeal() {
		return fmt.Sprintf("seal %d", x.Seq.Epoch())
	}
	text := "{" + w.pageText(x.Page) + w.column(int(x.Column)) + ":"
	if x.Gone {
		text += " gone"
	}
	if x.Stale {
		text += " stale"
	}
	if x.Complete {
		text += " complete"
	}
	if x.Renumber {
		text += " renumber"
	}
	for _, p := range x.Places {
		text += fmt.Sprintf(" %s@%v", w.name(p.Device), p.Residency)
	}
	return text + "}"
}

func (w *world) recordText(o *cluster.Owner) string {
	text := ": journal"
	for _, id := range o.Journal.Members {
		text += " " + w.name(id)
	}
	if len(o.Layout) > 1 || len(w.tables) > 1 {
		text += ", layout"
		for _, b := range o.Layout {
			text += fmt.Sprintf(" table %d to %d", b.Table, b.Cursor)
		}
	}
	return text
}

func opName(r *chunk.Request) string {
	switch r.Op {
	case chunk.OpWrite:
		return "write"
	case chunk.OpTombstone:
		return "tombstone"
	case chunk.OpRead:
		return "read"
	case chunk.OpHead:
		return "head"
	case chunk.OpUndo:
		return "undo"
	case chunk.OpDrop:
		return "drop"
	case chunk.OpList:
		return map[chunk.ListMode]string{chunk.ListUnstable: "list-unstable",
			chunk.ListChunks: "list-chunks", chunk.ListBad: "list-bad"}[r.Mode]
	case chunk.OpFence:
		return "fence"
	case chunk.OpSettle:
		return "settle"
	case chunk.OpStable:
		return "stable"
	case chunk.OpJournalPut:
		return "journal"
	case chunk.OpJournalList:
		return "list-journal"
	case chunk.OpJournalTrim:
		return "trim-journal"
	case chunk.OpJournalWipe:
		return "wipe-journal"
	case chunk.OpRenumber:
		return "renumber"
	}
	return "view"
}

// host notes the answer to a host.
func (w *world) host(o *owner, op *engine.Op) {
	text := w.written[op] + ": " + [...]string{engine.OK: "ok", engine.PathGone: "path gone",
		engine.NoSpace: "no space", engine.Media: "media error", engine.OutOfRange: "out of range"}[op.Status]
	delete(w.written, op)
	if op.Kind == engine.Read && op.Status == engine.OK {
		text += ","
		last := ""
		for at := 0; at < len(op.Data); at += cluster.LBASize {
			if s := stamp(op.Data[at:][:cluster.LBASize]); s != last {
				text, last = text+" "+s, s
			}
		}
	}
	w.note(o.Epoch(), "host", text)
}

// stamp names the write that data is of.
func stamp(b []byte) string {
	v := binary.LittleEndian.Uint64(b)
	for i := 8; i < len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != v {
			return "mixed"
		}
	}
	if v == 0 {
		return "zeroes"
	}
	if v >= inherited {
		return fmt.Sprintf("^%d", v-inherited)
	}
	return fmt.Sprintf("#%d", v)
}

// show tells what devices hold of a row. Columns that hold the same share a line.
func (w *world) show(page uint64, row uint16) {
	for c := range w.n + w.p {
		for i, d := range w.disks {
			residency, held := d.Versions(w.key, page, uint8(c), row)
			home := w.names[i] == w.column(c)
			text := ""
			for j, v := range held {
				text += fmt.Sprintf(" [%v %s", v.W, w.value(page, row, c, v, j == 0))
				text += map[bool]string{true: " stable]", false: "]"}[v.Stable]
			}
			if text == "" && !home {
				continue
			}
			if text == "" {
				text = " absent"
			} else if !home || residency != chunk.Home(0) {
				text = fmt.Sprintf(" of %s at %v:", w.column(c), residency) + text
			}
			w.note(0, w.names[i], "holds"+text)
		}
	}
}

// value names what a version of a column is: the write it is of or, of the newest of a parity, whether it is
// right.
func (w *world) value(page uint64, row uint16, c int, v sim.Held, newest bool) string {
	switch {
	case v.State != chunk.Data:
		return v.State.String()
	case c < w.n || w.n == 1:
		return stamp(v.Data)
	case !newest:
		return "parity"
	}
	shards := make([][]byte, w.n+w.p)
	for i := range shards {
		shards[i] = make([]byte, cluster.BlockSize)
		if !stripe.Cols(v.Mask).Has(i) || i >= w.n {
			continue
		}
		data := w.asOf(page, row, i, v.W)
		if data == nil { // freed: nobody can tell
			return "parity"
		}
		copy(shards[i], data)
	}
	codec, err := stripe.NewCodec(w.code, w.n, w.p)
	if err != nil {
		panic(err)
	}
	codec.Encode(shards)
	if bytes.Equal(shards[c], v.Data) {
		return "parity"
	}
	return "parity of something else"
}

// asOf is the data of a column at a version, wherever it is.
func (w *world) asOf(page uint64, row uint16, c int, at cluster.Seq) (data []byte) {
	newest := cluster.Seq(0)
	for _, d := range w.disks {
		_, held := d.Versions(w.key, page, uint8(c), row)
		for _, v := range held {
			if v.W <= at && v.W > newest {
				newest, data = v.W, v.Data
				if v.State == chunk.Tombstone {
					data = make([]byte, cluster.BlockSize)
				}
			}
		}
	}
	return data
}
