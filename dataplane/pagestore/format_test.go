package pagestore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"pgregory.net/rapid"
)

var rewrite = flag.Bool("golden.rewrite", false, "write the golden bytes instead of comparing them")

func sampleID() identity {
	return identity{cluster: uuid("00010203-0405-0607-0809-0a0b0c0d0e0f"),
		device: uuid("f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff")}
}

func sampleRecords() []pagemap.Record {
	e := pagemap.Extent{Vol: cluster.VolumeKey{VUID: 0x123456, Generation: 0xabcd}, Page: 0x1122334455667788,
		Residency: 0x99aabbccddeeff, Column: 9, First: 0x10, N: 2}
	one, two := []pagemap.Columns{{Set: 0x7654, Mask: 0x8001}}, []pagemap.Columns{{Set: 1, Mask: 2}, {Set: 3}}
	c := e
	c.First, c.N = 0, 0
	v := pagemap.Extent{Vol: e.Vol}
	return []pagemap.Record{
		{Kind: pagemap.Put, Extent: e, W: seq(3, 7), Loc: 0x665544332211, Columns: one,
			CRC: []uint32{0xdeadbeef, 1}},
		{Kind: pagemap.Put, Extent: e, W: seq(3, 8), Loc: 5, Replace: true, Columns: two, CRC: []uint32{2, 3}},
		{Kind: pagemap.Put, Extent: e, W: seq(3, 9), Tombstone: true, Columns: two},
		{Kind: pagemap.Stable, Extent: v, W: seq(3, 9)},
		{Kind: pagemap.Stable, Extent: v, W: seq(3, 9), Holes: []cluster.Seq{seq(3, 4), seq(3, 6)}},
		{Kind: pagemap.Settle, Extent: v, Epoch: 3},
		{Kind: pagemap.Undo, Extent: e, W: seq(3, 8)},
		{Kind: pagemap.Drop, Extent: v},
		{Kind: pagemap.DropChunk, Extent: c},
		{Kind: pagemap.View, Extent: v, View: chunk.View{Version: 5, Pins: []cluster.Seq{seq(2, 8)},
			Hidden: []chunk.Interval{{After: seq(2, 8), To: seq(3, 1)}}}},
		{Kind: pagemap.View, Extent: v, View: chunk.View{Version: 6, Cloned: true}},
		{Kind: pagemap.Renumber, Extent: c},
	}
}

func sampleMetas() []metaEntry {
	return []metaEntry{{key: "fence/1.1", value: []byte("7"), order: 0x0102}, {key: "old", gone: true}}
}

func sampleVersions() []pagemap.ChunkVersion {
	return []pagemap.ChunkVersion{
		{Block: 16, W: seq(3, 7), Loc: 0x665544332211, CRC: 0xdeadbeef,
			Columns: pagemap.Columns{Set: 0x7654, Mask: 0x8001}},
		{Block: 17, W: seq(3, 7), Loc: 0x665544332212, CRC: 3,
			Columns: pagemap.Columns{Set: 0x7654, Mask: 0x8001}},
		{Block: 17, W: seq(3, 1), Loc: 6, CRC: 3, Bad: true},
		{Block: 200, W: seq(3, 9), Tombstone: true}}
}

// samplePacked is a run of two blocks.
func samplePacked() pagemap.Image {
	b, _ := hex.DecodeString("01000100" + "0001000003000500" + "04000000" + "09000000" + "64000000" +
		"a2000000" + "a1000000")
	return b
}

func sampleSuper(t testing.TB) super {
	lay, err := newLayout(100_000, 0, 512)
	must(t, err)
	return super{id: sampleID(), seq: 12, incarnation: 3, lay: lay, ckpt: ckptRef{number: 7, tail: 1000,
		head: 1003, logNext: 99, start: 1001, last: segmentRef{units: 2, crc: 0xcafef00d}}}
}

// sealed makes a block of a payload.
func sealed(h header, payload []byte, unit int) []byte {
	h.used, h.id, h.incarnation = len(payload), sampleID(), 3
	b := make([]byte, blockSize(len(payload), unit))
	copy(b[headerSize:], payload)
	h.seal(b)
	return b
}

