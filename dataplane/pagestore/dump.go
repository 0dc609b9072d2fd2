package pagestore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// Kinds of items, in the order of a dump.
const (
	KindSuperblock = "superblock"
	KindRecord     = "record" // of the log behind the checkpoint
	KindMetadata   = "metadata"
	KindVolume     = "volume"
	KindChunk      = "chunk"
)

// Kinds lists them.
func Kinds() []string {
	return []string{KindSuperblock, KindRecord, KindMetadata, KindVolume, KindChunk}
}

// DumpOptions say what of a device is wanted. The zero value: everything.
type DumpOptions struct {
	Kinds  []string          // nil: all
	Volume cluster.VolumeKey // only what is about it
	Page   *uint64           // only records and chunks of this page
}

func (o *DumpOptions) wants(kind string) bool {
	return o.Kinds == nil || slices.Contains(o.Kinds, kind)
}

func (o *DumpOptions) about(vol cluster.VolumeKey) bool {
	return o.Volume == cluster.VolumeKey{} || vol == o.Volume
}

func (o *DumpOptions) on(page uint64) bool { return o.Page == nil || page == *o.Page }

// wantsRecord decides about a record of the log, nil for metadata.
func (o *DumpOptions) wantsRecord(r *pagemap.Record) bool {
	if r == nil {
		return o.Volume == cluster.VolumeKey{} && o.Page == nil
	}
	whole := r.Kind != pagemap.Put && r.Kind != pagemap.Undo && r.Kind != pagemap.DropChunk &&
		r.Kind != pagemap.Renumber
	return o.about(r.Vol) && (whole || o.on(r.Page))
}

// Item is one thing of a dump: a *SuperblockItem, *RecordItem, *MetadataItem, *VolumeItem or *ChunkItem. Its
// fields are for programs, as JSON; String is for people.
type Item interface {
	Kind() string
	fmt.Stringer
}

// SuperblockItem is one of the two superblocks.
type SuperblockItem struct {
	Copy        int          `json:"copy"`
	Trusted     bool         `json:"trusted"` // recovery begins with it
	Error       string       `json:"error,omitempty"`
	Cluster     cluster.UUID `json:"cluster"`
	Device      cluster.UUID `json:"device"`
	Update      uint64       `json:"update"`
	Incarnation uint64       `json:"incarnation"`
	Checkpoint  uint64       `json:"checkpoint"`
	LogNext     uint64       `json:"log_next"` // first log block that the checkpoint does not contain
}

// Kind implements Item.
func (*SuperblockItem) Kind() string { return KindSuperblock }

// String implements Item.
func (s *SuperblockItem) String() string {
	if s.Error != "" {
		return fmt.Sprintf("superblock %d: %s", s.Copy, s.Error)
	}
	trusted := ""
	if s.Trusted {
		trusted = ", trusted"
	}
	return fmt.Sprintf("superblock %d: device %v of cluster %v, update %d, incarnation %d, checkpoint %d, "+
		"log from %d%s", s.Copy, s.Device, s.Cluster, s.Update, s.Incarnation, s.Checkpoint, s.LogNext, trusted)
}

// RecordItem is a record of the log that recovery replays.
type RecordItem struct {
	Block     uint64    `json:"block"` // of the log
	Type      string    `json:"type"`  // put, stable, settle, undo, drop, drop-chunk, view, renumber, metadata
	Volume    string    `json:"volume,omitempty"`
	Page      uint64    `json:"page"`
	Column    uint8     `json:"column"`
	Residency string    `json:"residency,omitempty"`
	First     uint16    `json:"first"`
	Blocks    uint16    `json:"blocks"`
	W         string    `json:"w,omitempty"`
	Location  uint64    `json:"location,omitempty"` // put with data: first data block
	Epoch     uint32    `json:"epoch,omitempty"`    // settle
	Tombstone bool      `json:"tombstone,omitempty"`
	Replace   bool      `json:"replace,omitempty"` // put: in place of a bad version
	Holes     []string  `json:"holes,omitempty"`   // stable
	View      *ViewItem `json:"view,omitempty"`
	Key       string    `json:"key,omitempty"` // metadata
	Bytes     int       `json:"bytes,omitempty"`
}

