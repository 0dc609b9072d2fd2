package pagemap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"pgregory.net/rapid"
)

// someUnits makes the kind of chunk that happens: runs of one write, of many, and single blocks.
func someUnits(t *rapid.T) []unit {
	var out []unit
	block := 0
	for {
		block += rapid.IntRange(0, 3).Draw(t, "gap")
		n := rapid.SampledFrom([]int{1, 1, 2, 8, 64, 200}).Draw(t, "n")
		step := cluster.Seq(rapid.IntRange(0, 2).Draw(t, "step"))
		epoch := uint32(rapid.IntRange(0, 2).Draw(t, "epoch"))
		w := cluster.MakeSeq(epoch, rapid.Uint64Range(1, 1<<34).Draw(t, "w"))
		loc := rapid.Uint32Range(0, 1<<32-1-MaxChunkBlocks).Draw(t, "loc")
		cols := Columns{Set: uint16(rapid.IntRange(0, 3).Draw(t, "set")), Mask: 7}
		for i := range n {
			if block == MaxChunkBlocks {
				return out
			}
			out = append(out, unit{block: uint8(block), w: w + step*cluster.Seq(i), loc: loc + uint32(i),
				crc: uint32(block) * 0x01010101, columns: cols})
			block++
		}
		if rapid.IntRange(0, 3).Draw(t, "end") == 0 {
			return out
		}
	}
}

func TestPackedSaysWhatWasPutIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := someUnits(t)
		forms := [][]byte{appendPacked(nil, units), appendArray(nil, units)}
		if runs := countRuns(units); runs <= maxRuns {
			forms = append(forms, appendRuns(nil, units, runs))
		}
		for _, b := range forms {
			img, err := parseImage(b)
			if err != nil || img.n() != len(units) {
				t.Fatalf("form %d: %d of %d units, %v", b[0], img.n(), len(units), err)
			}
			if got := img.units(nil); !slices.Equal(got, units) {
				t.Fatalf("form %d:\n got %v\nwant %v", b[0], got, units)
			}
			if len(b) < len(forms[0]) || len(b) > maxPacked {
				t.Fatalf("form %d of %d bytes, the smaller one has %d", b[0], len(b), len(forms[0]))
			}
			for block := range MaxChunkBlocks {
				u, ok := packed(b).get(block)
				i := slices.IndexFunc(units, func(u unit) bool { return int(u.block) == block })
				if ok != (i >= 0) || ok && u != units[i] {
					t.Fatalf("form %d block %d: %v, %v", b[0], block, u, ok)
				}
			}
		}
	})
}

