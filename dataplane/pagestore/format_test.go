package pagestore

import (
	"bytes"
	"encoding/hex"
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
		{Kind: pagemap.Renumber, Extent: c},
	}
}

// sampleBlocks builds one of every structure on disk.
func sampleBlocks(t testing.TB) map[string][]byte {
	lay, err := newLayout(100_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	sb := make([]byte, BlockSize)
	(&super{id: sampleID(), seq: 12, incarnation: 3, lay: lay,
		ckpt: ckptRef{number: 7, blocks: 2, crc: 0xcafef00d, logNext: 99}}).encode(sb)

	log, used := make([]byte, BlockSize), headerSize
	for _, r := range sampleRecords() {
		encodeRecord(log[used:], &r)
		used += recordSize(&r)
	}
	for _, e := range []metaEntry{{key: "fence/1.1", value: []byte("7"), order: 0x0102},
		{key: "old", gone: true}} {
		encodeMeta(log[used:], &e)
		used += e.size()
	}
	h := header{kind: logBlock, used: uint16(used - headerSize), id: sampleID(), incarnation: 3, seq: 100,
		aux: 98}
	h.seal(log)

	ckpt, used := make([]byte, BlockSize), headerSize
	for _, r := range sampleRecords() {
		if r.Kind == pagemap.Settle || r.Kind == pagemap.Stable || r.Kind == pagemap.View {
			encodeRecord(ckpt[used:], &r)
			used += recordSize(&r)
		}
	}
	e := sampleRecords()[0].Extent
	versions := []pagemap.ChunkVersion{
		{Block: 16, W: seq(3, 7), Loc: 0x665544332211, CRC: 0xdeadbeef,
			Columns: pagemap.Columns{Set: 0x7654, Mask: 0x8001}},
		{Block: 17, W: seq(3, 8), Loc: 6, CRC: 3, Bad: true}, {Block: 18, W: seq(3, 9), Tombstone: true}}
	encodeCkptChunk(ckpt[used:], &e, versions)
	used += ckptChunkSize + 3*ckptVersionSize
	encodeCkptEnd(ckpt[used:], ckptTotals{versions: 3, logNext: 99})
	used += ckptEndSize
	h = header{kind: checkpointBlock, used: uint16(used - headerSize), id: sampleID(), incarnation: 3, seq: 7,
		aux: 1}
	h.seal(ckpt)
	return map[string][]byte{"superblock": sb, "log": log, "checkpoint": ckpt}
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
	h, err := openBlock(block, logBlock)
	must(t, err)
	if h.id != sampleID() || h.incarnation != 3 || h.seq != 100 || h.aux != 98 {
		t.Fatalf("header %+v", h)
	}
	p := h.payload(block)
	for _, want := range sampleRecords() {
		var got pagemap.Record
		n, err := decodeRecord(p, &got)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		p = p[n:]
	}
	fence, n, err := decodeMeta(p)
	must(t, err)
	if fence.key != "fence/1.1" || fence.order != 0x0102 || string(fence.value) != "7" || fence.gone {
		t.Errorf("metadata %+v", fence)
	}
	if old, n2, err := decodeMeta(p[n:]); err != nil || old.key != "old" || !old.gone || len(p) != n+n2 {
		t.Errorf("deletion %+v, %v", old, err)
	}
	sb, err := decodeSuper(sampleBlocks(t)["superblock"], 100_000)
	must(t, err)
	ref := ckptRef{number: 7, blocks: 2, crc: 0xcafef00d, logNext: 99}
	if sb.id != sampleID() || sb.seq != 12 || sb.ckpt != ref {
		t.Errorf("superblock %+v", sb)
	}
}

// TestEveryBitCounts flips each bit of each structure: none may pass.
func TestEveryBitCounts(t *testing.T) {
	kinds := map[string]blockKind{"superblock": superBlock, "log": logBlock, "checkpoint": checkpointBlock}
	for name, block := range sampleBlocks(t) {
		for i := range len(block) * 8 {
			block[i/8] ^= 1 << (i % 8)
			if _, err := openBlock(block, kinds[name]); err == nil {
				t.Fatalf("%s with bit %d flipped is accepted", name, i)
			}
			block[i/8] ^= 1 << (i % 8)
		}
		for other, kind := range kinds {
			if _, err := openBlock(block, kind); (err == nil) != (other == name) {
				t.Errorf("%s taken for a %s: %v", name, other, err)
			}
		}
	}
}

// reseal lets a fuzzer get past the checksum, with any payload.
func reseal(kind blockKind, payload []byte) []byte {
	b := make([]byte, BlockSize)
	n := copy(b[headerSize:], payload)
	(&header{kind: kind, used: uint16(n), id: sampleID(), incarnation: 3, seq: 1}).seal(b)
	return b
}

func FuzzOpenBlock(f *testing.F) {
	for _, b := range sampleBlocks(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []blockKind{superBlock, logBlock, checkpointBlock} {
			if h, err := openBlock(b, kind); err == nil && len(h.payload(b)) != int(h.used) {
				t.Fatal("payload outside the block")
			}
		}
		_, _ = decodeSuper(b, 1<<20)
	})
}

