package pagemap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/cockroachdb/datadriven"
)

// put allocates and applies, as the store does; it returns false when the map is full.
func put(m *Map, e Extent, w cluster.Seq, tombstone, replace bool) bool {
	if tombstone {
		m.Apply(&Record{Kind: Put, Extent: e, W: w, Tombstone: true, Columns: columns(w, 1)})
		return true
	}
	runs, ok := m.Alloc(int(e.N), nil)
	if !ok {
		return false
	}
	for _, r := range runs {
		part := e
		part.N = r.N
		crc := make([]uint32, r.N)
		for i := range crc {
			crc[i] = uint32(w)<<8 | uint32(e.First) + uint32(i)
		}
		m.Apply(&Record{Kind: Put, Extent: part, W: w, Loc: r.Loc, CRC: crc, Replace: replace,
			Columns: columns(w, 1+(int(r.N)-1)*int(w&1))})
		e.First += r.N
	}
	return true
}

// columns gives the columns of n blocks of a version: one for all where the sequence is even.
func columns(w cluster.Seq, n int) []Columns {
	return slices.Repeat([]Columns{{Set: uint16(w) + 1, Mask: uint16(w)}}, n)
}

// dump prints every version of a map, without locations, and its volumes.
func dump(m *Map) string {
	var b strings.Builder
	for _, key := range m.Volumes() {
		st, _ := m.Volume(key)
		fmt.Fprintf(&b, "volume %v settled %d marks %v: %d blocks, %d unstable\n", key, st.Settled, st.Marks,
			st.Blocks, st.Unstable)
		if st.View.Version > 0 {
			fmt.Fprintf(&b, "  view %d pins %v hidden %v", st.View.Version, st.View.Pins, st.View.Hidden)
			b.WriteString(map[bool]string{true: " cloned\n", false: "\n"}[st.View.Cloned])
		}
		buf := make([]Entry, 3)
		var after Cursor
		for more := true; more; {
			var n int
			n, after, more = m.List(key, ListVersions, after, buf)
			for _, e := range buf[:n] {
				fmt.Fprintf(&b, "  %d/%d[%d] %v %v", e.Page, e.Column, e.Block, e.W, e.State)
				if e.Residency != chunk.Home(0) {
					fmt.Fprintf(&b, " under %v", e.Residency)
				}
				b.WriteByte('\n')
			}
		}
	}
	u := m.Usage()
	fmt.Fprintf(&b, "free %d live %d pending %d tombstones %d bad %d\n", u.Free, u.Live, u.Pending, u.Tombstones,
		u.Bad)
	return b.String()
}

// TestStories runs the scenarios of testdata: commands change the map, `show` prints it.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var m *Map
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r := storyRecord(t, d)
			switch d.Cmd {
			case "map":
				var blocks uint64
				d.ScanArgs(t, "blocks", &blocks)
				m = newMap(t, blocks)
			case "put", "replace", "tombstone":
				if !put(m, r.Extent, r.W, d.Cmd == "tombstone", d.Cmd == "replace") {
					return "full\n"
				}
			case "stable", "settle", "undo", "drop", "drop-chunk", "renumber", "view":
				r.Kind = map[string]RecordKind{"stable": Stable, "settle": Settle, "undo": Undo, "drop": Drop,
					"drop-chunk": DropChunk, "renumber": Renumber, "view": View}[d.Cmd]
				if err := r.Validate(); err != nil {
					t.Fatalf("%s: %v", d.Pos, err)
				}
				m.Apply(&r)
				for r.Kind == View && !d.HasArg("unswept") && m.Purge(1) {
				}
			case "purge":
				return fmt.Sprintf("more %v\n", m.Purge(1))
			case "bad":
				out := make([]Version, 1)
				m.Exact(r.Extent, r.W, out)
				return fmt.Sprintf("%v\n", m.MarkBad(r.Extent, r.First, r.W, out[0].Loc))
			case "read":
				if m.Superseded(r.Extent) {
					return "not mine\n"
				}
				out := make([]Version, r.N)
				m.Lookup(r.Extent, r.W, out)
				var b strings.Builder
				for _, v := range out {
					fmt.Fprintf(&b, "%v %v\n", v.State, v.W)
				}
				return b.String()
			case "unstable":
				var b strings.Builder
				for _, e := range listed(m, r.Vol, ListUnstable, 3) {
					fmt.Fprintf(&b, "%d/%d[%d] %v\n", e.Page, e.Column, e.Block, e.W)
				}
				return b.String()
			case "chunks":
				var b strings.Builder
				for _, e := range listed(m, r.Vol, ListChunks, 1) {
					fmt.Fprintf(&b, "%d/%d under %v\n", e.Page, e.Column, e.Residency)
				}
				return b.String()
			case "space":
				st, _ := m.Volume(r.Vol)
				return fmt.Sprintf("%d blocks, %d pinned, %d reclaimable, %d free\n", st.Blocks, st.Pinned,
					st.Reclaimable, m.Usage().Free)
			case "leaving", "survey", "show":
				return inspect(m, d.Cmd, r.Vol)
			default:
				t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			}
			if err := m.Check(); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			return ""
		})
	})
}

