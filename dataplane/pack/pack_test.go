package pack

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

var _ engine.Packer = (*Packer)(nil)

// cipher is one of a key that counts up.
func cipher(tb testing.TB) *seal.Cipher {
	tb.Helper()
	raw := make([]byte, 64)
	for i := range raw {
		raw[i] = byte(i)
	}
	k, err := seal.NewDataKey(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := seal.NewCipher(k)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// content fills a unit: so many bytes of noise, the rest a pattern.
func content(unit []byte, noise int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range unit {
		if unit[i] = byte(i / 100); i < noise {
			unit[i] = byte(r.Uint32())
		}
	}
}

// TestUnpackIsTheInverseOfPack with any content, anywhere, encrypted and not; and no unit takes more than its
// own blocks.
func TestUnpackIsTheInverseOfPack(t *testing.T) {
	c := cipher(t)
	rapid.Check(t, func(t *rapid.T) {
		blocks := 1 << rapid.IntRange(1, 5).Draw(t, "blocks")
		p := New(uint64(blocks), nil)
		if rapid.Bool().Draw(t, "encrypted") {
			p = New(uint64(blocks), c)
		}
		want := make([]byte, blocks*cluster.BlockSize)
		content(want, rapid.IntRange(0, len(want)).Draw(t, "noise"), rapid.Uint64().Draw(t, "seed"))
		clear(want[len(want)-rapid.IntRange(0, len(want)).Draw(t, "zeroes"):])
		first := rapid.Uint64Range(0, 1<<38).Draw(t, "first") * uint64(blocks)

		got := bytes.Clone(want)
		n := p.Pack(first, got)
		if n > blocks || n == 0 != zeroes(want) {
			t.Fatalf("stored in %d of %d blocks", n, blocks)
		}
		clear(got[n*cluster.BlockSize:])
		if n == 0 {
			return // the engine does not ask
		}
		if err := p.Unpack(first, got, n); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("differs after %d of %d blocks", n, blocks)
		}
	})
}

// TestWhatIsStored: text shrinks, noise passes untouched, and a sealed unit shows neither.
func TestWhatIsStored(t *testing.T) {
	const blocks = 4
	text := bytes.Repeat([]byte("the same line of text, over and over\n"), 443)[:blocks*cluster.BlockSize]
	noise := make([]byte, len(text))
	content(noise, len(noise), 1)
	for _, x := range []struct {
		what string
		unit []byte
		c    *seal.Cipher
		want int
	}{
		{"zeroes", make([]byte, len(text)), nil, 0}, {"text", text, nil, 1}, {"noise", noise, nil, blocks},
		{"sealed text", text, cipher(t), 1}, {"sealed noise", noise, cipher(t), blocks},
	} {
		got := bytes.Clone(x.unit)
		if n := New(blocks, x.c).Pack(8, got); n != x.want {
			t.Errorf("%s is stored in %d blocks, want %d", x.what, n, x.want)
		}
		if x.what == "noise" && !bytes.Equal(got, noise) {
			t.Error("noise was changed")
		}
		if x.c != nil && bytes.Contains(got[:cluster.BlockSize], x.unit[100:116]) {
			t.Errorf("%s is there in the clear", x.what)
		}
	}
}

// golden is "Ashlar" and zeroes to 16 KiB, packed. Encoders may make something else of it one day, and all
// have to read it.
const golden = "01110000808001184173686c61720011011900ed3e00000000"

// TestFormatGolden pins what is read, and where what is packed lies in its blocks.
func TestFormatGolden(t *testing.T) {
	raw, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	unit, want := make([]byte, 4*cluster.BlockSize), make([]byte, 4*cluster.BlockSize)
	copy(unit, raw)
	copy(want, "Ashlar")
	if err := New(4, nil).Unpack(0, unit, 1); err != nil || !bytes.Equal(unit, want) {
		t.Errorf("begins with %q, %v", unit[:8], err)
	}
	n := New(4, nil).Pack(1, unit)
	length := int(unit[1]) | int(unit[2])<<8 | int(unit[3])<<16
	if n != 1 || unit[0] != 1 || !zeroes(unit[4+length:cluster.BlockSize]) {
		t.Errorf("%d blocks, beginning with %x", n, unit[:32])
	}
	cipher(t).Seal(unit[:cluster.BlockSize], 8)
	New(4, cipher(t)).Pack(1, want)
	if !bytes.Equal(unit[:cluster.BlockSize], want[:cluster.BlockSize]) {
		t.Error("a sealed unit is not the packed one, sealed where it lies")
	}
}

// FuzzUnpack: whatever lies in the blocks is a unit or refused.
func FuzzUnpack(f *testing.F) {
	good := make([]byte, 4*cluster.BlockSize)
	content(good, 5000, 1)
	n := New(4, nil).Pack(0, good)
	f.Add(good[:n*cluster.BlockSize], n)
	f.Add([]byte{formatS2, 255, 255, 255}, 3)
	f.Add([]byte{9}, 1)
	f.Fuzz(func(t *testing.T, stored []byte, blocks int) {
		if blocks < 1 || blocks > 4 {
			return
		}
		unit := make([]byte, 4*cluster.BlockSize)
		copy(unit[:blocks*cluster.BlockSize], stored)
		_ = New(4, nil).Unpack(0, unit, blocks)
	})
}

// BenchmarkPack is what compression costs a unit, beside encryption, and in how much of it it is stored.
func BenchmarkPack(b *testing.B) {
	for _, size := range []int{16 << 10, 64 << 10} {
		for _, what := range []struct {
			name  string
			noise int // percent
		}{{"text", 0}, {"half", 50}, {"noise", 100}} {
			for name, c := range map[string]*seal.Cipher{"plain": nil, "sealed": cipher(b)} {
				p := New(uint64(size/cluster.BlockSize), c)
				unit, work := make([]byte, size), make([]byte, size)
				content(unit, size*what.noise/100, 1)
				n := 0
				b.Run(fmt.Sprintf("Pack/%s/%s/%dKiB", what.name, name, size>>10), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for range b.N {
						copy(work, unit)
						n = p.Pack(0, work)
					}
					b.ReportMetric(float64(n*cluster.BlockSize)/float64(size), "stored")
				})
				packed := bytes.Clone(work)
				b.Run(fmt.Sprintf("Unpack/%s/%s/%dKiB", what.name, name, size>>10), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for range b.N {
						copy(work, packed)
						if err := p.Unpack(0, work, n); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