// sampleBlocks builds one of every structure on disk.
func sampleBlocks(t testing.TB) map[string][]byte {
	sb, sample := make([]byte, BlockSize), sampleSuper(t)
	sample.encode(sb)

	var log []byte
	var x prior
	for _, r := range sampleRecords() {
		log = x.record(log, &r)
	}
	segment := make([]byte, 8)
	binary.LittleEndian.PutUint32(segment, 3)
	binary.LittleEndian.PutUint32(segment[4:], 0x01020304)
	var records, images prior
	for _, r := range sampleRecords() {
		switch r.Kind {
		case pagemap.Settle, pagemap.Stable, pagemap.View, pagemap.Drop:
			segment = records.record(segment, &r)
		}
	}
	for _, e := range sampleMetas() {
		log, segment = appendMeta(log, &e), appendMeta(segment, &e)
	}
	e := sampleRecords()[0].Extent
	segment = images.image(segment, &e, sampleVersions())
	gone := pagemap.Extent{Vol: e.Vol, Page: e.Page + 1, Column: 2}
	segment = images.image(segment, &gone, nil)
	e.Page += 5
	segment = images.packed(segment, &e, samplePacked())
	segment = appendEnd(segment, sampleTotals())
	return map[string][]byte{"superblock": sb,
		"log":     sealed(header{kind: logBlock, seq: 100, aux: 98}, log, 512),
		"segment": sealed(header{kind: segmentBlock, seq: 1001, aux: 7}, segment, 512)}
}

func sampleTotals() *ckptTotals {
	return &ckptTotals{versions: 3, logNext: 99, round: pagemap.Round{First: 6, Vol: sampleRecords()[0].Vol,
		Page: 77, Column: 8, Passed: 1000}}
}