// Kind implements Item.
func (*RecordItem) Kind() string { return KindRecord }

// String implements Item.
func (r *RecordItem) String() string {
	text := fmt.Sprintf("log %d: %s", r.Block, r.Type)
	switch r.Type {
	case "metadata":
		return fmt.Sprintf("%s %s, %d bytes", text, r.Key, r.Bytes)
	case "put":
		text += fmt.Sprintf(" %s page %d column %d blocks %d+%d w %s at %s", r.Volume, r.Page, r.Column, r.First,
			r.Blocks, r.W, r.Residency)
		if r.Tombstone {
			return text + ", tombstone"
		}
		text += fmt.Sprintf(", data at %d", r.Location)
		if r.Replace {
			text += ", replaces a bad one"
		}
		return text
	case "undo":
		return fmt.Sprintf("%s %s page %d column %d blocks %d+%d w %s at %s", text, r.Volume, r.Page, r.Column,
			r.First, r.Blocks, r.W, r.Residency)
	case "drop-chunk", "renumber":
		return fmt.Sprintf("%s %s page %d column %d at %s", text, r.Volume, r.Page, r.Column, r.Residency)
	case "stable":
		text += fmt.Sprintf(" %s up to %s", r.Volume, r.W)
		if len(r.Holes) > 0 {
			text += " but " + strings.Join(r.Holes, " ")
		}
		return text
	case "settle":
		return fmt.Sprintf("%s %s before epoch %d", text, r.Volume, r.Epoch)
	case "view":
		return fmt.Sprintf("%s %s version %d, %d pins, %d hidden intervals", text, r.Volume, r.View.Version,
			len(r.View.Pins), len(r.View.Hidden))
	}
	return text + " " + r.Volume
}

// MetadataItem is a metadata record as it is after recovery.
type MetadataItem struct {
	Key   string `json:"key"`
	Value []byte `json:"value"` // base64 in JSON
}

// Kind implements Item.
func (*MetadataItem) Kind() string { return KindMetadata }

// String implements Item.
func (m *MetadataItem) String() string { return fmt.Sprintf("metadata %s = %x", m.Key, m.Value) }

// VolumeItem is what the device knows about a volume.
type VolumeItem struct {
	Volume     string    `json:"volume"`
	Settled    uint32    `json:"settled"`
	Marks      []string  `json:"marks,omitempty"` // stable, with holes
	View       *ViewItem `json:"view"`
	Versions   uint64    `json:"versions"`
	Blocks     uint64    `json:"blocks"`
	Unstable   uint64    `json:"unstable"`
	Tombstones uint64    `json:"tombstones"`
	Bad        uint64    `json:"bad"`
}

// Kind implements Item.
func (*VolumeItem) Kind() string { return KindVolume }

// String implements Item.
func (v *VolumeItem) String() string {
	return fmt.Sprintf("volume %s: %d versions in %d blocks, %d unstable, %d tombstones, %d bad; settled %d, "+
		"stable %s; view list %d with %d pins, %d hidden intervals", v.Volume, v.Versions, v.Blocks, v.Unstable,
		v.Tombstones, v.Bad, v.Settled, strings.Join(v.Marks, ", "), v.View.Version, len(v.View.Pins),
		len(v.View.Hidden))
}

// ViewItem is a view list.
type ViewItem struct {
	Version uint32      `json:"version"`
	Pins    []string    `json:"pins,omitempty"`
	Hidden  [][2]string `json:"hidden,omitempty"` // by reverts: after, to
	Cloned  bool        `json:"cloned,omitempty"`
}

