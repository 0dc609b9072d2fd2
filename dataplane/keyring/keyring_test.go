package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

func draw(t *testing.T) seal.ClusterKey {
	t.Helper()
	k, err := seal.NewClusterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyFileRoundTrip(t *testing.T) {
	f := File{filepath.Join(t.TempDir(), "keys")}
	a, b := draw(t), draw(t)
	for _, step := range []error{f.Add("a", a), f.Add("b-2", b)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if err := f.Add("a", b); err == nil {
		t.Error("an id was added twice")
	}
	if err := f.Add("two words", b); err == nil {
		t.Error("an id of two words was added")
	}
	ring := New(f)
	for id, want := range map[string]seal.ClusterKey{"a": a, "b-2": b} {
		if got, err := ring.Key(t.Context(), id); err != nil || got != want {
			t.Errorf("key %s: same %v, %v", id, got == want, err)
		}
	}
	if _, err := ring.Key(t.Context(), "c"); !errors.Is(err, ErrNoKey) {
		t.Errorf("a key that is not there: %v", err)
	}
	if held := ring.Held(); !slices.Equal(held, []string{"a", "b-2"}) {
		t.Errorf("held: %v", held)
	}
	if st, err := os.Stat(f.Path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestKeyFilesThatAreRefused: what others may read, and what is not a key file. No error shows what is in it.
func TestKeyFilesThatAreRefused(t *testing.T) {
	k := draw(t)
	good := "a " + k.Reveal() + "\n"
	for _, c := range []struct {
		name, text, want string
		mode             os.FileMode
	}{
		{"group may read", good, "chmod 0600", 0o640},
		{"others may write", good, "chmod 0600", 0o602},
		{"key without id", k.Reveal() + "\n", "line 1", 0o600},
		{"key and id in the wrong order", k.Reveal() + " a\n", "line 1", 0o600},
		{"three words", "a b " + k.Reveal() + "\n", "line 1", 0o600},
		{"key cut off", "# c\n\na " + k.Reveal()[:20] + "\n", "line 3", 0o600},
		{"same id twice", good + good, "line 2", 0o600},
		{"not text", "a \x00\xff\n", "line 1", 0o600},
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := File{path}.Key(t.Context(), "a")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), k.Reveal()[:20]) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := (File{t.TempDir()}).Keys(); err == nil {
		t.Error("a directory is a key file")
	}
}

// FuzzKeyFile: no text makes the parser panic, and what it takes survives being written again.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("# comment\n\na AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= # b\n"))
	f.Add([]byte("a\tb\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parse(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for id, k := range keys {
			fmt.Fprintln(&again, id, k.Reveal())
		}
		back, err := parse([]byte(again.String()))
		if err != nil || len(back) != len(keys) {
			t.Errorf("%d keys, then %d: %v", len(keys), len(back), err)
		}
	})
}

// counted is a source that counts, and has one key once it is given.
type counted struct {
	asked int
	key   *seal.ClusterKey
}

// Key implements Source.
func (c *counted) Key(context.Context, string) (seal.ClusterKey, error) {
	c.asked++
	if c.key == nil {
		return seal.ClusterKey{}, fmt.Errorf("%w: not yet", ErrNoKey)
	}
	return *c.key, nil
}

// hanging is a source that answers nobody until it is told to give up.
type hanging struct{ asked atomic.Int32 }

// Key implements Source.
func (h *hanging) Key(ctx context.Context, _ string) (seal.ClusterKey, error) {
	h.asked.Add(1)
	<-ctx.Done()
	return seal.ClusterKey{}, ctx.Err()
}

// TestManyWaitForOneAnswer: a source that hangs is asked once for all who want a key, holds nobody longer
// than he wants to wait, and is given up in the end.
func TestManyWaitForOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &hanging{}
		ring := New(src)
		began := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := ring.Key(ctx, "k")
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		}
		all.Wait()
		if _, err := ring.Key(t.Context(), "k"); err == nil || time.Since(began) != askFor {
			t.Errorf("given up after %v: %v", time.Since(began), err)
		}
		if n := src.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestRingAsksSeldomAndFindsWhatComesLater on a clock of its own.
func TestRingAsksSeldomAndFindsWhatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &counted{}
		ring := New(src)
		for range 10 {
			if _, err := ring.Key(t.Context(), "k"); !errors.Is(err, ErrNoKey) {
				t.Fatal(err)
			}
		}
		k := draw(t)
		src.key = &k
		<-time.After(missFor)
		for range 10 {
			if got, err := ring.Key(t.Context(), "k"); err != nil || got != k {
				t.Fatal(err)
			}
		}
		if src.asked != 2 {
			t.Errorf("asked %d times", src.asked)
		}
	})
}

func TestRingMakesCiphers(t *testing.T) {
	k, other := draw(t), draw(t)
	d, err := seal.NewDataKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := cluster.Encryption{Algorithm: cluster.AES256XTS, DataKey: cluster.UUID{1}, ClusterKey: "k"}
	if e.Wrapped, err = k.Wrap(d, e.DataKey, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if c, err := New(&counted{key: &k}).Cipher(t.Context(), &e); err != nil || c == nil {
		t.Errorf("the right key: %v", err)
	}
	if _, err := New(&counted{key: &other}).Cipher(t.Context(), &e); !errors.Is(err, seal.ErrKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := New(nil).Cipher(t.Context(), &e); !errors.Is(err, ErrNoKey) {
		t.Errorf("no source: %v", err)
	}
	gone := e
	gone.Wrapped = nil
	if _, err := New(&counted{key: &k}).Cipher(t.Context(), &gone); !errors.Is(err, seal.ErrKey) {
		t.Errorf("a destroyed key: %v", err)
	}
	gone = e
	gone.Algorithm = "rot13"
	if _, err := New(&counted{key: &k}).Cipher(t.Context(), &gone); err == nil {
		t.Error("an unknown algorithm is accepted")
	}
}