// inspect prints what a command asks for.
func inspect(m *Map, what string, vol cluster.VolumeKey) string {
	switch what {
	case "leaving":
		return leaving(m, vol)
	case "survey":
		return survey(m, vol)
	}
	return dump(m)
}

// leaving prints what of a volume is on its way back.
func leaving(m *Map, vol cluster.VolumeKey) string {
	st, known := m.Volume(vol)
	left, dropped := m.Dropping()[vol]
	return fmt.Sprintf("known %v, sweeping %v, dropped %v: %d blocks left, %d of all volumes\n", known,
		st.Sweeping, dropped, left, m.Usage().Dropped)
}

// survey prints for whom the blocks of a volume are kept. Column 0 holds data.
func survey(m *Map, vol cluster.VolumeKey) string {
	s := surveyed(m, vol, 1)
	var b strings.Builder
	blocks := func(x Blocks) string { return fmt.Sprintf("%d+%d", x.Data, x.Parity) }
	hold := func(who string, h Holding) {
		fmt.Fprintf(&b, "%s: exclusive %s, shared %s\n", who, blocks(h.Exclusive), blocks(h.Shared))
	}
	hold("present", s.Present)
	for _, p := range s.Pins {
		hold("pin "+p.Pin.String(), p.Holding)
	}
	fmt.Fprintf(&b, "pinned %s, reclaimable %s\n", blocks(s.Pinned), blocks(s.Reclaimable))
	return b.String()
}

func storyRecord(t *testing.T, d *datadriven.TestData) Record {
	r := Record{Extent: Extent{Vol: cluster.VolumeKey{VUID: 1, Generation: 1}, N: 1, Residency: chunk.Home(0)}}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "vol":
			d.ScanArgs(t, "vol", &r.Vol.VUID)
		case "gen":
			d.ScanArgs(t, "gen", &r.Vol.Generation)
		case "page":
			d.ScanArgs(t, "page", &r.Page)
		case "column":
			d.ScanArgs(t, "column", &r.Column)
		case "b":
			d.ScanArgs(t, "b", &r.First)
		case "n":
			d.ScanArgs(t, "n", &r.N)
		case "epoch":
			d.ScanArgs(t, "epoch", &r.Epoch)
		case "w":
			r.W = storySeq(a.Vals)
		case "unswept": // of a view
		case "holes":
			for v := a.Vals; len(v) > 0; v = v[2:] {
				r.Holes = append(r.Holes, storySeq(v))
			}
		case "home":
			var table uint32
			d.ScanArgs(t, "home", &table)
			r.Residency = chunk.Home(table)
		case "alt":
			var table, epoch, round uint32
			d.ScanArgs(t, "alt", &table, &epoch, &round)
			r.Residency = chunk.Alternate(table, epoch, uint16(round))
		case "version":
			d.ScanArgs(t, "version", &r.View.Version)
		case "pins":
			for v := a.Vals; len(v) > 0; v = v[2:] {
				r.View.Pins = append(r.View.Pins, storySeq(v))
			}
		case "cloned":
			r.View.Cloned = true
		case "hidden":
			for v := a.Vals; len(v) > 0; v = v[4:] {
				r.View.Hidden = append(r.View.Hidden, chunk.Interval{After: storySeq(v), To: storySeq(v[2:])})
			}
		default:
			if a.Key != "blocks" {
				t.Fatalf("%s: unknown argument %s", d.Pos, a.Key)
			}
		}
	}
	return r
}

// storySeq reads epoch and counter.
func storySeq(v []string) cluster.Seq {
	epoch, err1 := strconv.ParseUint(v[0], 10, 24)
	counter, err2 := strconv.ParseUint(v[1], 10, 40)
	if err1 != nil || err2 != nil {
		panic(fmt.Sprintf("no sequence: %v", v))
	}
	return cluster.MakeSeq(uint32(epoch), counter)
}