func FuzzSuper(f *testing.F) {
	f.Add(sampleBlocks(f)["superblock"][headerSize:headerSize+superSize], uint64(100_000))
	f.Fuzz(func(t *testing.T, payload []byte, device uint64) {
		s, err := decodeSuper(reseal(superBlock, payload), device)
		if err == nil && (s.lay.total > device || s.lay.dataStart+s.lay.dataBlocks > s.lay.total) {
			t.Fatalf("accepted %+v for a device of %d blocks", s, device)
		}
	})
}

// FuzzLog replays a log block with any payload into a map that holds something: it is refused, or leaves a
// sound map.
func FuzzLog(f *testing.F) {
	block := sampleBlocks(f)["log"]
	h, _ := openBlock(block, logBlock)
	f.Add(h.payload(block))
	one := make([]byte, mapRecordSize+4)
	encodeRecord(one, &pagemap.Record{Kind: pagemap.Put, Extent: ext(1, 0, 0, 1), W: seq(1, 2), Loc: 9,
		Columns: columnsOf(2, 1), CRC: []uint32{1}})
	f.Add(slices.Concat(one, one))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := pagemap.New(100)
		must(t, err)
		r := &recovery{m: m, meta: metaTable{m: map[string]metaEntry{}}}
		must(t, m.Claim(pagemap.Run{Loc: 3, N: 1}))
		m.Apply(&pagemap.Record{Kind: pagemap.Put, Extent: ext(1, 0, 0, 1), W: seq(1, 1), Loc: 3,
			Columns: columnsOf(2, 1), CRC: []uint32{5}})
		b := reseal(logBlock, payload)
		h, err := openBlock(b, logBlock)
		must(t, err)
		_ = r.replay(&h, h.payload(b))
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzCheckpoint loads a checkpoint block with any payload.
func FuzzCheckpoint(f *testing.F) {
	block := sampleBlocks(f)["checkpoint"]
	h, _ := openBlock(block, checkpointBlock)
	f.Add(h.payload(block))
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := pagemap.New(100)
		must(t, err)
		r := &recovery{m: m, meta: metaTable{m: map[string]metaEntry{}}}
		var versions uint64
		var totals ckptTotals
		b := reseal(checkpointBlock, payload)
		h, err := openBlock(b, checkpointBlock)
		must(t, err)
		if r.ckptPayload(h.payload(b), &versions, &totals) == nil && m.Usage().Versions != versions {
			t.Fatalf("%d versions loaded of %d", m.Usage().Versions, versions)
		}
	})
}

func TestDescribe(t *testing.T) {
	dev := formatted(t, 1000, 0)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 3), seq(1, 1), 1))
	must(t, setStable(s, vol(1), stable(seq(1, 1))))
	must(t, s.Close())
	dev.Corrupt(BlockSize+9, 1)
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