func TestSizesOfPackedChunks(t *testing.T) {
	written := func(n int, each func(i int) unit) (units []unit) {
		for i := range n {
			u := each(i)
			u.block = uint8(i)
			units = append(units, u)
		}
		return units
	}
	for _, c := range []struct {
		name  string
		units []unit
		want  int
	}{
		{"one write of 64 blocks", written(64, func(i int) unit { return unit{w: 7, loc: uint32(i)} }), 280},
		{"64 writes one after the other", written(64, func(i int) unit {
			return unit{w: 7 + cluster.Seq(i), loc: uint32(i)}
		}), 280},
		{"two writes of 32 blocks", written(64, func(i int) unit {
			return unit{w: 7 + cluster.Seq(i/32), loc: uint32(i)}
		}), 280},
		{"writes of 16 blocks", written(64, func(i int) unit {
			return unit{w: 7 + cluster.Seq(i/16), loc: uint32(i)}
		}), 280},
		{"writes of 24 blocks", written(64, func(i int) unit {
			return unit{w: 7 + cluster.Seq(i/24), loc: uint32(i)}
		}), 304},
		{"random", written(64, func(i int) unit {
			return unit{w: 7 + cluster.Seq(i*i), loc: uint32(i * 5 % 64)}
		}), 852},
		{"random, three epochs", written(64, func(i int) unit {
			return unit{w: cluster.MakeSeq(uint32(i%3), uint64(i*i+1)), loc: uint32(i * 5 % 64)}
		}), 868},
	} {
		if got := len(appendPacked(nil, c.units)); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}

// goldenImages are chunks and their images, to the byte.
func goldenImages() []struct{ bytes, says string } {
	return []struct{ bytes, says string }{
		// runs: dictionary {epoch 1, set 3, mask 5}; blocks 4..6 of write 9, blocks 7 and 8 of 10 and 11
		{"01000401" + "0001000003000500" + "04000000" + "09000000" + "64000000" +
			"07030001" + "0a000000" + "c8000000" + "a5000000a4000000a3000000a2000000a1000000",
			"4:1.9@100/a1{3 5} 5:1.9@101/a2{3 5} 6:1.9@102/a3{3 5} 7:1.10@200/a4{3 5} 8:1.11@201/a5{3 5}"},
		// runs: two writes of two blocks each
		{"01000300" + "0001000000000000" + "00000002" + "09000000" + "64000000" +
			"a4000000a3000000a2000000a1000000",
			"0:1.9@100/a1{0 0} 1:1.9@101/a2{0 0} 2:1.10@102/a3{0 0} 3:1.10@103/a4{0 0}"},
		// array: blocks 0 and 70; dictionary {epoch 1}, {epoch 2, set 1}
		{"02010102" + "0100000000000000" + "4000000000000000" + "0001000000000000" + "0002000001000000" +
			"08000000" + "04000000" + "bb000000" + "01" + "07000000" + "05000000" + "aa000000" + "00",
			"0:1.7@5/aa{0 0} 70:2.8@4/bb{1 0}"},
	}
}

func TestGoldenImages(t *testing.T) {
	for _, g := range goldenImages() {
		b, err := hex.DecodeString(g.bytes)
		if err != nil {
			t.Fatal(err)
		}
		img, err := parseImage(b)
		if err != nil {
			t.Errorf("%s: %v", g.says, err)
			continue
		}
		if got := say(Image(img)); got != g.says {
			t.Errorf("got  %s\nwant %s", got, g.says)
		}
		if again := encodeAgain(img); !bytes.Equal(again, b) {
			t.Errorf("%s: encoded as %x", g.says, again)
		}
	}
}

// encodeAgain writes the versions of an image in the same form.
func encodeAgain(img packed) []byte {
	units := img.units(nil)
	if img.form() == formArray {
		return appendArray(nil, units)
	}
	return appendRuns(nil, units, countRuns(units))
}

func TestDamagedImagesAreRefused(t *testing.T) {
	for _, g := range goldenImages() {
		b, _ := hex.DecodeString(g.bytes)
		for n := range b {
			if _, err := parseImage(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d of %d bytes: %v", g.says, n, len(b), err)
			}
		}
	}
	const (
		runs1, runs2, array1    = "01000000", "01000101", "02000001"
		entry, noEntry, blocks1 = "0100000000000000", "0000000000000000", "0100000000000000"
		run0, sum, unit0        = "09000000" + "64000000", "00000000", "070000000500000000000000"
	)
	seventeen := ""
	for i := range maxRuns + 1 {
		seventeen += fmt.Sprintf("%02x%02x0000", 2*i, i) + run0
	}
	for name, bytes := range map[string]string{
		"unknown form":                "03000000",
		"more runs than there may be": "01001010" + entry + seventeen + strings.Repeat(sum, 17),
		"run of no blocks":            runs2 + entry + "00000000" + run0 + "01000000" + run0 + sum + sum,
		"runs that overlap":           "01000201" + entry + "00000000" + run0 + "01020000" + run0 + sum + sum + sum,
		"run beyond the chunk":        "01000100" + entry + "ff000000" + run0 + sum + sum,
		"run beyond every device":     "01000100" + entry + "00000000" + "09000000feffffff" + sum + sum,
		"step of nine":                runs1 + entry + "00000009" + run0 + sum,
		"no such dictionary entry":    runs1 + entry + "00000100" + run0 + sum,
		"sequence 0":                  runs1 + noEntry + "00000000" + "0000000064000000" + sum,
		"bitmap of other blocks":      array1 + "0300000000000000" + entry + unit0 + "00",
		"bitmap too long":             "02000002" + blocks1 + noEntry + entry + unit0 + "00",
		"no such entry, in array":     array1 + blocks1 + entry + unit0 + "01",
	} {
		b, err := hex.DecodeString(bytes)
		if err != nil {
			t.Fatal(name, err)
		}
		if img, err := parseImage(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: parsed as %v, %v", name, img, err)
		}
	}
}

// FuzzImage: an image that is accepted can be read in full, and read again after it was written.
func FuzzImage(f *testing.F) {
	for _, g := range goldenImages() {
		b, _ := hex.DecodeString(g.bytes)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := parseImage(b)
		if err != nil {
			return
		}
		units := img.units(nil)
		if len(units) != img.n() {
			t.Fatalf("%d units of %d", len(units), img.n())
		}
		for block := range MaxChunkBlocks {
			u, ok := img.get(block)
			i := slices.IndexFunc(units, func(u unit) bool { return int(u.block) == block })
			if ok != (i >= 0) || ok && u != units[i] {
				t.Fatalf("block %d: %v, %v of %v", block, u, ok, units)
			}
		}
		again, err := parseImage(appendPacked(nil, units))
		if err != nil || !slices.Equal(again.units(nil), units) {
			t.Fatalf("%v became %v, %v", units, again, err)
		}
	})
}

// say prints an image.
func say(img Image) string {
	var b strings.Builder
	for i, v := range img.Versions(nil) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(v.say())
	}
	return b.String()
}

func (v *ChunkVersion) say() string {
	kind := ""
	switch {
	case v.Tombstone:
		kind = " tombstone"
	case v.Bad:
		kind = " bad"
	}
	return fmt.Sprintf("%d:%v%s@%d/%x%v", v.Block, v.W, kind, v.Loc, v.CRC, v.Columns)
}