// TestGoldenBytes pins the format: a change here means that devices out there cannot be read, and needs a
// new version.
func TestGoldenBytes(t *testing.T) {
	for name, block := range sampleBlocks(t) {
		path := filepath.Join("testdata", "golden", name+".hex")
		got := hex.Dump(bytes.TrimRight(block, "\x00"))
		if *rewrite {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if got != string(want) {
			t.Errorf("%s is encoded as\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	block := sampleBlocks(t)["log"]
	h, err := openBlock(block, logBlock, 512)
	must(t, err)
	if h.id != sampleID() || h.incarnation != 3 || h.seq != 100 || h.aux != 98 {
		t.Fatalf("header %+v", h)
	}
	p := h.payload(block)
	var x prior
	for _, want := range sampleRecords() {
		var got pagemap.Record
		n, err := x.readRecord(p, &got)
		must(t, err)
		if n > recordSize(&want) {
			t.Errorf("%+v takes %d bytes, at most %d were expected", want, n, recordSize(&want))
		}
		if len(got.CRC) == 0 {
			got.CRC = nil
		}
		if len(got.Columns) == 0 {
			got.Columns = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		p = p[n:]
	}
	for _, want := range sampleMetas() {
		got, n, err := readMeta(p)
		if err != nil || got.key != want.key || got.order != want.order || got.gone != want.gone ||
			string(got.value) != string(want.value) || n > want.size() {
			t.Errorf("metadata %+v of %d bytes, %v", got, n, err)
		}
		p = p[n:]
	}
	sb, err := decodeSuper(sampleBlocks(t)["superblock"], 100_000)
	must(t, err)
	if sb != sampleSuper(t) {
		t.Errorf("superblock %+v", sb)
	}
	end, _, err := readEnd(appendEnd(nil, sampleTotals()))
	if err != nil || end != *sampleTotals() {
		t.Errorf("end %+v, %v", end, err)
	}
}

// TestImagesRoundTrip, and are not longer than they may be.
func TestImagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w, r prior
		var b []byte
		type image struct {
			e  pagemap.Extent
			vs []pagemap.ChunkVersion
		}
		var x largest
		var images []image
		for range rapid.IntRange(1, 5).Draw(t, "images") {
			i := image{e: pagemap.Extent{Vol: vol(rapid.Uint32Range(1, 2).Draw(t, "volume")),
				Page: rapid.Uint64().Draw(t, "page"), Column: rapid.Byte().Draw(t, "column")}}
			for range rapid.IntRange(0, 6).Draw(t, "versions") {
				i.e.Residency = chunk.Residency(rapid.Uint64Range(1, 1<<56-1).Draw(t, "residency"))
				v := pagemap.ChunkVersion{Block: rapid.Uint16Range(0, 255).Draw(t, "block"),
					W:       cluster.Seq(rapid.Uint64().Draw(t, "w")),
					Columns: pagemap.Columns{Set: rapid.Uint16().Draw(t, "set"), Mask: rapid.Uint16().Draw(t, "mask")}}
				if v.Tombstone = rapid.Bool().Draw(t, "tombstone"); !v.Tombstone {
					v.Loc = rapid.Uint64Range(0, pagemap.MaxBlocks).Draw(t, "loc")
					v.CRC = rapid.Uint32().Draw(t, "crc")
					v.Bad = rapid.Bool().Draw(t, "bad")
				}
				i.vs = append(i.vs, v)
				x.version(v.W, v.Columns)
			}
			x.place(&i.e)
			before := len(b)
			b = w.image(b, &i.e, i.vs)
			if n := len(b) - before; n > maxImageHeader+maxVersion*len(i.vs) {
				t.Fatalf("image of %d versions takes %d bytes", len(i.vs), n)
			}
			images = append(images, i)
		}
		for _, want := range images {
			e, vs, n, err := r.readImage(b, nil)
			if err != nil || e != want.e || !slices.Equal(vs, want.vs) {
				t.Fatalf("got %v %+v, %v; want %+v", e, vs, err, want)
			}
			b = b[n:]
		}
	})
}

// TestPackedRoundTrips, and are refused when they are cut.
func TestPackedRoundTrips(t *testing.T) {
	e := sampleRecords()[0].Extent
	e.First, e.N = 0, 0
	b := new(prior).packed(nil, &e, samplePacked())
	got, image, n, err := new(prior).readPacked(append(b, 1, 2, 3))
	if err != nil || got != e || !bytes.Equal(image, samplePacked()) || n != len(b) {
		t.Errorf("got %v %x of %d bytes, %v", got, image, n, err)
	}
	for n := range b {
		if _, _, _, err := new(prior).readPacked(b[:n]); !errors.Is(err, errShort) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func blockKinds() map[string]blockKind {
	return map[string]blockKind{"superblock": superBlock, "log": logBlock, "segment": segmentBlock}
}

// TestEveryBitCounts flips each bit of each structure: none may pass.
func TestEveryBitCounts(t *testing.T) {
	for name, block := range sampleBlocks(t) {
		unit := min(len(block), 512)
		if name == "superblock" {
			unit = BlockSize
		}
		for i := range len(block) * 8 {
			block[i/8] ^= 1 << (i % 8)
			if _, err := openBlock(block, blockKinds()[name], unit); err == nil {
				t.Fatalf("%s with bit %d flipped is accepted", name, i)
			}
			block[i/8] ^= 1 << (i % 8)
		}
		for other, kind := range blockKinds() {
			if _, err := openBlock(block, kind, unit); (err == nil) != (other == name) {
				t.Errorf("%s taken for a %s: %v", name, other, err)
			}
		}
	}
}

// TestOtherVersions are refused, with what can be done about them.
func TestOtherVersions(t *testing.T) {
	for version, want := range map[uint16]string{1: "device format --force", 2: "device format --force",
		3: "device format --force", 5: "newer", 65535: "newer"} {
		dev := formatted(t, 1000, 0)
		for _, at := range []int64{0, 999 * BlockSize} {
			b := make([]byte, BlockSize)
			dev.Peek(at, b)
			binary.LittleEndian.PutUint16(b[4:], version)
			binary.LittleEndian.PutUint32(b[8:], blockSum(b))
			dev.Poke(at, b)
		}
		_, err := Open(t.Context(), dev, Options{})
		if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), want) {
			t.Errorf("open of version %d: %v, want %q", version, err, want)
		}
		if _, err := Check(t.Context(), dev, CheckOptions{}); !errors.Is(err, ErrVersion) {
			t.Errorf("check of version %d: %v", version, err)
		}
		o := formatOptions()
		if err := Format(t.Context(), dev, o); !errors.Is(err, ErrForeign) {
			t.Errorf("format over version %d: %v", version, err)
		}
		other := o
		other.ClusterID[0]++
		if other.Force = true; version < formatVersion {
			if err := Format(t.Context(), dev, other); !errors.Is(err, ErrForeign) {
				t.Errorf("format for another cluster over version %d: %v", version, err)
			}
		}
		o.Force = true
		must(t, Format(t.Context(), dev, o))
		if s := open(t, dev); version < formatVersion && s.Stats().Incarnation < 3 {
			t.Errorf("incarnation %d after version %d", s.Stats().Incarnation, version)
		}
	}
}

func FuzzOpenBlock(f *testing.F) {
	for _, b := range sampleBlocks(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, unit := range []int{512, BlockSize} {
			for _, kind := range []blockKind{superBlock, logBlock, segmentBlock} {
				if h, err := openBlock(b, kind, unit); err == nil && len(h.payload(b)) != h.used {
					t.Fatal("payload outside the block")
				}
			}
		}
		if len(b) == BlockSize {
			_, _ = readSuper(b, 1<<20)
		}
	})
}

func FuzzSuper(f *testing.F) {
	f.Add(sampleBlocks(f)["superblock"][headerSize:headerSize+superSize], uint64(100_000))
	f.Fuzz(func(t *testing.T, payload []byte, device uint64) {
		b := sealed(header{kind: superBlock}, payload[:min(len(payload), BlockSize-headerSize)], BlockSize)
		s, err := decodeSuper(b, device)
		if err == nil && (s.lay.total > device || s.lay.dataStart+s.lay.dataBlocks > s.lay.total) {
			t.Fatalf("accepted %+v for a device of %d blocks", s, device)
		}
	})
}

// fuzzed is a recovery with a map of 100 blocks that holds one.
func fuzzed(t *testing.T) *recovery {
	m, err := pagemap.New(100)
	must(t, err)
	must(t, m.Claim(pagemap.Run{Loc: 3, N: 1}))
	m.Apply(&pagemap.Record{Kind: pagemap.Put, Extent: ext(1, 0, 0, 1), W: seq(1, 1), Loc: 3,
		Columns: columnsOf(2, 1), CRC: []uint32{5}})
	return &recovery{m: m, meta: metaTable{byKey: map[string]*metaEntry{}}}
}

// FuzzLog replays a log block with any payload into a map that holds something: it is refused, or leaves a
// sound map.
func FuzzLog(f *testing.F) {
	block := sampleBlocks(f)["log"]
	h, _ := openBlock(block, logBlock, 512)
	f.Add(h.payload(block))
	one := new(prior).record(nil, &pagemap.Record{Kind: pagemap.Put, Extent: ext(1, 0, 0, 1), W: seq(1, 2),
		Loc: 9, Columns: columnsOf(2, 1), CRC: []uint32{1}})
	f.Add(slices.Concat(one, one))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r := fuzzed(t)
		_ = r.replay(&header{seq: 1}, payload)
		if err := r.m.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSegment loads a checkpoint of one segment with any payload: it is refused, or leaves a sound map.
func FuzzSegment(f *testing.F) {
	block := sampleBlocks(f)["segment"]
	h, _ := openBlock(block, segmentBlock, 512)
	f.Add(h.payload(block))
	var x prior
	good := x.record(make([]byte, 8), &pagemap.Record{Kind: pagemap.Settle, Extent: ext(1, 0, 0, 1), Epoch: 1})
	e := ext(1, 0, 0, 1)
	good = new(prior).image(good, &e,
		[]pagemap.ChunkVersion{{W: seq(1, 1), Loc: 7}, {Block: 4, W: seq(1, 2), Loc: 8}})
	e.Page++
	good = new(prior).packed(good, &e, samplePacked())
	f.Add(appendEnd(good, &ckptTotals{versions: 4}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < 8 {
			return
		}
		m, err := pagemap.New(100)
		must(t, err)
		r := &recovery{m: m, meta: metaTable{byKey: map[string]*metaEntry{}}, sb: super{ckpt: ckptRef{number: 7}}}
		l := &loader{r: r, into: m.Load(7), at: 1, number: 7}
		if l.payload(&header{aux: 7}, payload) != nil || l.into.Finish() != nil {
			return
		}
		if err := r.m.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDescribe(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 3), seq(1, 1), 1))
	must(t, setStable(s, vol(1), stable(seq(1, 1))))
	must(t, s.Close())
	dev.Corrupt(999*BlockSize+9, 1)
	rep, err := Check(t.Context(), dev, CheckOptions{Data: true})
	must(t, err)
	var b strings.Builder
	must(t, rep.Describe(&b))
	for _, want := range []string{"page store 22222222", "cluster 11111111", "mounted 2 times", "3 live",
		"volume 1.1: 3 versions, 3 blocks, 0 unstable", "marks [1.1]", "warning: superblock 1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
