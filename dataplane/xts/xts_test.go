package xts

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	oracle "golang.org/x/crypto/xts"
	"pgregory.net/rapid"
)

func (p path) String() string { return [...]string{"portable", "AESNI", "AVX512"}[p] }

// paths are all that this processor has.
func paths() []path { return []path{portable, aesNI, avx512}[:best()+1] }

func key(seed byte) []byte {
	k := make([]byte, KeySize)
	for i := range k {
		k[i] = seed + byte(7*i)
	}
	return k
}

func mustCipher(tb testing.TB, key []byte, p path) *Cipher {
	tb.Helper()
	c, err := newCipher(key, p)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestIEEE1619Vectors are vectors of IEEE 1619-2007, annex B, for AES-256 and data units of 512 bytes: how
// the ciphertext begins and ends.
func TestIEEE1619Vectors(t *testing.T) {
	const keys = "2718281828459045235360287471352662497757247093699959574966967627" +
		"3141592653589793238462643383279502884197169399375105820974944592"
	plain := make([]byte, Unit)
	for i := range plain {
		plain[i] = byte(i)
	}
	for _, v := range []struct {
		name        string
		lba         uint64
		first, last string
	}{
		{"10", 0xff, "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b",
			"c4f36ffda9fcea70b9c6e693e148c151"},
		{"11", 0xffff, "77a31251618a15e6b92d1d66dffe7b50b50bad552305ba0217a610688eff7e11", ""},
	} {
		raw, err := hex.DecodeString(keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths() {
			got := make([]byte, Unit)
			mustCipher(t, raw, p).Encrypt(got, plain, v.lba)
			if text := hex.EncodeToString(got); !strings.HasPrefix(text, v.first) || !strings.HasSuffix(text, v.last) {
				t.Errorf("vector %s, %v: %x", v.name, p, got)
			}
		}
	}
}

// TestPathsAgreeWithOracle compares every path with golang.org/x/crypto/xts, in place and not.
func TestPathsAgreeWithOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), KeySize, KeySize).Draw(t, "key")
		units := rapid.IntRange(1, 2*tweakBatch+3).Draw(t, "units")
		lba := rapid.OneOf(rapid.Uint64Range(0, 1<<40), rapid.Uint64Range(1<<63, 1<<64-1-2000)).Draw(t, "lba")
		plain := fill(units, rapid.Uint64().Draw(t, "data"))
		if bytes.Equal(raw[:32], raw[32:]) {
			t.Skip("not a key")
		}
		agree(t, raw, plain, lba)
	})
}

// fill makes data that is not the same anywhere.
func fill(units int, seed uint64) []byte {
	b := make([]byte, units*Unit)
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	return b
}

type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

func agree(t reporter, raw, plain []byte, lba uint64) {
	t.Helper()
	o, err := oracle.NewCipher(aes.NewCipher, raw)
	if err != nil {
		t.Fatalf("%v", err)
	}
	want := make([]byte, len(plain))
	for at := 0; at < len(plain); at += Unit {
		o.Encrypt(want[at:at+Unit], plain[at:at+Unit], lba+uint64(at/Unit))
	}
	for _, p := range paths() {
		c, err := newCipher(raw, p)
		if err != nil {
			t.Fatalf("%v", err)
		}
		got := make([]byte, len(plain)+1)
		c.Encrypt(got[:len(plain)], plain, lba)
		if !bytes.Equal(got[:len(plain)], want) || got[len(plain)] != 0 {
			t.Fatalf("%v: Encrypt of %d units from %d differs", p, len(plain)/Unit, lba)
		}
		c.Decrypt(got[:len(plain)], got[:len(plain)], lba)
		if !bytes.Equal(got[:len(plain)], plain) || got[len(plain)] != 0 {
			t.Fatalf("%v: Decrypt of %d units from %d differs", p, len(plain)/Unit, lba)
		}
	}
}

// FuzzXTS looks for data on which a path differs from the oracle.
func FuzzXTS(f *testing.F) {
	f.Add(key(1), fill(1, 1), uint64(0))
	f.Add(key(2), fill(9, 2), uint64(1)<<63)
	f.Fuzz(func(t *testing.T, raw, plain []byte, lba uint64) {
		plain = plain[:len(plain)/Unit*Unit]
		if len(raw) != KeySize || bytes.Equal(raw[:32], raw[32:]) {
			if _, err := New(raw); !errors.Is(err, ErrKey) {
				t.Fatalf("New accepts a key of %d bytes: %v", len(raw), err)
			}
			return
		}
		if lba > 1<<64-1-uint64(len(plain)) {
			return // a volume does not go round
		}
		agree(t, raw, plain, lba)
	})
}

func TestBadKeysAreRefused(t *testing.T) {
	for name, raw := range map[string][]byte{"none": nil, "short": key(1)[:63], "long": append(key(1), 0),
		"equal halves": append(key(1)[:32:32], key(1)[:32]...)} {
		if _, err := New(raw); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for _, p := range paths() {
		if p == portable && raceEnabled {
			continue // the race detector has sync.Pool forget at random
		}
		c, buf := mustCipher(t, key(1), p), fill(128, 1)
		if n := testing.AllocsPerRun(10, func() {
			c.Encrypt(buf, buf, 7)
			c.Decrypt(buf, buf, 7)
		}); n != 0 {
			t.Errorf("%v: %v allocations", p, n)
		}
	}
}

// BenchmarkXTS gives the speed of one core, and that of golang.org/x/crypto/xts beside it.
func BenchmarkXTS(b *testing.B) {
	for _, size := range []int{512, 4 << 10, 64 << 10} {
		buf := fill(size/Unit, 1)
		for _, p := range paths() {
			c := mustCipher(b, key(1), p)
			for name, f := range map[string]func(dst, src []byte, lba uint64){
				"Encrypt": c.Encrypt, "Decrypt": c.Decrypt} {
				b.Run(fmt.Sprintf("%v/%s/%d", p, name, size), func(b *testing.B) {
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for range b.N {
						f(buf, buf, 1<<20)
					}
				})
			}
		}
		o, err := oracle.NewCipher(aes.NewCipher, key(1))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("crypto/Encrypt/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for range b.N {
				for at := 0; at < size; at += Unit {
					o.Encrypt(buf[at:at+Unit], buf[at:at+Unit], uint64(at))
				}
			}
		})
	}
}