func viewItem(v *chunk.View) *ViewItem {
	x := &ViewItem{Version: v.Version, Cloned: v.Cloned}
	for _, p := range v.Pins {
		x.Pins = append(x.Pins, p.String())
	}
	for _, h := range v.Hidden {
		x.Hidden = append(x.Hidden, [2]string{h.After.String(), h.To.String()})
	}
	return x
}

// ChunkItem is what is held of a page's column.
type ChunkItem struct {
	Volume    string        `json:"volume"`
	Page      uint64        `json:"page"`
	Column    uint8         `json:"column"`
	Residency string        `json:"residency"`
	Versions  []VersionItem `json:"versions"`
}

// VersionItem is one version of a block.
type VersionItem struct {
	Block    uint16 `json:"block"`
	W        string `json:"w"`
	State    string `json:"state"` // data, tombstone, bad
	Location uint64 `json:"location,omitempty"`
	CRC      uint32 `json:"crc,omitempty"`
	Set      uint16 `json:"set"`  // columns that its row write changed
	Mask     uint16 `json:"mask"` // columns that held data then
}

// Kind implements Item.
func (*ChunkItem) Kind() string { return KindChunk }

// String implements Item.
func (c *ChunkItem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chunk %s page %d column %d at %s: %d versions", c.Volume, c.Page, c.Column, c.Residency,
		len(c.Versions))
	for _, v := range c.Versions {
		fmt.Fprintf(&b, "\n  block %d w %s %s", v.Block, v.W, v.State)
		if v.State != chunk.Tombstone.String() {
			fmt.Fprintf(&b, " at %d crc %08x", v.Location, v.CRC)
		}
		fmt.Fprintf(&b, " set %#x mask %#x", v.Set, v.Mask)
	}
	return b.String()
}

// Dump tells what is on a device, item by item, and changes nothing. What can be read of a damaged device
// comes before the error. It ends with the first error of emit.
func Dump(ctx context.Context, dev blockdev.Device, o DumpOptions, emit func(Item) error) error {
	sb, err := dumpSupers(ctx, dev, &o, emit)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	var stopped error
	tell := func(block uint64, rec *pagemap.Record, meta *metaEntry) {
		if stopped == nil && o.wants(KindRecord) && o.wantsRecord(rec) {
			stopped = emit(recordItem(block, rec, meta))
		}
	}
	r, err := recoverSeen(ctx, dev, sb, Options{}, true, tell)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	defer r.mem.close()
	if stopped != nil {
		return fmt.Errorf("dump: %w", stopped)
	}
	if err := dumpMeta(r, &o, emit); err != nil {
		return err
	}
	for _, key := range r.m.Volumes() {
		if !o.about(key) {
			continue
		}
		if err := dumpVolume(r.m, key, &o, emit); err != nil {
			return err
		}
	}
	return nil
}

// dumpSupers gives both superblocks and the one to trust.
func dumpSupers(ctx context.Context, dev blockdev.Device, o *DumpOptions,
	emit func(Item) error) (super, error) {
	sb, bad, err := readSupers(ctx, dev)
	if err != nil {
		return super{}, err
	}
	trusted, failed := newestSuper(ctx, dev)
	for i := range sb {
		x := &SuperblockItem{Copy: i}
		if bad[i] != nil {
			x.Error = bad[i].Error()
		} else {
			s := &sb[i]
			x.Trusted = failed == nil && *s == trusted
			x.Cluster, x.Device, x.Update, x.Incarnation = s.id.cluster, s.id.device, s.seq, s.incarnation
			x.Checkpoint, x.LogNext = s.ckpt.number, s.ckpt.logNext
		}
		if !o.wants(KindSuperblock) {
			continue
		}
		if err := emit(x); err != nil {
			return super{}, err
		}
	}
	return trusted, failed
}

