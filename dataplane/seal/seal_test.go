package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/xts"
)

// counting is a source of bytes that are not random.
type counting byte

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(*c)
		*c++
	}
	return len(p), nil
}

func keys(t testing.TB) (DataKey, ClusterKey) {
	t.Helper()
	r := counting(1)
	d, err := NewDataKey(&r)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewClusterKey(&r)
	if err != nil {
		t.Fatal(err)
	}
	return d, k
}

func id() cluster.UUID { return cluster.UUID{0: 0xa5, 15: 1} }

// TestWrappedKeyGolden pins the format of a wrapped key.
func TestWrappedKeyGolden(t *testing.T) {
	const golden = "01f0f1f2f3f4f5f6f7f8f9fafb262fc02506a42be7fedfaa82b9d590ae7c7aebb49136988790252893726d89e9" +
		"af66603d7091dfde00588aa29c9d9edfddddacdc4cb915c72f8484610ddde987ec4e78d229a4f5d8c3578e908718e33b"
	d, k := keys(t)
	nonce := counting(0xf0)
	got, err := k.Wrap(d, id(), &nonce)
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(got) != golden {
		t.Errorf("wrapped: %x", got)
	}
	raw, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := k.Unwrap(raw, id()); err != nil || back != d {
		t.Errorf("unwrapped: same key %v, %v", back == d, err)
	}
}

// TestForeignWrappedKeysAreRefused: another id, another cluster key, a byte changed, another length or
// version.
func TestForeignWrappedKeysAreRefused(t *testing.T) {
	d, k := keys(t)
	nonce := counting(0)
	good, err := k.Wrap(d, id(), &nonce)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, k ClusterKey, wrapped []byte, id cluster.UUID) {
		if _, err := k.Unwrap(wrapped, id); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := id()
	other[3] = 9
	refused("another id", k, good, other)
	refused("another cluster key", ClusterKey{}, good, id())
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 0x40
		refused(fmt.Sprintf("byte %d changed", i), k, changed, id())
	}
	refused("none", k, nil, id())
	refused("cut", k, good[:len(good)-1], id())
	refused("longer", k, append(bytes.Clone(good), 0), id())
}

// TestSecrets: what a secret belongs to is a part of its lock, and no data key passes for one.
func TestSecrets(t *testing.T) {
	const golden = "01f0f1f2f3f4f5f6f7f8f9fafb4c48ba016cc40cae3b223583082c0f7a73d3701ba242d497"
	d, k := keys(t)
	nonce := counting(0xf0)
	wrapped, err := k.WrapSecret([]byte("key of A"), "A", &nonce)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(wrapped); got != golden {
		t.Errorf("format: %s", got)
	}
	if secret, err := k.UnwrapSecret(wrapped, "A"); err != nil || string(secret) != "key of A" {
		t.Errorf("%q, %v", secret, err)
	}
	nonce = counting(0)
	data, err := k.Wrap(d, id(), &nonce)
	if err != nil {
		t.Fatal(err)
	}
	here := id()
	for what, x := range map[string]struct {
		by      ClusterKey
		wrapped []byte
		of      string
	}{
		"of another": {k, wrapped, "B"}, "by another": {ClusterKey{}, wrapped, "A"}, "none": {k, nil, "A"},
		"cut": {k, wrapped[:20], "A"}, "another version": {k, append([]byte{2}, wrapped[1:]...), "A"},
		"a data key": {k, data, string(here[:])},
	} {
		if _, err := x.by.UnwrapSecret(x.wrapped, x.of); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := k.Unwrap(wrapped, id()); !errors.Is(err, ErrKey) {
		t.Errorf("a secret as a data key: %v", err)
	}
}

// FuzzUnwrap: bytes that Wrap did not make open nothing.
func FuzzUnwrap(f *testing.F) {
	d, k := keys(f)
	nonce := counting(0)
	good, err := k.Wrap(d, id(), &nonce)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{wrapVersion})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		if _, err := k.Unwrap(wrapped, id()); (err == nil) != bytes.Equal(wrapped, good) {
			t.Errorf("%x: %v", wrapped, err)
		}
	})
}

// TestKeysPrintAsNothing looks for the bytes of keys in everything that could print them.
func TestKeysPrintAsNothing(t *testing.T) {
	d, k := keys(t)
	text, err := json.Marshal(map[string]any{"d": d, "k": k, "p": &d})
	if err != nil {
		t.Fatal(err)
	}
	all := string(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		all += fmt.Sprintf(verb+verb+verb, d, k, struct{ K *DataKey }{&d})
	}
	for _, leak := range []string{"0102030405", "1 2 3 4 5", "0x1, 0x2", k.Reveal()[:8], "\x01\x02\x03"} {
		if strings.Contains(all, leak) {
			t.Errorf("%q is in %s", leak, all)
		}
	}
}

func TestClusterKeyText(t *testing.T) {
	_, k := keys(t)
	if back, err := ParseClusterKey(k.Reveal()); err != nil || back != k {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "short", k.Reveal() + "AAAA", k.Reveal()[1:], "!" + k.Reveal()[1:]} {
		_, err := ParseClusterKey(text)
		if !errors.Is(err, ErrKey) || len(text) > 8 && strings.Contains(err.Error(), text[:8]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestOpenIsTheInverseOfSeal but for what was never sealed: blocks of zeroes, wherever they are.
func TestOpenIsTheInverseOfSeal(t *testing.T) {
	d, _ := keys(t)
	c, err := NewCipher(d)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		absent := rapid.SliceOfN(rapid.Bool(), 1, 40).Draw(t, "absent")
		lba := rapid.Uint64Range(0, 1<<41).Draw(t, "lba")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "data"), 0))
		want, disk := make([]byte, len(absent)*xts.Unit), make([]byte, len(absent)*xts.Unit)
		for i, gone := range absent {
			if gone {
				continue
			}
			unit := want[i*xts.Unit : (i+1)*xts.Unit]
			if random.IntN(4) > 0 { // some are zeroes that the host wrote
				for j := range unit {
					unit[j] = byte(random.Uint32())
				}
			}
			copy(disk[i*xts.Unit:], unit)
			c.Seal(disk[i*xts.Unit:(i+1)*xts.Unit], lba+uint64(i))
			if bytes.Equal(unit, disk[i*xts.Unit:(i+1)*xts.Unit]) {
				t.Fatalf("block %d is stored in the clear", i)
			}
		}
		c.Open(disk, lba)
		if !bytes.Equal(disk, want) {
			t.Fatal("differs")
		}
	})
}

// BenchmarkSeal is what encryption costs an I/O.
func BenchmarkSeal(b *testing.B) {
	d, _ := keys(b)
	c, err := NewCipher(d)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{4 << 10, 64 << 10} {
		buf := make([]byte, size)
		for name, f := range map[string]func([]byte, uint64){"Seal": c.Seal, "Open": c.Open} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for range b.N {
					f(buf, 1<<20)
				}
			})
		}
	}
}