func recordItem(block uint64, r *pagemap.Record, meta *metaEntry) *RecordItem {
	if meta != nil {
		return &RecordItem{Block: block, Type: "metadata", Key: meta.key, Bytes: len(meta.value)}
	}
	x := &RecordItem{Block: block, Type: typeOf(r.Kind), Volume: r.Vol.String(), Page: r.Page, Column: r.Column,
		Residency: r.Residency.String(), First: r.First, Blocks: r.N, Location: r.Loc, Epoch: r.Epoch,
		Tombstone: r.Tombstone, Replace: r.Replace}
	if r.W != 0 {
		x.W = r.W.String()
	}
	for _, h := range r.Holes {
		x.Holes = append(x.Holes, h.String())
	}
	if r.Kind == pagemap.View {
		x.View = viewItem(&r.View)
	}
	return x
}

func typeOf(k pagemap.RecordKind) string {
	switch k {
	case pagemap.Put:
		return "put"
	case pagemap.Stable:
		return "stable"
	case pagemap.Settle:
		return "settle"
	case pagemap.Undo:
		return "undo"
	case pagemap.Drop:
		return "drop"
	case pagemap.DropChunk:
		return "drop-chunk"
	case pagemap.View:
		return "view"
	case pagemap.Renumber:
		return "renumber"
	}
	return fmt.Sprintf("record of kind %d", k)
}

// dumpMeta gives the metadata records in order of their keys, with a volume wanted only those that name it.
func dumpMeta(r *recovery, o *DumpOptions, emit func(Item) error) error {
	if !o.wants(KindMetadata) {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(r.meta.byKey)) {
		if o.Volume != (cluster.VolumeKey{}) && !strings.Contains(key, "/"+o.Volume.String()) {
			continue
		}
		if err := emit(&MetadataItem{Key: key, Value: r.meta.byKey[key].value}); err != nil {
			return err
		}
	}
	return nil
}

// dumpVolume gives a volume and its chunks.
func dumpVolume(m *pagemap.Map, key cluster.VolumeKey, o *DumpOptions, emit func(Item) error) error {
	if o.wants(KindVolume) {
		st, _ := m.Volume(key)
		x := &VolumeItem{Volume: key.String(), Settled: st.Settled, View: viewItem(&st.View), Versions: st.Versions,
			Blocks: st.Blocks, Unstable: st.Unstable, Tombstones: st.Tombstones, Bad: st.Bad}
		for _, mark := range st.Marks {
			x.Marks = append(x.Marks, markText(mark))
		}
		if err := emit(x); err != nil {
			return err
		}
	}
	if !o.wants(KindChunk) {
		return nil
	}
	var held *ChunkItem
	one, entries := make([]pagemap.Version, 1), make([]pagemap.Entry, 1024)
	var after pagemap.Cursor
	if o.Page != nil {
		after.Page = *o.Page
	}
	for more := true; more; {
		var n int
		n, after, more = m.List(key, ListVersions, after, entries)
		for _, e := range entries[:n] {
			if held != nil && (held.Page != e.Page || held.Column != e.Column) {
				if err := emit(held); err != nil {
					return err
				}
				held = nil
			}
			if !o.on(e.Page) {
				more = false
				break
			}
			if held == nil {
				held = &ChunkItem{Volume: key.String(), Page: e.Page, Column: e.Column,
					Residency: e.Residency.String()}
			}
			m.Exact(pagemap.Extent{Vol: key, Page: e.Page, Residency: e.Residency, Column: e.Column, First: e.Block,
				N: 1}, e.W, one)
			held.Versions = append(held.Versions, VersionItem{Block: e.Block, W: e.W.String(), State: e.State.String(),
				Location: one[0].Loc, CRC: e.CRC, Set: e.Set, Mask: e.Mask})
		}
	}
	if held == nil {
		return nil
	}
	return emit(held)
}

// markText is a stable mark with its holes.
func markText(m pagemap.Mark) string {
	text := m.W.String()
	for _, h := range m.Holes {
		text += " but " + h.String()
	}
	return text
}
